"""Workers on this machine: one in this process, or several processes that share its threads or have a GPU each.

One in this process may have several devices, which then share the making of a set.

A process that the system ends, mostly for want of memory, leaves its cell behind as failed and is replaced.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path

import torch

from distail.bench.jobs import Job
from distail.bench.result import CellRun, unscored
from distail.bench.store import Store
from distail.bench.worker import Worker
from distail.devices import can_share
from distail.errors import DistailError
from distail.peers.launching import require_devices, require_number
from distail.pipeline import resolved

_LOOK_S = 1.0


@dataclass(frozen=True)
class Seat:
    """What a worker process may use.

    Attributes:
        threads: of the CPU.
        gpu: number of its GPU; None for the CPU, or for all there are.
    """

    threads: int
    gpu: int | None = None


def default_workers() -> int:
    """One for each GPU; one where there is none."""
    return max(1, torch.cuda.device_count())


def seats(workers: int) -> list[Seat]:
    """Threads and GPUs, divided evenly."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    gpus = torch.cuda.device_count()
    return [Seat(max(1, cores // workers), number % gpus if gpus else None) for number in range(workers)]


def work_here(store: Store, jobs: Sequence[Job], devices: int = 1) -> Iterator[None]:
    """Does all cells in this process, or in this and others that share the making of sets; yields after each.

    Raises:
        DistailError: the folder cannot be written to.
    """
    for _ in Worker(store, jobs, devices=devices).work():
        yield


def require_shared(jobs: Sequence[Job], devices: int) -> None:
    """Refuses devices that are not there, or that no cell could share.

    Raises:
        DistailError: says which, and what to do.
    """
    require_number(devices)
    recipes = [job.place.cell.recipe for job in jobs if job.set_key]
    sharing = [recipe for recipe in recipes if can_share(recipe, devices)]
    for device in dict.fromkeys(resolved(recipe).device for recipe in sharing):
        require_devices(devices, device)
    if not sharing:
        raise DistailError(
            f"No set of these cells can be made on {devices} devices at once: only methods that imitate experts can, "
            f"with `experts_per_iteration` of at least {devices} among their settings. Leave --devices out; --workers "
            f"{devices} does so many cells at once."
        )


def work_in_processes(store: Store, jobs: Sequence[Job], workers: int) -> Iterator[None]:
    """Does all cells in several processes; yields every second, for whoever watches.

    Processes are ended where the caller stops iterating.

    Raises:
        DistailError: the folder cannot be written to, or a process could not begin.
    """
    context = multiprocessing.get_context("spawn")
    staff = [_Employee(context, store, jobs, seat) for seat in seats(workers)]
    try:
        while staff:
            wait([employee.process.sentinel for employee in staff], timeout=_LOOK_S)
            for employee in list(staff):
                employee.listen()
                if employee.process.is_alive():
                    continue
                staff.remove(employee)
                if employee.was_killed():
                    staff.append(_Employee(context, store, jobs, employee.seat))
            yield
    finally:
        for employee in staff:
            employee.process.terminate()
        for employee in staff:
            employee.process.join()


class _Employee:
    """A worker process, as its parent sees it."""

    def __init__(self, context: SpawnContext, store: Store, jobs: Sequence[Job], seat: Seat) -> None:
        self.seat = seat
        self._store = store
        self._jobs = {job.key: job for job in jobs}
        self._ear, mouth = context.Pipe(duplex=False)
        self._current: Job | None = None
        self._error: str | None = None
        arguments = (store.path, tuple(jobs), seat, mouth)
        self.process: SpawnProcess = context.Process(target=_work, args=arguments, daemon=True)
        self.process.start()
        mouth.close()

    def listen(self) -> None:
        """Takes note of what the process has begun, and of an error that it ended with."""
        with suppress(EOFError, OSError):
            while self._ear.poll():
                kind, text = self._ear.recv()
                if kind == "begun":
                    self._current = self._jobs[text]
                else:
                    self._error = text

    def was_killed(self) -> bool:
        """Whether the system ended the process in the middle of a cell, which is then recorded as failed.

        Raises:
            DistailError: it ended by an error of its own.
        """
        self.listen()
        code = self.process.exitcode
        if self._error is not None:
            raise DistailError(self._error)
        if code == 0:
            return False
        in_a_cell = self._current is not None and self._store.status(self._current.key) is None
        if self._current is None or code is None or (code > 0 and not in_a_cell):
            raise DistailError(
                f"A worker process ended with exit code {code} outside of any cell. Use --workers 1, which works in "
                "this process and shows why."
            )
        if in_a_cell:
            self._store.write(_killed(self._current, code))
        return True


def _work(path: Path, jobs: Sequence[Job], seat: Seat, mouth: Connection) -> None:
    """What a worker process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told by the terminal too, and ends its processes
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        run_worker(path, jobs, seat, lambda job: mouth.send(("begun", job.key)))
    except DistailError as error:
        mouth.send(("error", str(error)))


def _end_with_parent() -> None:
    """Ends this process when its parent is gone, however that came about: nobody would know of it any more."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def run_worker(path: Path, jobs: Sequence[Job], seat: Seat, begun: Callable[[Job], None]) -> None:
    """Does all cells that nobody does, in a process that is there for nothing else.

    Raises:
        DistailError: the folder cannot be written to.
    """
    torch.set_num_threads(seat.threads)
    if seat.gpu is not None:
        torch.cuda.set_device(seat.gpu)
    for _ in Worker(Store(path), jobs, begun).work():
        pass


def _killed(job: Job, code: int) -> CellRun:
    """The result of a cell whose process was ended, or ended itself."""
    by = f"exit code {code}" if code > 0 else f"signal {-code}"
    with suppress(ValueError):
        by = signal.Signals(-code).name
    why = (
        f"The process was ended by {by}, most likely because memory ran out. Run the cell again with --retry and fewer "
        "--workers, or with smaller batches."
    )
    result = replace(unscored(job.place, job.key, job.set_key), error=why)
    recipe = {"recipe": job.place.cell.recipe.model_dump(mode="json")}
    return CellRun(result, recipe, None, "", {"host": platform.node()})
