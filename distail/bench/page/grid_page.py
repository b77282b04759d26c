"""The page of a grid: what it shows, put together from the facts, and its HTML."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType

from distail.bench import formats
from distail.bench.cell import SHORT_NAMES, shown
from distail.bench.page.cells import SpotView, spot_view
from distail.bench.page.charts import STYLES, grid_charts
from distail.bench.page.grid_facts import GridFacts, Spot
from distail.bench.table import SMALLER_IS_BETTER, Table, TableCell, TableRow
from distail.bench.view import headline, lines, warned
from distail.data.long_tail import FEW_BELOW, MANY_ABOVE
from distail.errors import DistailError, counted
from distail.progress import format_seconds
from distail.report.names import one_line
from distail.report.page.charts import HEIGHT, WIDTH
from distail.report.page.html import data_size, render
from distail.report.page.run_page import MAX_BYTES, OPEN_CLASSES

OPEN_PANELS = 3
"""Charts of a kind that are shown at once; the others are folded away."""

MAX_LINES = 100
"""Failures, and places left out, that are listed; of more it is said how many there are."""

_PACKAGES = ("distail.bench.page",)
_SCRIPT = "grid.js.j2"
_IMAGE_BYTES, _ALL_IMAGE_BYTES = 45_000, 2_500_000
_BESIDE = 200_000
"""Bytes kept free for links to the cells."""


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
    """A table: its number, title and heads, and rows by label protocol; `falling` where a larger value is better."""

    number: int
    title: str
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


def grid_page(facts: GridFacts) -> str:
    """HTML of a grid, below `MAX_BYTES`: details of as many figures as there is room for, the most important first.

    Raises:
        DistailError: even without details the page would be larger.
    """
    frame = len(_rendered(facts, ()).encode())
    room = MAX_BYTES - frame - _BESIDE
    while room > 0:
        page = _rendered(facts, tuple(_within(facts, room)))
        if len(page.encode()) < MAX_BYTES:
            return page
        room //= 2
    raise DistailError(
        f"The page of {facts.folder} would be larger than {data_size(MAX_BYTES)}: {facts.status.total:,} cells are too "
        "much. Print its table instead, with `distail bench table`."
    )


def _within(facts: GridFacts, room: int) -> Iterator[SpotView]:
    """Details that fit into so many bytes: the best figures, failures, and then in the order of the grid."""
    spots = sorted(facts.spots.values(), key=lambda spot: (_rank(facts, spot), spot.number))
    known = [spot for spot in spots if spot.results]
    images = min(_IMAGE_BYTES, _ALL_IMAGE_BYTES // max(len(known), 1))
    for spot in known:
        view = spot_view(facts, spot, images)
        room -= len(_rendered_cell(view).encode()) + 30 * len(facts.tables)
        if room < 0:
            return
        yield view


def _rank(facts: GridFacts, spot: Spot) -> int:
    rows = (row for row in facts.table.rows if row.name == spot.row and row.published is None)
    marks = {cell.mark for row in rows if (cell := row.cells[spot.column])}
    return 0 if "best" in marks else 1 if spot.failed else 2 if "second" in marks else 3


def _rendered_cell(view: SpotView) -> str:
    return render("grid_one_cell.html.j2", packages=_PACKAGES, script=_SCRIPT, one=view, **_common())


def _rendered(facts: GridFacts, cells: Sequence[SpotView]) -> str:
    status, folder = facts.status, shlex.quote(str(facts.folder))
    links = {(view.row, view.column): view.id for view in cells}
    known = sum(bool(spot.results) for spot in facts.spots.values())
    values = {
        "facts": facts,
        "lead": lead(facts),
        "headline": headline(status),
        "cards": tuple(_cards(facts)),
        "tables": tuple(_table(facts, number, table, links) for number, table in enumerate(facts.tables)),
        "axes": _axes(facts.table),
        "note": formats.note(facts.table),
        "charts": grid_charts(facts),
        "cells": sorted(cells, key=lambda view: int(view.id.removeprefix("c"))),
        "num_dropped": known - len(cells),
        "num_known": known,
        "failures": status.errors[:MAX_LINES],
        "num_failures": len(status.errors),
        "warnings": tuple(warned(*warning) for warning in status.warnings[:MAX_LINES]),
        "num_warnings": len(status.warnings),
        "left_out": status.left_out[:MAX_LINES],
        "num_left_out": len(status.left_out),
        "running": tuple(f"{one.cell}: {one.holder.note or 'begins'}, on {one.holder.host}" for one in status.running),
        "go_on": f"distail bench {folder}",
        "csv": f"distail bench table {folder} --format csv",
        "retry": f"distail bench {folder} --retry",
        "open_panels": OPEN_PANELS,
        "styles": STYLES,
        "chart": {"width": WIDTH, "height": HEIGHT},
    }
    return render("grid.html.j2", packages=_PACKAGES, script=_SCRIPT, **values, **_common())


def _common() -> dict[str, Any]:
    return {
        "open_classes": OPEN_CLASSES,
        "shot_meanings": {
            "many": f"more than {MANY_ABOVE} training images",
            "medium": f"{FEW_BELOW} to {MANY_ABOVE}",
            "few": f"fewer than {FEW_BELOW}",
        },
    }


def lead(facts: GridFacts) -> str:
    """The grid in a sentence."""
    table, grid = facts.table, facts.opened.grid
    rows = len({row.name for row in table.rows if row.published is None})
    varied = "; ".join(f"{axis.name} {', '.join(axis.values)}" for axis in _axes(table))
    sets = f"{counted(len(grid.seeds), 'set')} of each"
    source = grid.base.get("data", {}).get("source")
    on = f" on {one_line(str(source))}" if source else ""
    return f"{rows} rows{on}{', with ' + one_line(varied) if varied else ''}; {sets}, scored by {table.architecture}."


def _axes(table: Table) -> tuple[Axis, ...]:
    names = table.columns[0] if table.columns else {}
    found = (
        Axis(SHORT_NAMES.get(name, name), tuple(shown(column[name]) for column in table.columns)) for name in names
    )
    return tuple(axis for axis in found if len(axis.values) > 1)


def _cards(facts: GridFacts) -> Iterator[tuple[str, str, str]]:
    """(what, figure, beside) of the first screen: the best of each label protocol, and how far the grid is."""
    table, status = facts.table, facts.status
    for labels in dict.fromkeys(row.labels for row in table.rows if row.published is None):
        rows = [row for row in table.rows if row.labels == labels and row.published is None]
        rows = [row for row in rows if _makes_sets(facts, row)] or rows
        for column, values in enumerate(table.columns):
            known = [(cell.summary, row) for row in rows if (cell := row.cells[column]) and cell.summary]
            if known:
                summary, row = max(known, key=lambda one: one[0].mean)
                what = "best set" if _makes_sets(facts, row) else "best"
                beside = f"{one_line(row.name)}; n = {summary.n}; of {counted(len(known), 'row')}"
                at = "" if len(table.columns) == 1 else f" at {table.column_title(values)}"
                yield f"{what}{at}, {labels} labels", f"{formats.figure(TableCell(summary))} %", beside
                break
    yield (
        "cells",
        f"{status.done:,} of {status.total:,}",
        f"done{f', {status.failed:,} failed' if status.failed else ''}",
    )
    yield "work", format_seconds(facts.seconds), "wall time of all finished cells, added up"


def _makes_sets(facts: GridFacts, row: TableRow) -> bool:
    """Whether a row distils; baselines learn from all images."""
    spots = (facts.spots.get((row.name, column)) for column in range(len(row.cells)))
    return any(place.cell.kind == "set" for spot in spots if spot for place, _ in spot.places)


def _table(facts: GridFacts, number: int, table: Table, links: dict[tuple[str, str], str]) -> TableView:
    titles = tuple(table.column_title(column) for column in table.columns)
    protocols = dict.fromkeys(row.labels for row in table.rows)
    return TableView(
        number=number,
        title=_capital(table.title),
        columns=titles,
        costs=tuple(formats.heads(table)[3 + len(titles) :]),
        protocols=tuple(
            (labels, tuple(_line(row, titles, links) for row in table.rows if row.labels == labels))
            for labels in protocols
        ),
        falling=table.score not in SMALLER_IS_BETTER,
    )


def _line(row: TableRow, titles: Sequence[str], links: dict[tuple[str, str], str]) -> Line:
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


def grid_text(facts: GridFacts) -> list[RenderableType]:
    """What the page tells first, for a terminal."""
    return [lead(facts), formats.as_text(facts.table), *lines(facts.status)]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
