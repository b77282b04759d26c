"""What a terminal shows of a grid that runs: how far it is, and as much of its table as there is room for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from distail.bench.formats import marked
from distail.bench.table import Table, TableRow
from distail.errors import counted
from distail.report.names import one_line

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table as RichTable
    from rich.text import Text

_LONGEST_NAME = 28
"""Characters of a row's name; of a longer one the end is cut off."""
_FIGURE = 12
"""Characters of a figure with its deviation and star."""
_LABELS = 7
_GAP = 2
_AROUND = 3
"""Lines of a table that are no rows: its title, the heads, and what is left out."""


@dataclass(frozen=True, eq=False)
class Picture:
    """Fits itself into the terminal that it is printed to, as a live view is cut off at its height.

    Attributes:
        at_work: lines to see in any case: how far the grid is, and who works on what.
        others: lines on failures, warnings and places left out; they take a quarter of what is left, at most.
        table: as far as it is filled; it takes the rest, with a line a row.
    """

    at_work: Sequence[str]
    others: Sequence[str]
    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The lines, and then the table."""
        from rich.text import Text

        left = options.size.height - 1  # a picture that fills the last line too would scroll
        lines = [Text(line) for line in self.at_work]
        first = _that_fit(lines, [len(line.wrap(console, options.max_width)) for line in lines], left)
        left -= sum(len(line.wrap(console, options.max_width)) for line in first)
        lines = [Text(line, no_wrap=True, overflow="ellipsis") for line in self.others]
        rest = _that_fit(lines, [1] * len(lines), left // 4)
        left -= len(rest)
        yield from (*first, *rest)
        if left > _AROUND:
            yield from _part_of(self.table, options.max_width, left - _AROUND)


def _that_fit(lines: Sequence[Text], heights: Sequence[int], room: int) -> list[Text]:
    """The first of the lines, and one that says how many are left out where there is no room for all."""
    from rich.text import Text

    if sum(heights) <= room or not lines:
        return list(lines)
    count = max((count for count in range(len(lines)) if sum(heights[:count]) < room), default=0)
    return [*lines[:count], Text(f"  … and {len(lines) - count:,} more; see `distail bench status`", no_wrap=True)]


def _part_of(table: Table, width: int, most_rows: int) -> list[RichTable | Text]:
    """The first columns and rows that fit, those measured here before published ones, and what is left out."""
    from rich.text import Text

    rows = sorted(table.rows, key=lambda row: row.published is not None)
    titles = [table.column_title(column) for column in table.columns]
    wide = max(_FIGURE, *map(len, titles)) + _GAP
    name = min(max(len("method"), *(len(_name(row)) for row in rows)), _LONGEST_NAME)
    across = max(1, (width - name - _GAP - _LABELS) // wide)
    drawn = _drawn(table, rows[:most_rows], titles[:across], name)
    left_out = [counted(len(rows) - most_rows, "row")] if len(rows) > most_rows else []
    left_out += [counted(len(titles) - across, "column")] if len(titles) > across else []
    told = f"… and {' and '.join(left_out)} more; see `distail bench table`"
    return [drawn, Text(told, no_wrap=True, overflow="ellipsis")] if left_out else [drawn]


def _drawn(table: Table, rows: Sequence[TableRow], titles: Sequence[str], name: int) -> RichTable:
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(box=None, padding=(0, _GAP, 0, 0), title=table.title, title_justify="left")
    drawn.add_column("method", width=name, no_wrap=True)
    drawn.add_column("labels", width=_LABELS)
    for title in titles:
        drawn.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        figures = [marked(cell) for cell in row.cells[: len(titles)]]
        drawn.add_row(Text(_name(row)), row.labels, *figures, style="dim" if row.published else "")
    return drawn


def _name(row: TableRow) -> str:
    return one_line(row.name) + (", published" if row.published else "")
