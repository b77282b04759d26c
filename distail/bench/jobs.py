"""What there is to do: the cells of a grid by key, each once, in the order in which they are worth doing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from distail.bench.cell import Expansion, LeftOut, Place, belongs
from distail.bench.keys import Keys
from distail.bench.result import CellResult
from distail.errors import DistailError, did_you_mean
from distail.scorable import require_scorable


@dataclass(frozen=True)
class Job:
    """A cell, named by its key.

    Attributes:
        place: the first of the places where it stands.
        key: of its result.
        set_key: of the set that it scores; None for a baseline.
        source_hash: content hash of the data that it is named for.
        test_hash: of the test images; None where they are set aside from the same data.
    """

    place: Place
    key: str
    set_key: str | None
    source_hash: str
    test_hash: str | None


@dataclass(frozen=True)
class Plan:
    """A grid with its keys.

    Attributes:
        keys: of every place of the expansion.
        jobs: each key once.
    """

    expansion: Expansion
    keys: tuple[str, ...]
    jobs: tuple[Job, ...]

    def results(self, known: dict[str, CellResult]) -> list[tuple[Place, CellResult | None]]:
        """Every place, with what is known of its cell."""
        return [(place, known.get(key)) for place, key in zip(self.expansion.places, self.keys, strict=True)]


def plan(expansion: Expansion, keys: Keys) -> Plan:
    """Names all cells.

    Raises:
        DistailError: a method, setting or network is unknown, or data cannot be read; with the row that has it.
    """
    names: list[str] = []
    jobs: dict[str, Job] = {}
    for place in expansion.places:
        cell = place.cell
        try:
            if cell.kind == "set":
                require_scorable(cell.recipe)
            key = keys.of_cell(cell)
        except DistailError as error:
            raise DistailError(f"row {place.row}: {error}") from None
        names.append(key)
        if key not in jobs:
            set_key = keys.of_set(cell) if cell.kind == "set" else None
            jobs[key] = Job(place, key, set_key, keys.of_source(cell), keys.of_test(cell))
    return Plan(expansion, tuple(names), tuple(jobs.values()))


def part_of(plan: Plan, rows: Collection[str], where: Mapping[str, Any]) -> Plan:
    """A plan with some rows and some of the values that vary alone; with all where none is named.

    Raises:
        DistailError: there is no such row.
    """
    there = list(dict.fromkeys(place.row for place in plan.expansion.places))
    for row in rows:
        if row not in there:
            raise DistailError(f"The grid has no row '{row}'. {did_you_mean(row, there)}")

    def is_asked(place: Place | LeftOut) -> bool:
        return (not rows or place.row in rows) and belongs(where, place.values)

    kept = [(place, key) for place, key in zip(plan.expansion.places, plan.keys, strict=True) if is_asked(place)]
    if not kept:
        raise DistailError("These rows have no cell with these values. Name other rows or values.")
    keys = tuple(key for _, key in kept)
    return Plan(
        Expansion(tuple(place for place, _ in kept), tuple(filter(is_asked, plan.expansion.left_out))),
        keys,
        tuple(job for job in plan.jobs if job.key in set(keys)),
    )
