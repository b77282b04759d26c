import io
import sys
from collections.abc import Iterator

import pytest
from rich.console import Console

from distail import progress
from distail.progress import (
    PLAIN_INTERVAL_S,
    BarProgress,
    KeptWarnings,
    PlainProgress,
    Progress,
    SilentProgress,
    format_bytes,
    format_seconds,
    progress_for,
)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    set_by_hand = Clock()
    monkeypatch.setattr(progress, "time", set_by_hand)
    return set_by_hand


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3.0, "0 s"),
        (0.0, "0 s"),
        (0.004, "0 s"),
        (0.006, "0.01 s"),
        (0.034, "0.03 s"),
        (0.4, "0.4 s"),
        (0.347, "0.35 s"),
        (1.0, "1 s"),
        (2.44, "2.4 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (10.4, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200.0, "3 min 20 s"),
        (3599.0, "59 min 59 s"),
        (3599.9, "1 h 00 min"),
        (7500.0, "2 h 05 min"),
        (90_000.0, "25 h 00 min"),
    ],
)
def test_seconds_in_words(seconds, text):
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (812, "812 B"),
        (999.6, "1 kB"),
        (5200, "5.2 kB"),
        (123_400, "123 kB"),
        (1_590_000, "1.59 MB"),
        (2.1e9, "2.1 GB"),
        (3e12, "3 TB"),
        (5e15, "5000 TB"),
    ],
)
def test_bytes_in_words(number, text):
    assert format_bytes(number) == text


def test_plain_lines_say_what_how_far_and_how_long(clock, capsys):
    with PlainProgress().task("experts", 100) as advance:
        clock.now += 20
        advance(steps=40, loss=0.31234567, accuracy=0.5)
    assert capsys.readouterr().err == "experts: 40/100, 30 s left, loss 0.3123, accuracy 0.5\n"


def test_plain_lines_come_at_most_every_interval(clock, capsys):
    with PlainProgress().task("dm", 1000) as advance:
        for _ in range(101):
            clock.now += PLAIN_INTERVAL_S / 4
            advance()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 25
    assert lines[0].startswith("dm: 4/1000, ")
    assert lines[1].startswith("dm: 8/1000, ")


def test_short_work_leaves_no_lines(clock, capsys):
    with PlainProgress().task("quick", 3) as advance:
        for _ in range(3):
            clock.now += 3
            advance(loss=1.0)
    assert capsys.readouterr() == ("", "")


def test_the_time_left_of_a_resumed_run_counts_only_what_was_done_now(clock, capsys):
    with PlainProgress().task("dm", 100, done=90) as advance:
        clock.now += 10
        advance(steps=5)  # 2 s a step, 5 to go; the 90 of the last run took no time in this one
    assert capsys.readouterr().err == "dm: 95/100, 10 s left\n"


def test_tasks_keep_their_own_time(clock, capsys):
    plain = PlainProgress()
    with plain.task("outer", 2) as outer, plain.task("inner", 2) as inner:
        clock.now += 11
        inner()
        outer()
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == ["inner", "outer"]


def test_plain_messages_go_to_standard_error(capsys):
    PlainProgress().say("wrote [the] set")
    assert capsys.readouterr() == ("", "wrote [the] set\n")


def test_silence_says_nothing(capsys):
    silent = SilentProgress()
    with silent.task("dm", 10, done=3) as advance:
        advance()
        advance(2, loss=0.5)
    silent.say("anything")
    assert capsys.readouterr() == ("", "")


def bar_on(file: io.StringIO, *, terminal: bool) -> BarProgress:
    bar = BarProgress()
    bar._console = Console(file=file, force_terminal=terminal, width=120)
    return bar


def test_the_bar_shows_the_task_its_count_and_the_figures(capsys):
    shown = io.StringIO()
    bar = bar_on(shown, terminal=True)
    with bar.task("dm", 10, done=4) as advance:
        advance(loss=0.123456)
        advance(steps=2)  # the last figures stay
        bar.say("half of it [done]")
    text = shown.getvalue()
    assert "dm" in text
    assert "7/10" in text
    assert "loss 0.1235" in text
    assert "half of it [done]" in text
    assert capsys.readouterr() == ("", "")


def test_the_bar_is_taken_away_when_work_is_done_or_fails():
    shown = io.StringIO()
    bar = bar_on(shown, terminal=True)
    with pytest.raises(KeyError), bar.task("dm", 10):
        raise KeyError
    assert shown.getvalue().rstrip().endswith("\x1b[2K")  # erases the line
    with bar.task("again", 1) as advance:
        advance()


def test_the_bar_needs_no_terminal():
    shown = io.StringIO()
    with bar_on(shown, terminal=False).task("dm", 2) as advance:
        advance(steps=2, loss=1.0)
    assert "\x1b[" not in shown.getvalue()


def test_bars_go_to_standard_error():
    assert BarProgress()._console.stderr


@pytest.mark.parametrize(
    ("quiet", "terminal", "kind"),
    [
        (True, True, SilentProgress),
        (True, False, SilentProgress),
        (False, True, BarProgress),
        (False, False, PlainProgress),
    ],
)
def test_the_reporter_fits_where_it_reports(monkeypatch, quiet, terminal, kind):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    assert type(progress_for(quiet=quiet)) is kind
    assert issubclass(kind, Progress)


def test_warnings_are_shown_and_kept_once(capsys):
    kept = KeptWarnings(PlainProgress())
    for message in ("few images", "many images", "few images"):
        kept.warn(message)
    kept.say("a line")
    with kept.task("work", 1) as advance:
        advance()
    assert kept.warnings == ["few images", "many images"]
    assert capsys.readouterr().err.splitlines() == ["few images", "many images", "few images", "a line"]
