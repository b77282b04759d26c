"""What a trained network cost, by row and column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from distail.bench.page.grid_facts import GridFacts
from distail.bench.result import CellResult, StudentLine
from distail.bench.table import TableRow
from distail.evaluation.metrics import Summary


@dataclass(frozen=True)
class Priced:
    """What a row reaches in a column, and the seconds until one network is trained: the set's making included."""

    row: str
    score: Summary
    seconds: float


def priced_rows(facts: GridFacts, rows: Sequence[TableRow], column: int, architecture: str) -> list[Priced]:
    """Those of the rows that have both a figure and a time in the column, for students of a network."""
    found = []
    for row in rows:
        cell, spot = row.cells[column], facts.spots.get((row.name, column))
        if cell is None or cell.summary is None or spot is None:
            continue
        times = [time for result in spot.results if (time := _seconds(result, architecture)) is not None]
        if times:
            found.append(Priced(row.name, cell.summary, max(fmean(times), 0.01)))
    return found


def own_students(result: CellResult, architecture: str) -> list[StudentLine]:
    """Students of this network that the cell is about, references left out."""
    return [
        student
        for student in result.students
        if student.architecture == architecture and student.subject == result.subject
    ]


def _seconds(result: CellResult, architecture: str) -> float | None:
    trained = [student.train_seconds for student in own_students(result, architecture)]
    if result.status != "done" or not trained:
        return None
    making = result.distill_seconds if result.kind == "set" else 0.0
    return None if making is None else making + fmean(trained)
