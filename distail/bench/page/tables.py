"""Tables of a page: texts, marks and links of their figures, and what to know about each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from distail.bench import formats
from distail.bench.cell import SHORT_NAMES, shown
from distail.bench.table import SMALLER_IS_BETTER, Table, TableCell, TableRow
from distail.report.names import one_line


@dataclass(frozen=True)
class Figure:
    """A figure in a table.

    Attributes:
        text: as it is shown.
        value: by which it is sorted; None at the end.
        mark: 'best', 'second' or ''.
        told: what a reader who does not see it should know, or what stands beside it.
        link: the id of its details; empty where there are none.
    """

    text: str
    value: float | None
    mark: str
    told: str
    link: str


@dataclass(frozen=True)
class Line:
    """A row of a table: texts before the figures, the figures, and costs as (text, value)."""

    name: str
    n: str
    published: str | None
    figures: tuple[Figure, ...]
    costs: tuple[tuple[str, float | None], ...]


@dataclass(frozen=True)
class TableView:
    """A table.

    Attributes:
        number: of the table in the page.
        title: its score and network.
        note: what to know about it alone; may be empty.
        columns, costs: heads of figures and of costs.
        protocols: rows by label protocol.
        falling: whether a larger value is better.
    """

    number: int
    title: str
    note: str
    columns: tuple[str, ...]
    costs: tuple[str, ...]
    protocols: tuple[tuple[str, tuple[Line, ...]], ...]
    falling: bool


@dataclass(frozen=True)
class Axis:
    """What varies: its name, and the text of its value in each column."""

    name: str
    by_column: tuple[str, ...]

    @property
    def values(self) -> tuple[str, ...]:
        """Each once."""
        return tuple(dict.fromkeys(self.by_column))


def table_view(number: int, table: Table, links: Mapping[tuple[str, str], str]) -> TableView:
    """A table to draw.

    Args:
        number: of the table in the page.
        table: its figures.
        links: ids of details, by row and title of the column.
    """
    titles = tuple(table.column_title(column) for column in table.columns)
    protocols = dict.fromkeys(row.labels for row in table.rows)
    return TableView(
        number=number,
        title=_capital(table.title),
        note=_note(table),
        columns=titles,
        costs=tuple(formats.heads(table)[3 + len(titles) :]),
        protocols=tuple(
            (labels, tuple(_line(row, titles, links) for row in table.rows if row.labels == labels))
            for labels in protocols
        ),
        falling=table.score not in SMALLER_IS_BETTER,
    )


def _note(table: Table) -> str:
    """Where its published numbers are printed, and which rows it cannot show; the flag of the command means nothing
    here, where each network has a table."""
    published = formats.note(replace(table, elsewhere={})).removeprefix(formats.NOTE).strip()
    named = "; ".join(f"{one_line(name)} ({', '.join(networks)})" for name, networks in table.elsewhere.items())
    others = f"Not in this table, as students are other networks: {named}." if named else ""
    return " ".join(filter(None, (published, others)))


def _line(row: TableRow, titles: Sequence[str], links: Mapping[tuple[str, str], str]) -> Line:
    texts = formats.facts(row, [])
    ranges = [row.range_of(cost) for cost in ("stored_bytes", "distill_seconds", "peak_memory_bytes")]
    own = {} if row.published else links
    return Line(
        name=row.name,
        n=texts[2],
        published=row.published,
        figures=tuple(
            _figure(cell, own.get((row.name, title), "")) for cell, title in zip(row.cells, titles, strict=True)
        ),
        costs=tuple((text, found and found[0]) for text, found in zip(texts[3:], ranges, strict=True)),
    )


def _figure(cell: TableCell | None, link: str) -> Figure:
    """The text of the terminal's table, with what is missing and what failed in words."""
    text = formats.figure(cell)
    if cell is None:
        return Figure(text, None, "", "not in the grid", "")
    told = [f"{cell.failed} failed"] if cell.failed and cell.summary else []
    told += [f"{cell.missing} to come"] if cell.missing and cell.summary else []
    text = "to come" if text == "…" else text
    return Figure(text, cell.summary.mean if cell.summary else None, cell.mark, ", ".join(told), link)


def axes_of(table: Table) -> tuple[Axis, ...]:
    """What takes more than one value."""
    names = table.columns[0] if table.columns else {}
    found = (
        Axis(SHORT_NAMES.get(name, name), tuple(shown(column[name]) for column in table.columns)) for name in names
    )
    return tuple(axis for axis in found if len(axis.values) > 1)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
