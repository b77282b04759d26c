import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from distail.data.long_tail import long_tail_counts
from distail.evaluation.metrics import SCALAR_SCORES
from distail.report.names import one_line
from distail.report.terminal import (
    ScoreRow,
    class_count_bars,
    evaluation_table,
    methods_table,
    per_class_table,
)

ODD_NAMES = ("[red]rot[/red]", "$x$", "n" * 300, "猫" * 40, "bell\x07 \x1b[31mred\nline", "")


def shown(renderable, width=80, colour=False):
    """The text as a terminal of this width gets it; no line may be wider."""
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        legacy_windows=False,
    )
    console.print(renderable)
    text = console.file.getvalue()
    if not colour:
        assert max(cell_len(line) for line in text.splitlines()) <= width
    return text


def score_row(label="distilled (dm)", architecture="convnet-d3", labels="hard", n=3, **changes):
    cells = {name: (0.1 + index / 10, 0.012) for index, name in enumerate(SCALAR_SCORES)}
    return ScoreRow(label, architecture, labels, n, cells | changes)


def test_bars_are_as_long_as_the_counts():
    lines = shown(class_count_bars(("head", "body", "tail"), (400, 100, 1), width=60), 60).splitlines()
    lengths = [line.count("█") for line in lines[:3]]
    assert lengths == [60 - len("head 400") - 1, 12, 0]  # 51 columns for 400 images
    assert [line.split()[0] for line in lines[:3]] == ["head", "body", "tail"]
    assert [line.split()[-1] for line in lines[:3]] == ["400", "100", "1"]
    assert lines[2].split()[1] == "▏"  # even one image can be seen
    assert lines[4] == "■ many (>100 images): 1 class   ■ medium (20–100): 1   ■ few (<20): 1"[: len(lines[4])]


def test_bars_are_coloured_by_group():
    text = shown(class_count_bars(("a", "b", "c"), (400, 100, 1), width=60), colour=True)
    for code, line in zip(("32", "33", "31"), text.splitlines(), strict=False):
        assert f"\x1b[{code}m" in line


@pytest.mark.parametrize("width", [40, 80, 120])
def test_many_classes_are_compressed(width):
    names = tuple(f"class {label}" for label in range(365))
    counts = long_tail_counts(500, 365, 100.0)
    text = shown(class_count_bars(names, counts, width=width), width)
    assert "… 355 more" in text
    assert "class 4 " in text
    assert "class 5 " not in text
    assert "class 360 " in text
    assert "classes 0 to 364, up to 500 images" in text
    assert len(text.splitlines()) < 24
    curve = text.splitlines()[:6]
    assert all(line.startswith("█") for line in curve)
    assert [line.count("█") for line in curve] == sorted(line.count("█") for line in curve)


def test_forty_classes_are_all_shown():
    text = shown(class_count_bars(tuple(f"class {label}" for label in range(40)), (7,) * 40, width=80))
    assert all(f"class {label} " in text for label in range(40))


def test_empty_classes_have_no_bar():
    text = shown(class_count_bars(("a", "b"), (0, 0), width=40))
    assert not set(text) & set("█▏")


@pytest.mark.parametrize("width", [50, 80])
def test_odd_names_stay_literal_and_harmless(width):
    scores = tuple((0.5, 0.1) for _ in ODD_NAMES)
    pictures = [
        class_count_bars(ODD_NAMES, (300, 200, 100, 50, 20, 3), width=width),
        per_class_table(ODD_NAMES, {"[bold]set[/bold]": scores}),
        evaluation_table([score_row(label=name) for name in ODD_NAMES[:2]]),
    ]
    for picture in pictures[: 2 if width == 50 else 3]:
        text = shown(picture, width)
        assert "\x1b" not in text
        assert "\x07" not in text
        assert "[red]rot" in text


def test_one_line():
    assert one_line("two\n lines\t") == "two lines"
    assert one_line("\x1b[31m") == "�[31m"
    assert one_line(" ") == "(no name)"


def test_evaluation_table_in_80_columns_cuts_nothing():
    rows = [
        score_row(few=None),
        score_row("random images", labels="static", n=1),
        score_row("whole data", "resnet18"),
    ]
    text = shown(evaluation_table(rows))
    assert "…" not in text
    for head in ("accuracy", "balanced", "class", "std", "many", "medium", "few", "macro", "F1", "ECE"):
        assert head in text
    lines = text.splitlines()
    first = next(line for line in lines if line.startswith("distilled (dm)"))
    assert first.split()[2:] == ["10.0", "20.0", "30.0", "60.0", "70.0", "–", "40.0", "50.0"]
    assert lines[lines.index(first) + 1].count("±1.2") == 7
    assert "convnet-d3, static" in text
    assert "resnet18, hard" in text


def test_what_rows_share_stands_once():
    text = " ".join(shown(evaluation_table([score_row(), score_row("random images")])).split())
    assert text.count("convnet-d3") == 1
    assert "convnet-d3 · hard labels · n = 3 · percent, mean ± std over n networks" in text


def test_a_single_run_shows_no_deviation():
    assert "±" not in shown(evaluation_table([score_row(n=1)]))


def test_scores_that_nobody_has_get_no_column():
    missing = dict.fromkeys(("many", "medium", "few"))
    text = shown(evaluation_table([score_row(**missing), score_row(**missing)]))
    assert "medium" not in text
    assert "–" not in text
    assert "accuracy" in text


def test_unknown_scores_are_refused():
    with pytest.raises(ValueError, match="no such score: f1"):
        ScoreRow("a", "convnet-d3", "hard", 1, {"f1": (0.5, 0.0)})


def test_per_class_table():
    rows = {"distilled": ((0.5, 0.02), (1.0, 0.0)), "random": ((0.25, 0.0), (0.0, 0.0))}
    lines = shown(per_class_table(("cat", "dog"), rows)).splitlines()
    assert lines[2].split() == ["cat", "50.0", "±2.0", "25.0"]
    assert lines[3].split() == ["dog", "100.0", "±0.0", "0.0"]


@pytest.mark.parametrize("sets", [1, 9])
def test_per_class_table_of_many_classes_and_sets(sets):
    names = tuple(f"class {label}" for label in range(100))
    rows = {f"distilled {index}, convnet-d3": ((0.123, 0.456),) * 100 for index in range(sets)}
    text = shown(per_class_table(names, rows))
    assert "… 80 more" in text
    assert "class 9 " in text
    assert "class 10 " not in text
    assert "class 90 " in text
    assert "first and last 10 of 100" in " ".join(text.split())
    assert text.count("12.3") == 20 * sets
    assert text.count("±45.6") == 20 * sets


def test_per_class_table_needs_every_class():
    with pytest.raises(ValueError, match="1 scores for 2 classes"):
        per_class_table(("a", "b"), {"x": ((0.5, 0.0),)})


def test_methods_table():
    entries = [("dm", "match mean features of real and synthetic images " * 2, "Zhao & Bilen [2023]")]
    text = shown(methods_table(entries))
    assert "dm" in text
    assert "[2023]" in " ".join(text.split())
    assert "match mean features" in text


def test_a_class_without_a_share_is_a_dash():
    text = shown(per_class_table(["ant", "bee"], {"teacher": [(0.5, 0.0), None]}, "confidence"))
    assert "50.0" in text
    assert "–" in text
    assert "confidence in percent" in " ".join(text.split())
