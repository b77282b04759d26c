import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from distail.claims import Claim, Claimed, Claims, Holder, holding
from distail.claims.file import STALE_AFTER_S
from distail.claims.process import is_running, start_of
from distail.errors import DistailError
from distail.progress import SilentProgress

HOLDING = """
import sys, time
from pathlib import Path
from distail.claims import Claims
with Claims(Path(sys.argv[1])).hold("work", "training"):
    print("held", flush=True)
    time.sleep(60)
"""
CONTENDING = """
import sys
from pathlib import Path
from distail.claims import Claimed, Claims
claims, alone, had = Claims(Path(sys.argv[1]), wait=False), Path(sys.argv[2]), 0
print("ready", flush=True)
sys.stdin.readline()
while had < 200:
    try:
        with claims.hold("work"):
            alone.touch(exist_ok=False)
            alone.unlink()
            had += 1
    except Claimed:
        pass
"""


class Told(SilentProgress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


@contextmanager
def started(script: str, *arguments: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has said that it is at work; killed in the end."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def held_elsewhere(folder: Path, **changes: Any) -> Iterator[Path]:
    """A claim of another machine's process; the path of its file."""
    with Claims(folder).hold("work", "training"):
        path = folder / "work.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "place": "elsewhere", **changes}))
        yield path


def make_older(path: Path, seconds: float) -> None:
    moment = path.stat().st_mtime - seconds
    os.utime(path, (moment, moment))


def can_be_held(folder: Path, name: str = "work") -> bool:
    try:
        with Claims(folder, wait=False).hold(name):
            return True
    except Claimed:
        return False


def test_one_holds_at_a_time_and_says_so(tmp_path):
    claims, before = Claims(tmp_path / "claims", wait=False), time.time()
    assert claims.holder("work") is None
    assert claims.all() == {}
    with claims.hold("work", "training expert 3"), claims.hold("other"):
        holder = claims.holder("work")
        assert holder == Holder(os.uname().nodename, os.getpid(), holder.since, "training expert 3")
        assert before <= holder.since <= time.time()
        assert list(claims.all()) == ["other", "work"]
        with pytest.raises(Claimed) as refusal, claims.hold("work"):
            pass
        assert (refusal.value.name, refusal.value.holder) == ("work", holder)
    assert claims.all() == {}
    assert list((tmp_path / "claims").iterdir()) == []


def test_an_error_gives_the_claim_back(tmp_path):
    with pytest.raises(ZeroDivisionError), Claims(tmp_path).hold("work"):
        _ = 1 / 0
    assert can_be_held(tmp_path)


def test_who_waits_gets_it_and_says_once_for_whom_it_waits(tmp_path):
    told, order = Told(), []

    def wait() -> None:
        with Claims(tmp_path).hold("work", "training expert 3", told):
            order.append("waiting")

    with Claims(tmp_path).hold("work"):
        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(0.6)  # long enough to ask twice
        order.append("holding")
    waiting.join(5)
    assert order == ["holding", "waiting"]
    assert len(told.lines) == 1
    assert f"training expert 3: waiting for process {os.getpid()} on {os.uname().nodename}" in told.lines[0]


def test_two_processes_never_hold_the_same(tmp_path):
    with ExitStack() as both:
        processes = [both.enter_context(started(CONTENDING, tmp_path / "claims", tmp_path / "alone")) for _ in range(2)]
        for process in processes:
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        assert [process.wait(60) for process in processes] == [0, 0]


def test_a_killed_process_blocks_nobody(tmp_path):
    with started(HOLDING, tmp_path) as process:
        holder = Claims(tmp_path).holder("work")
        assert holder
        assert (holder.pid, holder.note) == (process.pid, "training")
        assert not can_be_held(tmp_path)
        process.send_signal(signal.SIGKILL)  # and not waited for: the dead process keeps its number
        begun = time.monotonic()
        with Claims(tmp_path).hold("work"):
            assert time.monotonic() - begun < 3
            assert Claims(tmp_path).all()["work"].pid == os.getpid()


def test_another_process_of_the_same_number_is_not_the_holder(tmp_path):
    with Claims(tmp_path).hold("work"):
        path = tmp_path / "work.json"
        facts = json.loads(path.read_text())
        assert facts["started"] == start_of(os.getpid())
        path.write_text(json.dumps({**facts, "started": facts["started"] - 1, "token": "of the earlier one"}))
        assert Claims(tmp_path).holder("work") is None
        assert Claims(tmp_path).all() == {}
        assert can_be_held(tmp_path)


def test_claims_of_other_machines_end_by_age_on_the_clock_of_the_files(tmp_path, monkeypatch):
    hour = 3600.0
    with held_elsewhere(tmp_path, pid=2**30) as path:
        make_older(path, STALE_AFTER_S - 20)
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + hour)
        assert not can_be_held(tmp_path), "a process that this machine does not have may run on another"
        assert Claims(tmp_path).holder("work") is not None
        monkeypatch.setattr(time, "time", lambda: real() - hour)
        make_older(path, 30)
        assert Claims(tmp_path).holder("work") is None
        assert can_be_held(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": "here"}', "\udcff"])
def test_what_cannot_be_read_counts_by_its_age(tmp_path, content):
    path = tmp_path / "work.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    assert not can_be_held(tmp_path)
    make_older(path, STALE_AFTER_S + 20)
    assert can_be_held(tmp_path)


def test_many_who_take_over_at_once_hold_it_one_by_one(tmp_path, monkeypatch):
    monkeypatch.setattr(holding, "_LAST_POLL_S", 0.01)
    monkeypatch.setattr(holding, "_FIRST_POLL_S", 0.01)
    alone, had, failed = tmp_path / "alone", [], []
    together = threading.Barrier(8)

    def take() -> None:
        together.wait()
        try:
            with Claims(tmp_path / "claims").hold("work"):
                alone.touch(exist_ok=False)
                time.sleep(0.01)
                alone.unlink()
                had.append(True)
        except FileExistsError:
            failed.append(True)

    for _ in range(3):
        with held_elsewhere(tmp_path / "claims") as path:
            make_older(path, STALE_AFTER_S + 20)
            takers = [threading.Thread(target=take) for _ in range(8)]
            for taker in takers:
                taker.start()
            for taker in takers:
                taker.join(20)
    assert (len(had), failed) == (24, [])


def test_a_holder_renews_its_claim(tmp_path, monkeypatch):
    monkeypatch.setattr(holding, "RENEW_EVERY_S", 0.05)
    with Claims(tmp_path).hold("work"):
        make_older(tmp_path / "work.json", STALE_AFTER_S + 20)
        given_up = time.monotonic() + 5
        while Claims(tmp_path).holder("work") is None and time.monotonic() < given_up:
            time.sleep(0.02)
        assert Claims(tmp_path).holder("work") is not None


def test_who_slept_too_long_does_not_harm_its_successor(tmp_path, monkeypatch):
    monkeypatch.setattr(holding, "RENEW_EVERY_S", 0.02)
    with Claims(tmp_path).hold("work") as sleeper:
        make_older(tmp_path / "work.json", STALE_AFTER_S + 20)
        with held_elsewhere(tmp_path, token="the successor's", pid=7) as path:
            make_older(path, 50)
            before = path.read_text(), path.stat().st_mtime
            monkeypatch.setattr(holding, "NOTE_EVERY_S", 0.0)
            sleeper.note("still here")
            time.sleep(0.1)
            assert (path.read_text(), path.stat().st_mtime) == before
    assert Claims(tmp_path).all()["work"].pid == 7


def noted(folder: Path) -> str:
    return Claims(folder).all()["work"].note


def test_notes_are_written_at_most_so_often_and_the_last_one_is_not_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(holding, "RENEW_EVERY_S", 0.3)
    with Claims(tmp_path).hold("work", "first") as claim:
        claim.note("second")
        assert noted(tmp_path) == "first"
        given_up = time.monotonic() + 5
        while noted(tmp_path) == "first" and time.monotonic() < given_up:
            time.sleep(0.02)
        assert noted(tmp_path) == "second"
        monkeypatch.setattr(holding, "NOTE_EVERY_S", 0.0)
        claim.note("third")
        assert noted(tmp_path) == "third"
    assert list(tmp_path.iterdir()) == []


def test_a_note_that_cannot_be_written_stops_no_work(tmp_path, monkeypatch):
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(holding, "NOTE_EVERY_S", 0.0)
    with Claims(tmp_path).hold("work", "first") as claim:
        monkeypatch.setattr(Path, "write_text", full)
        claim.note("second")
        assert noted(tmp_path) == "first"


def test_file_systems_without_hard_links_will_do(tmp_path, monkeypatch):
    def refuse(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with Claims(tmp_path).hold("work", "training"):
        assert Claims(tmp_path).all()["work"].pid == os.getpid()
        assert not can_be_held(tmp_path)
    assert can_be_held(tmp_path)


def test_an_answer_lost_on_the_network_is_no_refusal(tmp_path, monkeypatch):
    link = os.link

    def twice(source: Path, target: Path) -> None:
        link(source, target)
        link(source, target)

    monkeypatch.setattr(os, "link", twice)
    assert can_be_held(tmp_path)


def test_what_killed_processes_left_half_written_is_swept_out(tmp_path):
    left, fresh = tmp_path / ".work.1.tmp", tmp_path / ".work.2.tmp"
    left.touch()
    fresh.touch()
    make_older(left, STALE_AFTER_S + 20)
    with held_elsewhere(tmp_path) as path:
        make_older(path, STALE_AFTER_S + 20)
        assert can_be_held(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [fresh.name]


@pytest.mark.parametrize("place", ["claims", "claims/here"])
def test_a_folder_that_cannot_be_is_refused(tmp_path, place):
    (tmp_path / "claims").touch()
    with pytest.raises(DistailError, match=rf"{place} cannot hold claims.*or name another folder"):
        Claims(tmp_path / place).hold("work").__enter__()


def test_a_full_disk_is_refused_and_nothing_is_left(tmp_path, monkeypatch):
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(DistailError, match=r"No space left on device.*Make room"), Claims(tmp_path).hold("work"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_child_of_a_fork_leaves_its_parents_claim(tmp_path):
    with Claims(tmp_path).hold("work") as claim:
        assert isinstance(claim, Claim)
        claim._pid += 1
    assert (tmp_path / "work.json").exists()


@pytest.mark.parametrize("name", ["", "../work", "a/b", ".hidden"])
def test_names_are_names_of_files(tmp_path, name):
    with pytest.raises(AssertionError):
        Claims(tmp_path).holder(name)


def test_processes_are_told_from_those_that_ended():
    with started("print(1, flush=True); input()") as process:
        begun = start_of(process.pid)
        assert begun
        assert is_running(process.pid, begun)
        assert not is_running(process.pid, begun + 1)
        process.kill()
        given_up = time.monotonic() + 5
        while is_running(process.pid, begun) and time.monotonic() < given_up:
            time.sleep(0.01)
        assert not is_running(process.pid, begun), "dead, and not waited for yet"
    assert not is_running(process.pid, begun)
    assert is_running(1, start_of(1))


def test_what_dead_processes_left_can_be_cleared_away(tmp_path):
    with started(HOLDING, tmp_path) as process:
        process.kill()
        process.wait()
        with Claims(tmp_path).hold("alive"), held_elsewhere(tmp_path / "far"):
            for folder in (tmp_path, tmp_path / "far", tmp_path / "nowhere"):
                Claims(folder).clear()
            assert [path.name for path in tmp_path.glob("*.json")] == ["alive.json"]
            assert [path.name for path in (tmp_path / "far").iterdir()] == ["work.json"]
    assert not (tmp_path / "nowhere").exists()


def test_who_is_killed_while_it_removes_a_claim_hinders_others_for_a_while_only(tmp_path):
    with started(HOLDING, tmp_path) as process:
        process.kill()
        process.wait()
    [path] = tmp_path.glob("*.json")
    touch, begun = Path.touch, []

    def killed(place: Path, **options: bool) -> None:
        touch(place, **options)
        if not options.get("exist_ok", True):
            begun.append(place)
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "touch", killed)
        with pytest.raises(KeyboardInterrupt):
            Claims(tmp_path).clear()
    Claims(tmp_path).clear()
    assert path.exists()
    assert Claims(tmp_path).all() == {}, "nobody is said to be at work meanwhile"
    make_older(begun[0], STALE_AFTER_S + 20)
    Claims(tmp_path).clear()
    assert list(tmp_path.iterdir()) == []


def test_who_finds_something_claimed_knows_where(tmp_path):
    with Claims(tmp_path).hold("work"), pytest.raises(Claimed) as refusal, Claims(tmp_path, wait=False).hold("work"):
        pass
    assert refusal.value.folder == tmp_path
