"""Workers on a cluster, by Ray: each is a task that goes through the cells, as processes of one machine do.

Every machine must see the folder of the grid under the same path, since results and claims are files in it; Ray places
the workers and says when one is gone.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from distail.bench.jobs import Job
from distail.bench.pool import Seat, run_worker
from distail.bench.store import Store
from distail.errors import DistailError

LOCAL = "ray"
"""What stands for a cluster of this machine alone, started for the grid."""
_FOUND_BY_RAY = "auto"
_ANSWER_S = 10.0
_LOOK_S = 1.0
_CRASHES = 3
"""How often one worker may be lost, for want of memory or with its machine, before the grid is given up."""


def work_on_cluster(store: Store, jobs: Sequence[Job], workers: int | None, address: str) -> Iterator[None]:
    """Does all cells by tasks of Ray; yields every second, for whoever watches.

    Args:
        workers: tasks; one for each GPU of the cluster, or for each machine where there is none, when omitted.
        address: of a cluster, or 'ray' to start one here.

    Raises:
        DistailError: Ray is not installed, the cluster cannot be reached, a machine does not see the folder, the
            folder cannot be written to, or workers were lost again and again.
    """
    ray = _connected(address)
    resources = ray.cluster_resources()
    gpus, machines = int(resources.get("GPU", 0)), max(1, len([node for node in ray.nodes() if node["Alive"]]))
    count = workers or gpus or machines
    cores = max(1, int(resources.get("CPU", 1)) // count)
    task = ray.remote(num_cpus=cores, num_gpus=1 if gpus else 0, max_retries=0)(_work)
    arguments = (str(store.path.absolute()), tuple(jobs), cores)
    pending = [task.remote(*arguments) for _ in range(count)]
    lost_before = dict.fromkeys(pending, 0)
    try:
        while pending:
            ended, pending = ray.wait(pending, timeout=_LOOK_S)
            for one in ended:
                try:
                    error = ray.get(one)
                except ray.exceptions.RayError as lost:
                    crashes = lost_before.pop(one) + 1
                    if crashes == _CRASHES:
                        raise DistailError(
                            f"A worker was lost {crashes} times ({type(lost).__name__}), most likely for want of "
                            "memory. Start again with fewer --workers; what is finished is kept."
                        ) from None
                    again = task.remote(*arguments)
                    pending.append(again)
                    lost_before[again] = crashes
                else:
                    if error:
                        raise DistailError(error)
            yield
    finally:
        for one in pending:
            ray.cancel(one, force=True)
        ray.shutdown()


def _work(path: str, jobs: Sequence[Job], threads: int) -> str | None:
    """What a task does; an error for people comes back as its text."""
    if not Store(path).grid.exists():
        import platform

        return f"{platform.node()} does not see {path}. Choose an --out that all machines of the cluster share."
    try:
        run_worker(Path(path), jobs, Seat(threads), lambda job: None)
    except DistailError as error:
        return str(error)
    return None


def _connected(address: str) -> Any:
    """Ray, connected to a cluster.

    Raises:
        DistailError: it is not installed, or nothing answers at that address.
    """
    try:
        import ray
    except ImportError:
        raise DistailError("--cluster needs Ray. Install it with pip install 'distail[ray]'.") from None
    if address not in (LOCAL, _FOUND_BY_RAY):
        _require_answer(address)
    try:
        ray.init(
            address="local" if address == LOCAL else address,
            include_dashboard=False if address == LOCAL else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        if "RAY_AUTH_MODE" not in os.environ and address != LOCAL:
            reason += "; if it asks for a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN here"
        raise _unreachable(address, reason) from None
    return ray


def _require_answer(address: str) -> None:
    """Refuses an address where nobody listens, for which Ray itself would wait for minutes."""
    host, sign, port = address.removeprefix("ray://").rpartition(":")
    if not sign or not port.isdigit():
        raise _unreachable(address, "an address looks like HOST:6379 or ray://HOST:10001")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, getattr(error, "strerror", None) or str(error)) from None


def _unreachable(address: str, reason: str) -> DistailError:
    return DistailError(
        f"No Ray cluster answers at {address} ({reason}). Check the address, or pass --cluster ray to start one here."
    )
