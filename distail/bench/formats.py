"""A table of a grid as text: for a terminal, a README, a paper, or a program."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from distail.bench.cell import shown
from distail.bench.table import Mark, Table, TableCell, TableRow
from distail.evaluation.metrics import Summary
from distail.progress import format_bytes, format_seconds
from distail.report.names import one_line

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table as RichTable
    from rich.text import Text

Format = Literal["markdown", "latex", "csv"]
"""Formats that are plain text."""

_COSTS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("stored_bytes", "stored", format_bytes),
    ("distill_seconds", "time", format_seconds),
    ("peak_memory_bytes", "memory", format_bytes),
)
"""Columns about cost: the field of a row, its head, and how a figure is written."""

_MOST_COLUMNS = 3
"""Of figures, beside each other in a terminal; where one thing alone varies there may be more, with broken lines."""

NOTE = (
    "Mean ± sample standard deviation in percent over n students; where all are of one set, that leaves out the chance "
    "in making a set. Students train by the recipe of their row or by that stored with the set, so rows may differ in "
    "it. Best and second best are marked among sets of one "
    "label protocol, by the mean alone, which need not be a difference beyond chance; protocols are not comparable. "
    "Deviations over classes and calibration errors are not marked, as they are small too where nothing was learned. "
    "Time: making the set, with its experts and teachers, also where rows share them; of a baseline, training one "
    "network. Memory: the most that the process used, which may still hold what earlier cells needed. Published "
    "numbers are other people's, measured by other code."
)


def note(table: Table) -> str:
    """What to know about a table, with where published numbers are printed."""
    sources: dict[str, list[str]] = {}
    for row in table.rows:
        if row.published:
            sources.setdefault(row.published, []).append(one_line(row.name))
    told = [NOTE]
    if sources:
        named = "; ".join(f"{where} ({', '.join(names)})" for where, names in sources.items())
        told.append(f"Published: {named}.")
    return " ".join([*told, *elsewhere(table)])


def elsewhere(table: Table) -> list[str]:
    """Which rows the table cannot show, and how to see them; nothing where it shows all."""
    named = [f"{one_line(name)} (--arch {others[0]})" for name, others in table.elsewhere.items()]
    return [f"Not in this table, as students are other networks: {', '.join(named)}."] if named else []


def figure(cell: TableCell | None, *, dash: str = "–", plus_minus: str = " ± ") -> str:
    """'47.5 ± 0.2', a dash where the grid has no such cell, 'failed', or dots where it has not run."""
    if cell is None:
        return dash
    if cell.summary is None:
        return "failed" if cell.failed else "…"
    text = f"{100 * cell.summary.mean:.1f}"
    if (deviation := _deviation(cell.summary)) != "":
        text += f"{plus_minus}{100 * deviation:.1f}"
    return text


def _deviation(summary: Summary) -> float | Literal[""]:
    """The deviation; nothing for one student, and for a published number of which none is printed."""
    return summary.std if summary.n > 1 or (summary.n == 0 and summary.std) else ""


def heads(table: Table) -> list[str]:
    """Titles of all columns."""
    return [
        "method",
        "labels",
        "n",
        *(table.column_title(column) for column in table.columns),
        *(head for _, head, _ in _COSTS),
    ]


def facts(row: TableRow, figures: list[str]) -> list[str]:
    """The texts of a row, with `figures` for its cells."""
    return [_name(row), row.labels, _counts(row), *figures, *(_range(row, field, write) for field, _, write in _COSTS)]


def as_markdown(table: Table) -> str:
    """A table in GitHub's Markdown; the best in bold, the second best in italics."""
    marks = {"best": "**{}**", "second": "*{}*", "": "{}"}
    rows = [
        facts(row, [marks[cell.mark if cell else ""].format(figure(cell)) for cell in row.cells]) for row in table.rows
    ]
    lines = [heads(table), ["---"] * len(heads(table)), *rows]
    text = "\n".join("| " + " | ".join(map(_markdown, line)) + " |" for line in lines)
    return f"{_markdown(table.title)}\n\n{text}\n\n{_markdown(note(table))}\n"


def as_latex(table: Table) -> str:
    """A `tabular` for the package booktabs; the best in bold, the second best underlined."""
    marks = {"best": r"\textbf{{{}}}", "second": r"\underline{{{}}}", "": "{}"}

    def cells(row: TableRow) -> list[str]:
        texts = [figure(cell, dash="--", plus_minus=r" $\pm$ ") for cell in row.cells]
        return [
            marks[cell.mark if cell else ""].format(text.replace("…", r"\dots"))
            for cell, text in zip(row.cells, texts, strict=True)
        ]

    lines = [r"\begin{tabular}{" + "l" * 2 + "r" * (len(heads(table)) - 2) + "}", r"\toprule"]
    lines += [" & ".join(map(_latex, heads(table))) + r" \\", r"\midrule"]
    before = None
    for row in table.rows:
        if before not in (None, row.labels):
            lines.append(r"\midrule")
        before = row.labels
        escaped = list(map(_latex, facts(row, [""] * len(row.cells))))
        escaped[3 : 3 + len(row.cells)] = cells(row)
        lines.append(" & ".join(escaped) + r" \\")
    title = f"% {_latex(table.title)}; needs the package booktabs"
    return "\n".join([title, *lines, r"\bottomrule", r"\end{tabular}", f"% {_latex(note(table))}"]) + "\n"


