"""What other processes report is shown here."""

import multiprocessing
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from distail.peers import relay, relayed
from distail.progress import Advance, Progress


class Heard(Progress):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @contextmanager
    def task(self, title: str, total: int, done: int = 0) -> Iterator[Advance]:
        self.lines.append(f"{title}: {done} of {total}")

        def advance(steps: int = 1, **figures: float) -> None:
            self.lines.append(f"{title}: {steps} more {figures}")

        yield advance
        self.lines.append(f"{title}: over")

    def say(self, message: str) -> None:
        if message == "unspeakable":
            raise LeavingError
        self.lines.append(message)

    def warn(self, message: str) -> None:
        self.lines.append(f"warning: {message}")


def talk(progress: Progress) -> None:
    """What another process does."""
    progress.say("begun")
    with progress.task("outer", 3, 1) as outer, progress.task("inner", 1):
        outer(2, loss=0.5)
    progress.warn("a class has few images")


class LeavingError(BaseException):
    """No error of anybody's work."""


def babble(progress: Progress) -> None:
    """Reports far more than a pipe holds."""
    for number in range(20_000):
        progress.say("unspeakable" if number == 3 else "hm")


def in_another_process(work, heard: Progress) -> None:
    with relayed(heard) as progress:
        process = multiprocessing.get_context("spawn").Process(target=work, args=(progress,))
        process.start()
        process.join()
    assert process.exitcode == 0


def test_all_that_another_process_reports_is_shown():
    heard = Heard()
    in_another_process(talk, heard)
    assert heard.lines == [
        "begun",
        "outer: 1 of 3",
        "inner: 0 of 1",
        "inner: 0 more {}",
        "inner: over",
        "outer: 2 more {}",
        "outer: over",
        "warning: a class has few images",
    ]


def test_steps_are_told_a_few_at_a_time_and_none_is_lost(monkeypatch):
    heard = Heard()
    with relayed(heard) as progress, progress.task("steps", 1000) as advance:
        for _ in range(999):
            advance(loss=0.25)
        monkeypatch.setattr(relay, "_SEND_EVERY_S", 0.0)
        advance(loss=0.125)
    told = [line for line in heard.lines if "more" in line]
    assert len(told) < 999
    assert sum(int(line.split()[1]) for line in told) == 1000
    assert told[-2].endswith("{'loss': 0.125}")


def test_who_cannot_show_a_line_hears_the_rest_and_the_reason_is_raised():
    heard = Heard()
    with pytest.raises(LeavingError):
        in_another_process(babble, heard)
    assert heard.lines == ["hm"] * 19_999


def test_half_a_message_of_a_killed_process_ends_the_listening(monkeypatch):
    monkeypatch.setattr(relay, "_LAST_WORDS_S", 0.5)
    heard = Heard()
    with relayed(heard) as progress:
        progress.say("whole")
        progress._mouth._send(b"\0\0\1\0half of 256 bytes")
    assert heard.lines == ["whole"]
    for thread in threading.enumerate():
        if isinstance(thread, relay._Listener):
            thread.join(10)
            assert not thread.is_alive()


def test_nobody_minds_that_nobody_listens():
    heard = Heard()
    with relayed(heard) as progress:
        pass
    progress.say("too late")
    assert heard.lines == []
