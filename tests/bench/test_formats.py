"""Tables as text."""

import csv
import io
import re

import pytest
from rich.console import Console

from distail.bench.formats import as_csv, as_latex, as_markdown, as_text, figure, in_format
from distail.bench.table import Table, TableCell, TableRow
from distail.evaluation.metrics import Summary


def cell(mean: float, std: float = 0.0, n: int = 3, **others: object) -> TableCell:
    return TableCell(Summary(n, mean, std), sets=1, **others)


COLUMNS = ({"data.imbalance": 100.0, "images_per_class": 1}, {"data.imbalance": 100.0, "images_per_class": 5})
COSTS = {"stored_bytes": 1200.0, "distill_seconds": 200.0, "peak_memory_bytes": 2e9}
TABLE = Table(
    "accuracy",
    "convnet3",
    COLUMNS,
    (
        TableRow("a|b_c & 50%", "dm", "hard", None, (cell(0.4751, 0.012, mark="best", **COSTS), TableCell(missing=1))),
        TableRow("dm", "dm", "hard", None, (cell(0.3, 0.02, 6, mark="second"), TableCell(failed=1))),
        TableRow("dm", "dm", "hard", "Table 2 of a_paper", (cell(0.31, n=0), None)),
        TableRow("lad", "lad", "static", None, (cell(0.5, n=1), None)),
    ),
)
HEADS = ["method", "labels", "n", "IF 100, IPC 1", "IF 100, IPC 5", "stored", "time", "memory"]


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (None, "–"),
        (TableCell(missing=2), "…"),
        (TableCell(missing=1, failed=1), "failed"),
        (cell(0.4751, 0.0123), "47.5 ± 1.2"),
        (cell(0.4751, n=1), "47.5"),
        (cell(0.4751, n=0), "47.5"),
        (cell(0.4751, 0.004, n=0), "47.5 ± 0.4"),
        (cell(0.4751, 0.0, n=2), "47.5 ± 0.0"),
    ],
)
def test_a_figure(found, text):
    assert figure(found) == text


def test_markdown():
    title, (head, line, *rows), told = (part.splitlines() for part in as_markdown(TABLE).split("\n\n"))
    assert title == ["accuracy in percent, convnet3"]
    assert head == "| " + " | ".join(HEADS) + " |"
    assert line == "|" + " --- |" * len(HEADS)
    assert rows[0] == r"| a\|b_c & 50% | hard | 3 | **47.5 ± 1.2** | … | 1.2 kB | 3 min 20 s | 2 GB |"
    assert rows[1] == "| dm | hard | 6 | *30.0 ± 2.0* | failed | – | – | – |"
    assert rows[2] == "| dm, published | hard | – | 31.0 | – | – | – | – |"
    assert told[0].endswith("Published: Table 2 of a_paper (dm).")
    assert rows[3] == "| lad | static | 1 | 50.0 | – | – | – | – |"
    assert {row.replace(r"\|", "").count("|") for row in rows} == {len(HEADS) + 1}


def test_latex():
    text = as_latex(TABLE)
    title, *lines = text.splitlines()
    assert title == "% accuracy in percent, convnet3; needs the package booktabs"
    assert lines[0] == r"\begin{tabular}{llrrrrrr}"
    assert lines[-2] == r"\end{tabular}"
    assert lines[-1].startswith("% ")
    assert lines[-1].endswith(r"Published: Table 2 of a\_paper (dm).")
    assert r"a|b\_c \& 50\% & hard & 3 & \textbf{47.5 $\pm$ 1.2} & \dots & 1.2 kB & 3 min 20 s & 2 GB \\" in lines
    assert r"dm & hard & 6 & \underline{30.0 $\pm$ 2.0} & failed & -- & -- & -- \\" in lines
    assert r"dm, published & hard & -- & 31.0 & -- & -- & -- & -- \\" in lines
    # A rule stands before each protocol, and no sign is left that LaTeX would take for its own.
    assert lines.count(r"\midrule") == 2
    assert lines.index(r"lad & static & 1 & 50.0 & -- & -- & -- & -- \\") == len(lines) - 4
    rows = [line for line in lines if line.endswith(r"\\")]
    assert {line.replace(r"\&", "").count("&") for line in rows} == {len(HEADS) - 1}
    assert text.isascii()