def as_csv(*tables: Table) -> str:
    """One line a figure, as fractions of one, seconds and bytes, for programs; one table's lines below another's."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    axes = list(tables[0].columns[0])
    writer.writerow(
        ["row", "method", "labels", "published", "network", *axes]
        + ["score", "n", "sets", "mean", "std", "missing", "failed", "mark"]
        + [field for field, _, _ in _COSTS]
    )
    for table in tables:
        for row in table.rows:
            there = zip(table.columns, row.cells, strict=True)
            own = [row.name, row.method, row.labels, row.published or "", table.architecture]
            writer.writerows(
                [*own, *(shown(column[axis]) for axis in axes), table.score, *_csv_figures(cell)]
                for column, cell in there
                if cell is not None
            )
    return out.getvalue()


def _csv_figures(cell: TableCell) -> list[object]:
    summary = cell.summary
    found = [summary.n, cell.sets, summary.mean, _deviation(summary)] if summary else [0, cell.sets, "", ""]
    costs = (getattr(cell, field) for field, _, _ in _COSTS)
    return [*found, cell.missing, cell.failed, cell.mark, *("" if cost is None else cost for cost in costs)]


_MARKS: dict[Mark, tuple[str, str]] = {"best": ("bold", "*"), "second": ("underline", "+"), "": ("", "")}
"""Style of a figure, and a sign for where the terminal, or a file, shows no styles."""
_SIGNS_TOLD = "* best, + second best of a label protocol"


def as_text(table: Table) -> Group:
    """Tables for the terminal; the best in bold, the second best underlined, with signs, published numbers dim."""
    from rich.console import Group

    has_marks = any(cell and cell.mark for row in table.rows for cell in row.cells)
    told = [f"{_SIGNS_TOLD}."] if has_marks else []
    return Group(*(_one_text(part, title) for title, part in table.parts(_MOST_COLUMNS)), *told, *elsewhere(table))


def marked(cell: TableCell | None) -> Text:
    """A figure for the terminal, with its mark."""
    from rich.text import Text

    style, sign = _MARKS[cell.mark if cell else ""]
    return Text(figure(cell) + sign, style=style)


def _one_text(table: Table, title: str) -> RichTable:
    from rich.table import Table as RichTable

    shape = RichTable(title=f"{table.title}, {title}" if title else table.title, title_justify="left")
    for number, head in enumerate(heads(table)):
        is_whole = 2 < number < 3 + len(table.columns) <= 3 + _MOST_COLUMNS or number == 1
        shape.add_column(head, justify="left" if number < 2 else "right", no_wrap=is_whole)
    before = None
    for row in table.rows:
        if before not in (None, row.labels):
            shape.add_section()
        before = row.labels
        figures = [marked(cell) for cell in row.cells]
        texts: list[str | Text] = [*facts(row, [""] * len(figures))]
        texts[3 : 3 + len(figures)] = figures
        shape.add_row(*texts, style="dim" if row.published else "")
    return shape


def _name(row: TableRow) -> str:
    name = one_line(row.name)
    return f"{name}, published" if row.published else name


def _counts(row: TableRow) -> str:
    """'3', '3–6', or a dash where nothing has run or papers do not say."""
    found = sorted({cell.summary.n for cell in row.cells if cell and cell.summary and cell.summary.n})
    return "–" if not found else f"{found[0]}" if len(found) == 1 else f"{found[0]}–{found[-1]}"


def _range(row: TableRow, field: str, write: Callable[[float], str]) -> str:
    """'2 – 20 s', '2 s – 3 min 20 s', or one figure where all cells take the same."""
    ends = row.range_of(field)
    if ends is None:
        return "–"
    least, most = map(write, ends)
    if least == most:
        return least
    (number, *unit), other = least.split(), most.split()
    return f"{number} – {most}" if len(other) == 2 and unit == other[1:] else f"{least} – {most}"


def _markdown(text: str) -> str:
    return text.replace("|", r"\|").replace("<", "&lt;")


_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "–": "--",
        "±": r"$\pm$",
        "…": r"\dots",
    }
)


def _latex(text: str) -> str:
    return text.translate(_LATEX)


def in_format(format: Format, tables: Sequence[Table]) -> str:
    """Tables of the same grid in a format that is plain text."""
    if format == "csv":
        return as_csv(*tables)
    write = as_markdown if format == "markdown" else as_latex
    return "\n".join(map(write, tables))
