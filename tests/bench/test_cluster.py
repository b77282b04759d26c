"""Workers as tasks of Ray."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from subprocess import DEVNULL, PIPE

import pytest

from distail.bench import cluster
from distail.bench.grid import grid_text
from distail.errors import DistailError
from tests.bench.grids import grid_of, opened

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
QUIET = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "01" * 32}


HOLDS_A_CLUSTER = """
import ray
print(ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False).address_info["gcs_address"], flush=True)
input()
"""


@contextmanager
def running_cluster() -> Iterator[str]:
    """The address of a cluster that another process started, and ends."""
    arguments = [sys.executable, "-c", HOLDS_A_CLUSTER]
    with subprocess.Popen(arguments, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, text=True, env=QUIET) as holder:
        assert holder.stdin
        assert holder.stdout
        try:
            yield holder.stdout.readline().strip()
        finally:
            holder.stdin.close()


def bench(*flags: str) -> subprocess.CompletedProcess[str]:
    """`distail bench g.yaml` as a user calls it."""
    command = [sys.executable, "-m", "distail", "bench", "g.yaml", *flags, "--workers", "1", "--json"]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=QUIET, check=False)


@needs_ray
@pytest.mark.parametrize("own", [True, False], ids=["started here", "by address"])
def test_a_grid_on_a_cluster_of_this_machine(own, source, tmp_path):
    rows = {"random": {}, "wrong": {"method": "dm", "settings": {"iterations": 1, "image_lr": 1e38}}}
    (tmp_path / "g.yaml").write_text(grid_text(grid_of(rows, base={"data": {"source": str(source)}})))
    with nullcontext("ray") if own else running_cluster() as address:
        done = bench("--cluster", address)
    told = json.loads(done.stdout or "{}")
    assert told["done"] + told["failed"] == 2, done.stderr
    assert told["done"] >= 1
    assert done.returncode == (1 if told["failed"] else 0)
    assert "Traceback" not in done.stderr
    grid = opened(source, tmp_path / "bench" / "g", rows)
    assert {result.row for result in grid.results().values()} == {"random", "wrong"}


@needs_ray
@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:99999", "nonsense"])
def test_a_cluster_that_does_not_answer_is_named_soon(address):
    begun = time.monotonic()
    with pytest.raises(DistailError, match=r"No Ray cluster answers at .*Check the address") as refusal:
        cluster._connected(address)
    assert address in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert time.monotonic() - begun < 30


def test_without_ray_it_is_said_how_to_install_it(source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    grid = opened(source, tmp_path / "grid", ["random"])
    with pytest.raises(DistailError, match=r"needs Ray. Install it with pip install 'distail\[ray\]'"):
        grid.run(cluster="ray")
    assert grid.results() == {}


def test_a_machine_that_does_not_see_the_folder_says_so(tmp_path):
    assert "does not see" in (cluster._work(str(tmp_path / "gone"), [], 1) or "")


def test_a_task_works_like_a_process(source, tmp_path):
    grid = opened(source, tmp_path / "grid", ["random"])
    grid.store.begin("")
    assert cluster._work(str(grid.store.path), grid.plan.jobs, 1) is None
    assert [result.status for result in grid.results().values()] == ["done"]