@pytest.mark.parametrize(
    ("sign", "escaped"), [("\\", r"\textbackslash{}"), ("~", r"\textasciitilde{}"), ("#{}", r"\#\{\}")]
)
def test_latex_signs_in_names(sign, escaped):
    row = TableRow(f"a{sign}b", "dm", "hard", None, (cell(0.5),))
    assert f"a{escaped}b & hard" in as_latex(Table("accuracy", "convnet3", ({},), (row,)))


def test_csv_can_be_read_back():
    lines = list(csv.DictReader(io.StringIO(as_csv(TABLE))))
    assert len(lines) == 6  # a cell that the grid does not have has no line
    first = lines[0]
    assert (first["row"], first["method"], first["labels"], first["published"]) == ("a|b_c & 50%", "dm", "hard", "")
    assert (first["data.imbalance"], first["images_per_class"]) == ("100", "1")
    assert (float(first["mean"]), float(first["std"]), int(first["n"])) == (0.4751, 0.012, 3)
    assert (first["network"], first["score"], first["mark"]) == ("convnet3", "accuracy", "best")
    assert [float(first[cost]) for cost in COSTS] == list(COSTS.values())
    assert (lines[1]["mean"], lines[1]["missing"], lines[3]["failed"]) == ("", "1", "1")
    assert lines[4]["published"] == "Table 2 of a_paper"


def test_csv_has_no_deviation_of_one_student():
    row = TableRow("dm", "dm", "hard", None, (TableCell(Summary(1, 0.5, 0.0), 1, 0, 0),))
    (line,) = csv.DictReader(io.StringIO(as_csv(Table("accuracy", "convnet3", ({},), (row,)))))
    assert (line["n"], line["mean"], line["std"]) == ("1", "0.5", "")


def test_names_with_commas_and_lines_stay_one_field():
    row = TableRow('lad, "asked"\nx', "lad", "hard", None, (cell(0.5),))
    table = Table("accuracy", "convnet3", ({},), (row,))
    assert next(csv.DictReader(io.StringIO(as_csv(table))))["row"] == 'lad, "asked"\nx'
    assert len(as_markdown(table).split("\n\n")[1].splitlines()) == 3


def test_text_has_every_row_and_fits():
    out = io.StringIO()
    Console(file=out, width=100).print(as_text(TABLE))
    shown = out.getvalue()
    assert max(map(len, shown.splitlines())) <= 100
    flat = " ".join(shown.split())
    for word in (
        "accuracy in percent, convnet3",
        "47.5 ± 1.2*",
        "30.0 ± 2.0+",
        "* best, + second best",
        "failed",
        "published",
        "static",
    ):
        assert word in flat


def test_the_best_are_marked_in_a_terminal():
    out = io.StringIO()
    Console(file=out, width=160, force_terminal=True, color_system="standard").print(as_text(TABLE))
    assert re.search(r"\x1b\[1m *47\.5 ± 1\.2", out.getvalue())
    assert re.search(r"\x1b\[4m *30\.0 ± 2\.0", out.getvalue())


@pytest.mark.parametrize("name", ["markdown", "latex", "csv"])
def test_a_grid_where_nothing_varies_or_has_run(name):
    row = TableRow("dm", "dm", "hard", None, (TableCell(missing=1),))
    text = in_format(name, [Table("accuracy", "convnet3", ({},), (row,))])
    assert text.endswith("\n")
    assert "dm" in text


def test_tables_of_several_scores_stand_below_each_other():
    row = TableRow("dm", "dm", "hard", None, (cell(0.5),))
    tables = [Table(score, "convnet3", ({},), (row,)) for score in ("accuracy", "ece")]
    assert [line["score"] for line in csv.DictReader(io.StringIO(in_format("csv", tables)))] == ["accuracy", "ece"]
    assert in_format("latex", tables).count(r"\begin{tabular}") == 2


@pytest.mark.parametrize(
    ("field", "values", "text"),
    [
        ("stored_bytes", (2650, 26_400), "2.65 – 26.4 kB"),
        ("stored_bytes", (2650, 26_400_000), "2.65 kB – 26.4 MB"),
        ("distill_seconds", (2, 20), "2 – 20 s"),
        ("distill_seconds", (2, 200), "2 s – 3 min 20 s"),
        ("distill_seconds", (20, 20), "20 s"),
    ],
)
def test_costs_of_a_row(field, values, text):
    row = TableRow("dm", "dm", "hard", None, tuple(cell(0.5, **{field: value}) for value in values))
    assert text in as_markdown(Table("accuracy", "convnet3", COLUMNS, (row,)))
