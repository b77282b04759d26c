"""How long work reports itself: a bar with the time left, plain lines, or nothing.

Library code takes a `Progress` and never writes anywhere itself. Output goes to standard error, so that standard
output stays free for results.
"""

from __future__ import annotations

import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TextIO, runtime_checkable

PLAIN_INTERVAL_S = 10.0
"""Seconds between two plain lines of one task, so that logs of long runs stay short."""


@runtime_checkable
class Advance(Protocol):
    """Reports finished steps, with figures worth showing beside them (a loss, an accuracy)."""

    def __call__(self, steps: int = 1, **figures: float) -> None:
        """Counts `steps` more as done."""


class Progress(ABC):
    """Shows how far named pieces of work have come."""

    @abstractmethod
    def task(self, title: str, total: int, done: int = 0) -> AbstractContextManager[Advance]:
        """A context around `total` steps, of which `done` are already behind us."""

    @abstractmethod
    def say(self, message: str) -> None:
        """Shows one line now."""

    def warn(self, message: str) -> None:
        """Shows one line about what the user may not want; reports of many runs keep such lines."""
        self.say(message)


class SilentProgress(Progress):
    """Says nothing; the default of the Python interface."""

    @contextmanager
    def task(self, title: str, total: int, done: int = 0) -> Iterator[Advance]:
        """Counts nothing."""
        yield lambda steps=1, **figures: None

    def say(self, message: str) -> None:
        """Drops the line."""


class PlainProgress(Progress):
    """Lines for logs and pipes: at most one every ten seconds a task, and nothing for short tasks.

    Args:
        write: where lines go; standard error when omitted.
        interval_s: least time between two lines of a task; `PLAIN_INTERVAL_S` when omitted.
    """

    def __init__(self, write: Callable[[str], None] | None = None, interval_s: float | None = None) -> None:
        self._write = write or _to_standard_error
        self._interval_s = PLAIN_INTERVAL_S if interval_s is None else interval_s

    @contextmanager
    def task(self, title: str, total: int, done: int = 0) -> Iterator[Advance]:
        """Writes 'title: 40/100, 12 s left, loss 0.31' lines."""
        begun = last = time.monotonic()
        first, current = done, done

        def advance(steps: int = 1, **figures: float) -> None:
            nonlocal last, current
            current += steps
            now = time.monotonic()
            if now - last >= self._interval_s:
                last = now
                left = (now - begun) / max(current - first, 1) * (total - current)
                shown = "".join(f", {name} {value:.4g}" for name, value in figures.items())
                self.say(f"{title}: {current}/{total}, {format_seconds(left)} left{shown}")

        yield advance

    def say(self, message: str) -> None:
        """Writes one line."""
        self._write(message)


def _to_standard_error(line: str) -> None:
    try:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
    except BrokenPipeError:
        # Nobody reads the lines any more, as after `2>&1 | head`; that is no reason to stop the work they are about.
        no_more(sys.stderr)


def no_more(stream: TextIO) -> None:
    """Lets a stream whose reader has gone lead nowhere, so that neither later lines nor the flush at exit fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


class BarProgress(Progress):
    """A live bar in a terminal, with the time left and the latest figures."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)

    @contextmanager
    def task(self, title: str, total: int, done: int = 0) -> Iterator[Advance]:
        """Draws one bar and removes it when the work is done."""
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as RichProgress

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
        )
        with RichProgress(*columns, console=self._console, transient=True) as bars:
            bar = bars.add_task(title, total=total, completed=done, figures="")

            def advance(steps: int = 1, **figures: float) -> None:
                bars.update(bar, advance=steps)
                if figures:
                    bars.update(bar, figures=" ".join(f"{name} {value:.4g}" for name, value in figures.items()))

            yield advance

    def say(self, message: str) -> None:
        """Prints one line above the bar."""
        self._console.print(message, markup=False, highlight=False)


class KeptWarnings(Progress):
    """Shows what another reporter shows, and keeps the warnings, each once."""

    def __init__(self, shown: Progress) -> None:
        self._shown = shown
        self.warnings: list[str] = []

    def task(self, title: str, total: int, done: int = 0) -> AbstractContextManager[Advance]:
        """As the other shows it."""
        return self._shown.task(title, total, done)

    def say(self, message: str) -> None:
        """As the other shows it."""
        self._shown.say(message)

    def warn(self, message: str) -> None:
        """Keeps the line, and shows it."""
        if message not in self.warnings:
            self.warnings.append(message)
        self._shown.warn(message)


def progress_for(*, quiet: bool) -> Progress:
    """The fitting reporter: none when quiet, a bar in a terminal, plain lines elsewhere."""
    if quiet:
        return SilentProgress()
    return BarProgress() if sys.stderr.isatty() else PlainProgress()


def format_seconds(seconds: float) -> str:
    """'0.3 s', '2.4 s', '45 s', '3 min 20 s' or '2 h 05 min': two digits below 10 s, in hundredths at the finest."""
    if seconds < 10:
        return f"{max(0.0, round(seconds, 2)):.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def format_bytes(number: float) -> str:
    """'812 B', '5.2 kB', '1.59 MB', '2.1 GB' or '3 TB': three digits at most, in powers of a thousand."""
    units = ["B", "kB", "MB", "GB", "TB"]
    while number >= 999.5 and len(units) > 1:
        number /= 1000
        units.pop(0)
    return f"{number:.0f} {units[0]}" if number >= 100 else f"{number:.3g} {units[0]}"
