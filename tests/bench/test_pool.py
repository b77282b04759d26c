"""Several processes on one grid, and processes that are killed at any moment."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch

from distail import pipeline
from distail.bench.pool import Seat, seats, work_in_processes
from distail.bench.running import OpenGrid
from distail.bench.worker import Worker
from distail.claims import Claims
from distail.distilled import load_distilled
from distail.recipe import Recipe
from tests.bench.grids import DM, IPC, grid_of, opened, scores_of

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

ROWS = {
    "hard": {"method": "dm", **DM, "evaluation": {"labels": "hard"}},
    "longer": {"method": "dm", **DM, "evaluation": {"labels": "hard", "train": {"epochs": 3}}},
    "random": {"method": "random"},
    "all": {"baseline": {"method": "balanced_softmax", "train": {"epochs": 2, "batch_size": 16}}},
}
TIMEOUT_S = 240


def forked(work: Callable[[], object]) -> int:
    """A process of its own, which leads a group; its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    with suppress(BaseException):
        os.setsid()
        work()
        code = 0
    os._exit(code)


def ended(child: int) -> int:
    """The exit code of a process, once it has ended; less than nought where a signal ended it."""
    given_up = time.monotonic() + TIMEOUT_S
    while time.monotonic() < given_up:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise AssertionError("it did not end")


def images_of(grid: OpenGrid) -> dict[str, bytes]:
    """By key, the bits of every set."""
    return {path.name: load_distilled(path).images.numpy().tobytes() for path in grid.store.sets.iterdir()}


def held(grid: OpenGrid) -> list[str]:
    return [path.name for path in grid.store.claims.iterdir() if path.suffix == ".json"]


@pytest.fixture(scope="module")
def unharmed(source, tmp_path_factory):
    """The grid, run without any trouble."""
    grid = opened(source, tmp_path_factory.mktemp("unharmed") / "grid", ROWS, vary={IPC: [1, 2]})
    grid.run()
    return grid


def test_two_processes_on_one_grid_do_everything_once(source, tmp_path, unharmed, monkeypatch):
    grid = opened(source, tmp_path / "grid", ROWS, vary={IPC: [1, 2]})
    grid.store.begin("")
    real = pipeline.distill

    def noting(recipe: Recipe, **options: Any) -> Any:
        with (tmp_path / "sets.txt").open("a") as lines:
            lines.write(f"{options['out'].name}\n")
        return real(recipe, **options)

    monkeypatch.setattr(pipeline, "distill", noting)

    def work() -> None:
        for job in Worker(grid.store, grid.plan.jobs).work():
            with (tmp_path / f"{os.getpid()}.txt").open("a") as lines:
                lines.write(f"{job.key}\n")

    children = [forked(work) for _ in range(2)]
    assert [ended(child) for child in children] == [0, 0]
    shares = [
        (tmp_path / f"{child}.txt").read_text().split() for child in children if (tmp_path / f"{child}.txt").exists()
    ]
    assert sorted(key for share in shares for key in share) == sorted(job.key for job in grid.plan.jobs)
    sets = (tmp_path / "sets.txt").read_text().split()
    assert len(sets) == len(set(sets)) == 4
    assert held(grid) == []
    assert scores_of(grid.results()) == scores_of(unharmed.results())
    assert images_of(grid) == images_of(unharmed)


def test_killed_again_and_again_it_ends_with_the_same_results(source, tmp_path, unharmed):
    grid = opened(source, tmp_path / "grid", ROWS, vary={IPC: [1, 2]})
    chance, moments, kills = random.Random(), [], 0
    begun = time.monotonic()
    assert ended(forked(lambda: opened(source, tmp_path / "measured", ROWS, vary={IPC: [1, 2]}).run())) == 0
    whole = time.monotonic() - begun
    for _ in range(6):
        moments.append(chance.uniform(0, whole / 3))
        child = forked(lambda: opened(source, tmp_path / "grid", ROWS, vary={IPC: [1, 2]}).run())
        time.sleep(moments[-1])
        os.kill(child, signal.SIGKILL)
        kills += ended(child) == -signal.SIGKILL
        known = grid.results()
        assert {result.status for result in known.values()} <= {"done"}, f"killed at {moments}"
    assert kills, "it was never killed while it worked"
    found = grid.run()
    assert scores_of(found) == scores_of(unharmed.results()), f"killed at {moments}"
    assert images_of(grid) == images_of(unharmed), f"killed at {moments}"
    assert Claims(grid.store.claims).all() == {}
    assert {result.status for result in found.values()} == {"done"}


def test_a_whole_group_of_processes_is_killed_and_another_finishes(source, tmp_path, unharmed):
    from distail.bench.grid import grid_text

    (tmp_path / "g.yaml").write_text(
        grid_text(grid_of(ROWS, base={"data": {"source": str(source)}}, vary={IPC: [1, 2]}))
    )
    command = [sys.executable, "-m", "distail", "bench", "g.yaml", "--out", "grid", "--workers", "2", "--quiet"]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    given_up = time.monotonic() + TIMEOUT_S
    while not list(tmp_path.glob("grid/cells/*/*.json")) and process.poll() is None and time.monotonic() < given_up:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    _, told = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == -signal.SIGKILL, told
    grid = opened(source, tmp_path / "grid", ROWS, vary={IPC: [1, 2]})
    # The signal reaches each process in its own time; those not buried yet are known to be dead.
    while Claims(grid.store.claims).all() and time.monotonic() < given_up:
        time.sleep(0.005)
    assert Claims(grid.store.claims).all() == {}
    before = grid.results()
    assert 0 < len(before) < len(grid.plan.jobs)
    found = grid.run()
    assert found.keys() >= before.keys()
    assert all(found[key] == result for key, result in before.items())
    assert scores_of(found) == scores_of(unharmed.results())
    assert images_of(grid) == images_of(unharmed)
    assert Claims(grid.store.claims).all() == {}


KILLED = """
import os, signal
import distail

class Killed(distail.Method):
    \"\"\"Killed.\"\"\"
    paper = "none"
    summary = "is killed"
    how: str = "signal"

    def distill(self, problem):
        if self.how == "exit":
            os._exit(3)
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("how", "words"), [("signal", "ended by SIGKILL"), ("exit", "ended by exit code 3")])
def test_a_process_that_the_system_ends_is_a_failed_cell_and_is_replaced(source, tmp_path, how, words):
    (tmp_path / "killed_method.py").write_text(KILLED)
    rows = {"killed": {"method": "killed_method", "settings": {"how": how}}, "random": {}}
    grid = opened(source, tmp_path / "grid", rows)
    grid.store.begin("")
    looks = sum(1 for _ in work_in_processes(grid.store, grid.plan.jobs, 1))
    assert looks >= 2
    killed, other = grid.results().values()
    killed, other = (killed, other) if killed.row == "killed" else (other, killed)
    assert (killed.status, other.status) == ("failed", "done")
    assert words in (killed.error or "")
    assert "memory" in (killed.error or "")
    assert "--retry and fewer --workers" in (killed.error or "")


def test_threads_are_divided(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert seats(1) == [Seat(8)]
    assert seats(3) == [Seat(2)] * 3
    assert seats(99) == [Seat(1)] * 99


def test_each_worker_has_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [seat.gpu for seat in seats(3)] == [0, 1, 0]
