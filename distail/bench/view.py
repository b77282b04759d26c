"""What a grid is doing at a moment: counts, who works on what, how long it will take, and the table so far."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from distail.bench.cell import in_short
from distail.bench.jobs import Plan
from distail.bench.live import Picture
from distail.bench.result import CellResult, described
from distail.bench.running import OpenGrid, Watch
from distail.bench.store import Store
from distail.bench.table import build_table
from distail.bench.time_left import TimeLeft, time_left
from distail.claims import Claims, Holder
from distail.errors import counted
from distail.progress import format_seconds
from distail.report.names import one_line

_PICTURES_A_SECOND = 0.5
_MOST_NAMED = 5
"""Rows that are to run, by name."""
_BETWEEN_LINES_S = 300.0
"""A cell can take hours, during which a log would say nothing."""


@dataclass(frozen=True)
class Running:
    """A cell that somebody works on.

    Attributes:
        cell: described by row, values and seed.
        holder: who, since when, and how far.
    """

    key: str
    cell: str
    holder: Holder


@dataclass(frozen=True)
class GridStatus:
    """A grid at a moment.

    Attributes:
        total: distinct cells.
        done, failed: how many have a result.
        left_out: places that hold no cell, with reasons.
        running: cells that somebody works on.
        errors: of failed cells, what failed and why.
        warnings: each with the first cell that gave it and how many others did.
        left: how long the rest will take; None where no cell has finished.
    """

    total: int
    done: int
    failed: int
    left_out: tuple[str, ...]
    running: tuple[Running, ...]
    errors: tuple[tuple[str, str], ...]
    warnings: tuple[tuple[str, int, str], ...]
    left: TimeLeft | None

    @property
    def is_finished(self) -> bool:
        """Whether every cell has a result."""
        return self.done + self.failed == self.total

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "cells": self.total,
            "done": self.done,
            "failed": self.failed,
            "left": self.total - self.done - self.failed,
            "left_out": list(self.left_out),
            "running": [
                {"cell": one.cell, "host": one.holder.host, "pid": one.holder.pid, "progress": one.holder.note}
                for one in self.running
            ],
            "errors": [{"cell": cell, "error": error} for cell, error in self.errors],
            "warnings": [
                {"cell": cell, "others": others, "warning": warning} for cell, others, warning in self.warnings
            ],
            "seconds_left": None if self.left is None else self.left.seconds,
        }


def look(store: Store, plan: Plan, known: Mapping[str, CellResult]) -> GridStatus:
    """What is known now.

    Args:
        known: results by key, as `Store.results` gives them.
    """
    now, holders = time.time(), Claims(store.claims).all()
    finished = [known[job.key] for job in plan.jobs if job.key in known]
    places = {job.key: job.place for job in plan.jobs}
    running = [
        Running(key, described(places[key]), holder)
        for key, holder in holders.items()
        if key in places and key not in known
    ]
    return GridStatus(
        total=len(plan.jobs),
        done=sum(result.status == "done" for result in finished),
        failed=sum(result.status == "failed" for result in finished),
        left_out=tuple(f"{out.row}, {in_short(out.values)}: {out.reason}" for out in plan.expansion.left_out),
        running=tuple(running),
        errors=tuple(
            (described(places[result.key]), result.error or "") for result in finished if result.status == "failed"
        ),
        warnings=tuple(_warnings((described(places[result.key]), result) for result in finished)),
        left=time_left(plan, known, {one.key: max(0.0, now - one.holder.since) for one in running}),
    )


def _warnings(finished: Iterable[tuple[str, CellResult]]) -> Iterator[tuple[str, int, str]]:
    cells: dict[str, list[str]] = {}
    for cell, result in finished:
        for warning in result.warnings:
            cells.setdefault(warning, []).append(cell)
    for warning, own in cells.items():
        yield own[0], len(own) - 1, warning


def headline(status: GridStatus) -> str:
    """'12 of 36 cells are done, 1 failed, 2 run, 21 wait; about 1 h 05 min left.'"""
    waiting = status.total - status.done - status.failed - len(status.running)
    failed = f", {status.failed} failed" if status.failed else ""
    done = f"{status.done} of {counted(status.total, 'cell')} {'is' if status.total == 1 else 'are'} done{failed}"
    return f"{done}." if status.is_finished else f"{done}, {len(status.running)} run, {waiting} wait{_left(status)}."


def _left(status: GridStatus) -> str:
    """'; about 1 h 05 min left', with the rows of which that is a guess."""
    if status.left is None:
        return ""
    rows = status.left.guessed
    named = " and ".join(map(one_line, rows)) if len(rows) < 3 else f"{len(rows)} rows of which none has finished"
    takes = "takes" if len(rows) == 1 else "take"
    guessed = f", if {named} {takes} no longer than the others" if rows else ""
    return f"; about {format_seconds(status.left.seconds)} left{guessed}"


def _stage(running: Running) -> str:
    """How far a cell has come; a claim is noted with the cell's own description at first."""
    return one_line(running.holder.note) if running.holder.note not in ("", running.cell) else "begins"


