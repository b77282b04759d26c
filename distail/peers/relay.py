"""What processes report is shown by the one that started them."""

from __future__ import annotations

import json
import multiprocessing
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any

from distail.progress import Advance, Progress

_END = b"end"
_SEND_EVERY_S = 0.1
"""Least time between two messages about steps of one task."""
_LAST_WORDS_S = 5.0
"""How long to wait for what a process still had to say; one that was killed may have left half a message."""


@contextmanager
def relayed(progress: Progress) -> Iterator[Progress]:
    """A reporter for processes that are started inside the block, to be handed to them; shown here, from a thread.

    Raises:
        BaseException: what `progress` raised, only at the end of the block: the processes know nothing of it.
    """
    ear, mouth = multiprocessing.Pipe(duplex=False)
    listener = _Listener(ear, progress)
    listener.start()
    try:
        yield _Relayed(mouth)
    finally:
        with suppress(OSError):
            mouth.send_bytes(_END)
        listener.join(_LAST_WORDS_S)
        mouth.close()
    if listener.error:
        raise listener.error


class _Relayed(Progress):
    """Sends everything to the process that made it."""

    def __init__(self, mouth: Connection) -> None:
        self._mouth = mouth
        self._tasks = 0

    @contextmanager
    def task(self, title: str, total: int, done: int = 0) -> Iterator[Advance]:
        """Counts steps there, a few at a time."""
        self._tasks += 1
        number, waiting, sent = self._tasks, 0, time.monotonic()
        self._send("task", number, title, total, done)

        def advance(steps: int = 1, **figures: float) -> None:
            nonlocal waiting, sent
            waiting += steps
            if time.monotonic() - sent >= _SEND_EVERY_S:
                self._send("advance", number, waiting, {name: float(value) for name, value in figures.items()})
                waiting, sent = 0, time.monotonic()

        try:
            yield advance
        finally:
            self._send("advance", number, waiting, {})
            self._send("end", number)

    def say(self, message: str) -> None:
        """Shows the line there."""
        self._send("say", message)

    def warn(self, message: str) -> None:
        """Warns there."""
        self._send("warn", message)

    def _send(self, *message: Any) -> None:
        with suppress(OSError):  # nobody listens any more where the process that made it is gone
            self._mouth.send_bytes(json.dumps(message).encode())


class _Listener(threading.Thread):
    """Shows what comes, until the end does; listens on where showing fails, so that nobody waits to be heard."""

    def __init__(self, ear: Connection, progress: Progress) -> None:
        super().__init__(daemon=True)
        self._ear, self._progress = ear, progress
        self._tasks: dict[int, tuple[ExitStack, Advance]] = {}
        self.error: BaseException | None = None

    def run(self) -> None:
        """The thread's life."""
        with suppress(EOFError, OSError), ExitStack() as self._open:
            while (message := self._ear.recv_bytes()) != _END:
                try:
                    self._show(*json.loads(message))
                except BaseException as error:
                    self.error = self.error or error

    def _show(self, kind: str, *facts: Any) -> None:
        if kind == "task":
            number, title, total, done = facts
            opened = self._open.enter_context(ExitStack())
            self._tasks[number] = opened, opened.enter_context(self._progress.task(title, total, done))
        elif kind == "advance":
            number, steps, figures = facts
            self._tasks[number][1](steps, **figures)
        elif kind == "end":
            self._tasks.pop(facts[0])[0].close()
        else:
            getattr(self._progress, kind)(*facts)
