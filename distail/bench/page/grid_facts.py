"""`GridFacts`: all that the folder of a grid tells in short, read once. Knows nothing of HTML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distail.bench.cell import Place
from distail.bench.result import SCORE_TITLES, SCORES, CellResult
from distail.bench.running import OpenGrid, open_grid
from distail.bench.store import Store
from distail.bench.table import Table, build_table, frozen
from distail.bench.view import GridStatus, look
from distail.progress import Progress

MAX_FIGURES = 30_000
"""Figures in all tables of a page together; the table of the first score is always there."""


@dataclass(frozen=True, eq=False)
class Spot:
    """Where a row and a column of the table meet.

    Attributes:
        number: from 0, in the order of the grid.
        row: its name.
        column: which one, from 0.
        places: of all seeds, with what is known of each.
    """

    number: int
    row: str
    column: int
    places: tuple[tuple[Place, CellResult | None], ...]

    @property
    def results(self) -> tuple[CellResult, ...]:
        """What is known, each cell once."""
        return tuple({result.key: result for _, result in self.places if result}.values())

    @property
    def failed(self) -> bool:
        """Whether any of its cells failed."""
        return any(result.status == "failed" for result in self.results)


@dataclass(frozen=True, eq=False)
class GridFacts:
    """A grid as it lies on disk.

    Attributes:
        opened: the grid, its cells and its folder.
        status: how far it is.
        tables: of every network and score; the accuracy of the first network comes first.
        no_room: scores and networks whose tables would make a page too large.
        spots: by row and column.
        seconds: that all finished cells took.
    """

    opened: OpenGrid
    status: GridStatus
    tables: tuple[Table, ...]
    no_room: tuple[str, ...]
    spots: Mapping[tuple[str, int], Spot]
    seconds: float

    @property
    def folder(self) -> Path:
        """As the user named it."""
        return self.opened.store.path

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.folder.resolve().name

    @property
    def table(self) -> Table:
        """The first one."""
        return self.tables[0]

    @property
    def accuracies(self) -> tuple[Table, ...]:
        """The tables of the first score, one for each network."""
        return tuple(table for table in self.tables if table.score == self.table.score)

    @property
    def networks(self) -> tuple[str, ...]:
        """Whose students have figures; the first one is the grid's first."""
        return tuple(dict.fromkeys(table.architecture for table in self.tables))

    def to_json(self) -> dict[str, Any]:
        """As JSON values: which grid, and how far it is."""
        return {"grid": str(self.folder), **self.status.to_json()}


def is_grid(target: str | Path) -> bool:
    """Whether this is the folder of a grid."""
    return Store(target).grid.is_file()


def read_grid_facts(target: str | Path, progress: Progress | None = None) -> GridFacts:
    """Reads the folder of a grid, finished or not.

    Raises:
        DistailError: it is none, or something that the grid names is not known here.
    """
    opened = open_grid(target, progress=progress)
    known = opened.results()
    tables, no_room = _tables(opened, known)
    return GridFacts(
        opened=opened,
        status=look(opened.store, opened.plan, known),
        tables=tables,
        no_room=no_room,
        spots=_spots(opened, known, tables[0]),
        seconds=sum(result.seconds for result in known.values()),
    )


def _tables(opened: OpenGrid, known: Mapping[str, CellResult]) -> tuple[tuple[Table, ...], tuple[str, ...]]:
    """Tables that hold a figure, and the names of those for which there is no room."""
    places = opened.plan.expansion.places
    networks = list(dict.fromkeys(name for place in places for name in place.cell.architectures))
    tables: list[Table] = []
    no_room: list[str] = []
    count = 0
    for architecture in networks:
        for score in SCORES:
            if tables and count * (len(tables) + 1) > MAX_FIGURES * len(tables):
                no_room.append(f"{SCORE_TITLES[score]}, {architecture}")
                continue
            table = build_table(opened.grid, opened.plan, known, score=score, architecture=architecture)
            if not tables or any(cell and cell.summary for row in table.rows for cell in row.cells):
                tables.append(table)
                count += len(table.rows) * len(table.columns)
    return tuple(tables), tuple(no_room)


def _spots(opened: OpenGrid, known: Mapping[str, CellResult], table: Table) -> dict[tuple[str, int], Spot]:
    columns = {frozen(column): number for number, column in enumerate(table.columns)}
    found: dict[tuple[str, int], list[tuple[Place, CellResult | None]]] = {}
    for place, result in opened.plan.results(dict(known)):
        found.setdefault((place.row, columns[frozen(place.values)]), []).append((place, result))
    return {
        (row, column): Spot(number, row, column, tuple(places))
        for number, ((row, column), places) in enumerate(found.items())
    }