def lines(status: GridStatus) -> list[str]:
    """The headline, who works on what, what failed, what is left out, and what cells warned of."""
    return [*_at_work(status), *_failed(status), *_left_out(status), *_notes(status)]


def _at_work(status: GridStatus) -> list[str]:
    """The headline, and who works on what."""
    now = time.time()
    running = (
        f"  {one_line(one.cell)}: {_stage(one)} "
        f"({format_seconds(now - one.holder.since)} on {one.holder.host}, process {one.holder.pid})"
        for one in status.running
    )
    return [headline(status), *running]


def _failed(status: GridStatus) -> list[str]:
    return [f"  failed: {one_line(cell)}: {one_line(error)}" for cell, error in status.errors]


def _left_out(status: GridStatus) -> list[str]:
    return [f"  left out: {one_line(out)}" for out in status.left_out]


def _notes(status: GridStatus) -> list[str]:
    return [f"  note: {warned(*warning)}" for warning in status.warnings]


def warned(cell: str, others: int, warning: str) -> str:
    """'random, IPC 50, seed 0, and 2 other cells: what is not as wanted'."""
    also = f" and {others} other {'cell' if others == 1 else 'cells'}" if others else ""
    return f"{one_line(cell)}{also}: {one_line(warning)}"


def picture(grid: OpenGrid) -> Picture:
    """All of it for a terminal, with the table as it fills; what was known beforehand, the places left out, last."""
    known = grid.results()
    status = look(grid.store, grid.plan, known)
    others = [*_failed(status), *_notes(status), *_left_out(status)]
    return Picture(_at_work(status), others, build_table(grid.grid, grid.plan, known))


class LineWatch:
    """Says a line for each cell that has finished since the last look, whoever did it, and how far others are."""

    def __init__(self, grid: OpenGrid, say: Callable[[str], None]) -> None:
        self._grid, self._say = grid, say
        self._seen: set[str] | None = None

    def __call__(self) -> None:
        """Looks, and says what is new; the first time, how much there is to do and where results go."""
        known = self._grid.results()
        if self._seen is None:
            self._say(f"{self._beginning(known)} Results go to {self._grid.store.path}.")
            self._seen = set(known)
        for key in known.keys() - self._seen:
            self._say(finished_line(known[key]))
        if known.keys() - self._seen:
            self._say(headline(look(self._grid.store, self._grid.plan, known)))
        self._seen = set(known)

    def _beginning(self, known: Mapping[str, CellResult]) -> str:
        """'8 cells: 4 finished, 1 failed before (--retry runs it again), 3 to run: dm, lad.'"""
        plan = self._grid.plan
        total, places = len(plan.jobs), len(plan.expansion.places)
        filled = "" if places == total else f" for {places:,} places of the table, some of which are the same"
        failed = sum(result.status == "failed" for result in known.values())
        rows = list(dict.fromkeys(job.place.row for job in plan.jobs if job.key not in known))
        told = [f"{len(known) - failed} finished"]
        if failed:
            told.append(f"{failed} failed before (--retry runs {'it' if failed == 1 else 'them'} again)")
        if known and rows:
            named = ", ".join(map(one_line, rows)) if len(rows) <= _MOST_NAMED else f"{len(rows)} rows"
            told.append(f"{total - len(known)} to run: {named}")
        return f"{counted(total, 'cell')}{filled}: {', '.join(told)}."

    def tell(self) -> None:
        """Says how much is done, and who works on what."""
        for line in _at_work(look(self._grid.store, self._grid.plan, self._grid.results())):
            self._say(line)


@contextmanager
def watching(grid: OpenGrid, *, quiet: bool, terminal: bool, say: Callable[[str], None]) -> Iterator[Watch | None]:
    """How to watch a grid that runs: a live picture in a terminal, lines elsewhere, or nothing."""
    if quiet:
        yield None
    elif terminal:
        from rich.console import Console
        from rich.live import Live

        # The picture is drawn anew by a thread of its own, since a cell in this process can take hours.
        with Live(
            get_renderable=lambda: picture(grid),
            console=Console(stderr=True),
            refresh_per_second=_PICTURES_A_SECOND,
            transient=True,
        ):
            yield None
    else:
        watch = LineWatch(grid, say)
        with _now_and_then(watch.tell):
            yield watch


@contextmanager
def _now_and_then(speak: Callable[[], None]) -> Iterator[None]:
    """Calls a function every few minutes, from a thread of its own, as cells in this process keep the first one."""
    over = threading.Event()

    def wait_and_speak() -> None:
        while not over.wait(_BETWEEN_LINES_S):
            speak()

    thread = threading.Thread(target=wait_and_speak, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def finished_line(result: CellResult) -> str:
    """What to say of a cell that has just finished, on one line."""
    place = described(result)
    if result.status == "failed":
        return f"failed: {one_line(place)}: {one_line(result.error or '')}"
    scores = [student.scores["accuracy"] for student in result.students if student.subject == result.subject]
    return f"done: {one_line(place)}: {fmean(scores):.1%} ({result.labels}), {format_seconds(result.seconds)}"
