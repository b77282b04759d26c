"""How long the rest of a grid will take, by the cells that have finished."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from distail.bench.cell import IPC, Place
from distail.bench.jobs import Plan
from distail.bench.result import CellResult


@dataclass(frozen=True)
class TimeLeft:
    """An estimate.

    Attributes:
        seconds: at the pace of finished cells of the same row and size, or of the nearest that is known, shared by
            those who work now.
        guessed: rows that are left and of which no cell has finished, so that others stand for them.
    """

    seconds: float
    guessed: tuple[str, ...]


def time_left(plan: Plan, known: Mapping[str, CellResult], begun: Mapping[str, float]) -> TimeLeft | None:
    """What unfinished cells will take, as long on average as finished ones that are like them did.

    Args:
        known: results by key.
        begun: seconds since cells that run now were begun, by key. A cell of a row that none has finished of takes at
            least as long as one of its row that runs has taken.

    Returns:
        None where no cell has finished.
    """
    alike: dict[tuple[object, ...], list[float]] = {}
    for result in known.values():
        if result.status == "done":
            for kind in _kinds(result):
                alike.setdefault(kind, []).append(result.seconds)
    if not alike:
        return None
    means = {kind: fmean(seconds) for kind, seconds in alike.items()}
    left = [job for job in plan.jobs if job.key not in known]
    guessed = tuple(dict.fromkeys(job.place.row for job in left if (job.place.row,) not in means))
    longest: dict[str, float] = {}
    for job in left:
        if job.place.row in guessed:
            longest[job.place.row] = max(longest.get(job.place.row, 0.0), begun.get(job.key, 0.0))
    rest = []
    for job in left:
        expected = next(means[kind] for kind in _kinds(job.place) if kind in means)
        rest.append(max(expected, longest.get(job.place.row, 0.0)) - begun.get(job.key, 0.0))
    rest = [max(seconds, 0.0) for seconds in rest]
    # However many work: a cell is one worker's.
    return TimeLeft(max([sum(rest) / max(len(begun), 1), *rest]), guessed)


def _kinds(one: Place | CellResult) -> tuple[tuple[object, ...], ...]:
    """What a cell may have in common with others, the most telling first: its row and size, its row, its size."""
    size = one.values.get(IPC)
    return (one.row, size), (one.row,), ("", size), ()
