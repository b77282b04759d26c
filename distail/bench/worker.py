"""A worker goes through the cells of a grid and does what nobody has done. Any number of them may, anywhere, at once.

There is no one to hand out work: a worker claims a cell by a file (`claims/`), does it, and writes its result. What
needs something that another worker is busy with, a set, an expert or a teacher, is put off while there is other work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from distail.bench.jobs import Job
from distail.bench.result import described
from distail.bench.store import Store
from distail.bench.workshop import Workshop
from distail.claims import Claimed, Claims
from distail.claims.holding import NOTE_EVERY_S
from distail.errors import DistailError
from distail.progress import PlainProgress

_POLL_S = 0.5
"""How often a worker looks again where all that is left waits for others."""


class Worker:
    """Does the cells of one grid that have no result.

    Args:
        store: the folder of the grid.
        jobs: all cells, the most important first.
        begun: called with each job that this worker begins.
        devices: that share the making of a set, where its method can.
    """

    def __init__(
        self,
        store: Store,
        jobs: Sequence[Job],
        begun: Callable[[Job], None] = lambda job: None,
        devices: int = 1,
    ) -> None:
        self._store, self._jobs, self._begun = store, jobs, begun
        self._claims = Claims(store.claims, wait=False)
        self._workshop = Workshop(store, self._claims, devices)
        self._blocked: dict[str, Claimed] = {}

    def work(self) -> Iterator[Job]:
        """Goes on until every cell has a result, and yields each that this worker finished.

        Raises:
            DistailError: the folder cannot be written to; finished cells are kept.
        """
        finished = self._store.results().keys()
        left = [job for job in self._jobs if job.key not in finished]
        while left:
            done, left = self._next(left)
            if done:
                yield done
            elif left:
                time.sleep(_POLL_S)

    def _next(self, left: list[Job]) -> tuple[Job | None, list[Job]]:
        """The first job that could be done, after it was done; and what is left, those put off first."""
        put_off: list[Job] = []
        for place, job in enumerate(left):
            if self._store.status(job.key):
                continue
            if self._attempt(job):
                return job, put_off + left[place + 1 :]
            put_off.append(job)
        return None, put_off

    def _attempt(self, job: Job) -> bool:
        """Does a job; False where another worker has it, or what it needs."""
        busy = self._blocked.get(job.key)
        if busy and Claims(busy.folder).holder(busy.name):
            return False
        try:
            with self._claims.hold(job.key, described(job.place)) as claim:
                if self._store.status(job.key) is None:
                    self._begun(job)
                    progress = PlainProgress(claim.note, NOTE_EVERY_S)
                    self._store.write(self._workshop.run(job, progress))
                return True
        except Claimed as other:
            self._blocked[job.key] = other
            return False
        except OSError as error:
            raise DistailError(
                f"{self._store.path} cannot be written to: {error.strerror or error}. Make room or access, and start "
                "the same command again; what is finished is kept."
            ) from None
