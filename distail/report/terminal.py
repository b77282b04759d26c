"""Tables and bar pictures for the terminal: `rich` renderables for the command line to print.

Names are written as plain text, never as markup. Everything fits into 80 columns.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich import box
from rich.cells import cell_len
from rich.console import Group
from rich.table import Table
from rich.text import Text

from distail.config import Setting
from distail.data.long_tail import FEW_BELOW, MANY_ABOVE, shot_group
from distail.errors import counted
from distail.report.names import one_line

MAX_BARS = 40
"""Classes up to which each gets a bar of its own."""

MAX_CLASS_ROWS = 20
"""Classes up to which the per-class table shows all."""

_SHOTS = {
    "many": (f">{MANY_ABOVE}", "green"),
    "medium": (f"{FEW_BELOW}–{MANY_ABOVE}", "yellow"),
    "few": (f"<{FEW_BELOW}", "red"),
}
"""Images a class, and colour, of each group."""

_SCORE_HEADS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced",
    "class_std": "class\nstd",
    "many": "many",
    "medium": "medium",
    "few": "few",
    "macro_f1": "macro\nF1",
    "ece": "ECE",
}
_NAME_WIDTH = 24
_DEFAULT_WIDTH = 24
_CURVE_HEIGHT = 6
_ENDS = 5
_HORIZONTAL = " ▏▎▍▌▋▊▉█"
_VERTICAL = " ▁▂▃▄▅▆▇█"
_MISSING = "–"


@dataclass(frozen=True)
class ScoreRow:
    """One line of an evaluation table.

    Attributes:
        label: what the network was trained on, such as 'distilled (dm)'.
        architecture: of the network.
        labels: the label protocol: 'hard', 'static' or 'teacher'.
        n: networks trained.
        cells: (mean, standard deviation) of each score, fractions of one, by its name in
            `distail.evaluation.metrics.SCALAR_SCORES`; None, or no entry, where there is none.

    Raises:
        ValueError: an entry that is no score.
    """

    label: str
    architecture: str
    labels: str
    n: int
    cells: Mapping[str, tuple[float, float] | None]

    def __post_init__(self) -> None:
        if unknown := set(self.cells) - set(_SCORE_HEADS):
            raise ValueError(f"no such score: {', '.join(sorted(unknown))}; there are {', '.join(_SCORE_HEADS)}")


def class_count_bars(class_names: Sequence[str], counts: Sequence[int], *, width: int) -> Group:
    """A bar a class, as long as its count, coloured by many, medium and few; classes in label order.

    Of more than 40 classes it shows the curve of all counts, and the bars of the first and the last five.

    Args:
        class_names: in label order.
        counts: images of each class.
        width: columns to fill.
    """
    legend = _shot_legend(counts)
    if len(counts) <= MAX_BARS:
        return Group(_bars(class_names, counts, width), legend)
    span = Text(f"classes 0 to {len(counts) - 1}, up to {max(counts)} images\n", style="dim")
    return Group(_curve(counts, width), span, _bars(class_names, counts, width), legend)


def evaluation_table(rows: Sequence[ScoreRow], note: str = "") -> Table:
    """Scores in percent, mean ± standard deviation, which is left out where n is 1, as there is none.

    Architecture, label protocol and n stand below the table where all rows agree, else under each label.
    Scores that no row has get no column; a single missing one is shown as a dash.

    Args:
        rows: in the order in which they are shown.
        note: stands first below the table, where it is not empty.
    """
    facts = [
        [row.architecture for row in rows],
        [f"{row.labels} labels" for row in rows],
        [f"n = {row.n}" for row in rows],
    ]
    shared = [values[0] for values in facts if len(set(values)) == 1]
    varying = [values for values in facts if len(set(values)) > 1]
    unit = "percent, mean ± std over n networks" if any(row.n > 1 for row in rows) else "percent"
    table = _table(caption=_plain(" · ".join([*([note] if note else []), *shared, unit])))
    table.add_column("trained on", overflow="fold")
    heads = {name: head for name, head in _SCORE_HEADS.items() if any(row.cells.get(name) for row in rows)}
    for head in heads.values():
        # Never wrapped or cut: a number that lost a digit would mislead. The label gives way instead.
        table.add_column(head, justify="right", no_wrap=True)
    for index, row in enumerate(rows):
        label = _plain(row.label)
        if varying:
            label.append("\n" + one_line(", ".join(values[index] for values in varying)), style="dim")
        table.add_row(label, *(_percent(row.cells.get(name), row.n > 1, "\n") for name in heads))
    return table


def per_class_table(
    class_names: Sequence[str], rows: Mapping[str, Sequence[tuple[float, float] | None]], what: str = "accuracy"
) -> Table:
    """Accuracy of each class, or another share, in percent: one line a class, one column a training set.

    Of more than 20 classes the first and the last ten are shown, and how many are not.

    Args:
        class_names: in label order.
        rows: by what was trained on: (mean, standard deviation) of each class, fractions of one; None where there is
            none. A column whose deviations are all 0 comes from a single network, and shows none.
        what: the share, for the caption.

    Raises:
        ValueError: a training set with another number of classes.
    """
    for label, scores in rows.items():
        if len(scores) != len(class_names):
            raise ValueError(f"{label}: {len(scores)} scores for {len(class_names)} classes")
    total = len(class_names)
    shown = list(range(total))
    hidden = total - MAX_CLASS_ROWS
    caption = f"{what} in percent, classes in label order"
    if hidden > 0:
        half = MAX_CLASS_ROWS // 2
        shown = shown[:half] + shown[-half:]
        caption = f"{caption}; first and last {half} of {total}"
    table = _table(caption=Text(caption))
    table.add_column("class", no_wrap=True)
    spread = {label: any(cell is not None and cell[1] for cell in scores) for label, scores in rows.items()}
    for label in rows:
        table.add_column(_plain(label), justify="right", min_width=5, overflow="fold")
    for position, index in enumerate(shown):
        if hidden > 0 and position == MAX_CLASS_ROWS // 2:
            table.add_row(Text(f"… {hidden} more", style="dim"))
        cells = (_percent(scores[index], spread[label], " ") for label, scores in rows.items())
        table.add_row(Text(_shortened(one_line(class_names[index]), _NAME_WIDTH)), *cells)
    return table


def methods_table(entries: Iterable[tuple[str, str, str]]) -> Table:
    """The methods that there are, from (name, what it does in a phrase, paper) of each."""
    table = _table()
    table.add_column("method", no_wrap=True, style="bold")
    table.add_column("what it does")
    table.add_column("paper", style="dim")
    for entry in entries:
        table.add_row(*map(_plain, entry))
    return table


def settings_table(settings: Iterable[Setting]) -> Table:
    """What can be set, with defaults and meaning."""
    table = _table()
    table.add_column("setting", no_wrap=True, style="bold")
    table.add_column("default", max_width=_DEFAULT_WIDTH, overflow="fold")
    table.add_column("meaning")
    for setting in settings:
        lines = [Text(line) for line in _lines_of(setting.default, _DEFAULT_WIDTH)]
        table.add_row(_plain(setting.name), Text("\n").join(lines), _plain(setting.meaning))
    return table


def _lines_of(value: str, width: int) -> list[str]:
    """A value in lines of at most so many characters where it can be cut: a list after commas, a name after '_'."""
    cuts = ", " if value[:1] in ("{", "[", "(") else "_"
    lines = [""]
    if not value:
        return lines
    for piece in re.findall(rf".*?(?:{cuts}|$)", one_line(value)):
        if lines[-1] and cell_len(lines[-1]) + cell_len(piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return [line.rstrip() for line in lines]


def _table(caption: Text | None = None) -> Table:
    return Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        caption=caption,
        caption_justify="left",
    )


def _plain(text: str) -> Text:
    """One line of literal text: neither markup nor control characters take effect."""
    return Text(one_line(text))


def _percent(cell: tuple[float, float] | None, spread: bool, between: str) -> Text:
    """'63.2', and if there is a `spread` '±1.5' after it or below it."""
    if cell is None:
        return Text(_MISSING)
    mean, std = cell
    text = Text(f"{100 * mean:.1f}")
    return text.append(f"{between}±{100 * std:.1f}", style="dim") if spread else text


def _bars(class_names: Sequence[str], counts: Sequence[int], width: int) -> Table:
    hidden = len(counts) - 2 * _ENDS if len(counts) > MAX_BARS else 0
    shown = [index for index in range(len(counts)) if not hidden or not _ENDS <= index < _ENDS + hidden]
    names = [_shortened(one_line(class_names[index]), min(_NAME_WIDTH, width // 3)) for index in shown]
    remark = f"… {hidden} more" if hidden else ""
    name_width = max(cell_len(name) for name in [*names, remark])
    longest = max(counts)
    room = max(width - name_width - len(str(longest)) - 2, 1)
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True, width=name_width)
    grid.add_column(no_wrap=True, width=room)
    grid.add_column(no_wrap=True, justify="right", width=len(str(longest)))
    for name, index in zip(names, shown, strict=True):
        if hidden and index == _ENDS + hidden:
            grid.add_row(Text(remark, style="dim"))
        # The smallest class that has images still gets a visible mark.
        eighths = max(round(8 * room * counts[index] / max(longest, 1)), 1 if counts[index] else 0)
        bar = "█" * (eighths // 8) + _HORIZONTAL[eighths % 8].strip()
        grid.add_row(Text(name), Text(bar, style=_colour(counts[index])), Text(str(counts[index])))
    return grid


def _curve(counts: Sequence[int], width: int) -> Text:
    """All counts as columns of eighth blocks; neighbouring classes share a column where room is short."""
    columns = min(len(counts), width)
    edges = [column * len(counts) // columns for column in range(columns + 1)]
    heights = [max(counts[begin:end]) for begin, end in pairwise(edges)]
    top = max(*heights, 1)
    curve = Text(no_wrap=True)
    for level in reversed(range(_CURVE_HEIGHT)):
        for height in heights:
            eighths = max(round(8 * _CURVE_HEIGHT * height / top), 1 if height else 0)
            curve.append(_VERTICAL[min(max(eighths - 8 * level, 0), 8)], style=_colour(height))
        curve.append("\n")
    curve.rstrip()
    return curve


def _shot_legend(counts: Sequence[int]) -> Text:
    groups = Counter(shot_group(count) for count in counts)
    legend = Text("\n")
    for group, (meaning, colour) in _SHOTS.items():
        unit = " images" if group == "many" else ""
        number = counted(groups[group], "class", "classes") if group == "many" else str(groups[group])
        legend.append("■ ", style=colour)
        legend.append(f"{group} ({meaning}{unit}): {number}   ")
    legend.rstrip()
    return legend


def _colour(count: int) -> str:
    return _SHOTS[shot_group(count)][1]


def _shortened(name: str, width: int) -> str:
    """The name, or as much of it as fits into `width` terminal columns, with an ellipsis."""
    if cell_len(name) <= width:
        return name
    while cell_len(name) > width - 1:
        name = name[:-1]
    return name.rstrip() + "…"
