"""The page of a grid: what it shows, put together from the facts, and its HTML."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import RenderableType

from distail.bench import formats
from distail.bench.page.cells import SpotView, spot_view
from distail.bench.page.charts import STYLES, grid_charts
from distail.bench.page.grid_facts import GridFacts, Spot
from distail.bench.page.tables import axes_of, table_view
from distail.bench.table import Table, TableCell, TableRow
from distail.bench.view import headline, lines, warned
from distail.errors import DistailError, counted
from distail.progress import format_bytes, format_seconds
from distail.report.names import one_line
from distail.report.page.charts import HEIGHT, WIDTH
from distail.report.page.html import render
from distail.report.page.run_page import MAX_BYTES, OPEN_CLASSES
from distail.report.page.scores import SHOT_MEANINGS

OPEN_PANELS = 3
"""Charts of a kind that are shown at once; the others are folded away."""

MAX_LINES = 100
"""Failures, and places left out, that are listed; of more it is said how many there are."""

_PACKAGES = ("distail.bench.page",)
_SCRIPT = "grid.js.j2"
_IMAGE_BYTES, _ALL_IMAGE_BYTES = 45_000, 2_500_000
_BESIDE = 200_000
"""Bytes kept free for links to the cells."""


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
        f"The page of {facts.folder} would be larger than {format_bytes(MAX_BYTES)}: {facts.status.total:,} cells are "
        "too many. Print its table instead, with `distail bench table`."
    )


def _within(facts: GridFacts, room: int) -> Iterator[SpotView]:
    """Details that fit into so many bytes: the best figures, failures, and then in the order of the grid."""
    spots = sorted(facts.spots.values(), key=lambda spot: (_rank(facts, spot), spot.number))
    known = [spot for spot in spots if spot.results]
    num_sets = sum(len({result.set for result in spot.results} - {None}) for spot in known)
    images = min(_IMAGE_BYTES, _ALL_IMAGE_BYTES // max(num_sets, 1))
    for spot in known:
        view = spot_view(facts, spot, images)
        room -= len(_rendered_cell(view).encode()) + 30 * len(facts.tables)
        if room < 0:
            return
        yield view


def _rank(facts: GridFacts, spot: Spot) -> int:
    rows = (row for table in facts.accuracies for row in table.rows if row.name == spot.row and row.published is None)
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
        "tables": tuple(table_view(number, table, links) for number, table in enumerate(facts.tables)),
        "axes": axes_of(facts.table),
        "protocols": tuple(dict.fromkeys(row.labels for table in facts.tables for row in table.rows)),
        "note": formats.NOTE,
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
        "csv": "\n".join(f"distail bench table {folder}{arch} --format csv" for arch in _flags(facts)),
        "retry": f"distail bench {folder} --retry",
        "open_panels": OPEN_PANELS,
        "styles": STYLES,
        "chart": {"width": WIDTH, "height": HEIGHT},
    }
    return render("grid.html.j2", packages=_PACKAGES, script=_SCRIPT, **values, **_common())


def _flags(facts: GridFacts) -> list[str]:
    """What names the network in a command, for each; nothing for the first, which is meant where none is named."""
    return ["", *(f" --arch {shlex.quote(name)}" for name in facts.networks[1:])]


def _common() -> dict[str, Any]:
    return {"open_classes": OPEN_CLASSES, "shot_meanings": SHOT_MEANINGS}


def lead(facts: GridFacts) -> str:
    """The grid in a sentence."""
    grid, places = facts.opened.grid, facts.opened.plan.expansion.places
    rows = counted(len({place.row for place in places}), "row")
    networks = list(dict.fromkeys(name for place in places for name in place.cell.architectures))
    by = f"{', '.join(networks[:-1])} and {networks[-1]}" if len(networks) > 1 else networks[0]
    varied = "; ".join(f"{axis.name} {', '.join(axis.values)}" for axis in axes_of(facts.table))
    sets = f"{counted(len(grid.seeds), 'set')} of each"
    source = grid.base.get("data", {}).get("source")
    on = f" on {one_line(str(source))}" if source else ""
    return f"{rows}{on}{', with ' + one_line(varied) if varied else ''}; {sets}, scored by {by}."


def _cards(facts: GridFacts) -> Iterator[tuple[str, str, str]]:
    """(what, figure, beside) of the first screen: the best of each network and label protocol, and how far all is."""
    for table in facts.accuracies:
        yield from _best(facts, table, f", {table.architecture}" if len(facts.networks) > 1 else "")
    status = facts.status
    yield (
        "cells",
        f"{status.done:,} of {status.total:,}",
        f"done{f', {status.failed:,} failed' if status.failed else ''}",
    )
    yield "work", format_seconds(facts.seconds), "wall time of all finished cells, added up"


def _best(facts: GridFacts, table: Table, network: str) -> Iterator[tuple[str, str, str]]:
    """A card for each label protocol of a table, with the first column that has a figure."""
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
                yield f"{what}{at}, {labels} labels{network}", f"{formats.figure(TableCell(summary))} %", beside
                break


def _makes_sets(facts: GridFacts, row: TableRow) -> bool:
    """Whether a row distils; baselines learn from all images."""
    spots = (facts.spots.get((row.name, column)) for column in range(len(row.cells)))
    return any(place.cell.kind == "set" for spot in spots if spot for place, _ in spot.places)


def grid_text(facts: GridFacts) -> list[RenderableType]:
    """What the page tells first, for a terminal."""
    return [lead(facts), formats.as_text(facts.table), *lines(facts.status)]
