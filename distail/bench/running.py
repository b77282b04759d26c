"""A grid from the outside: opens it, runs it here, in processes or on a cluster, and looks at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distail.bench.cell import belongs, expand, require_where
from distail.bench.grid import Grid, grid_text, load_grid, parse_grid
from distail.bench.jobs import Plan, part_of, plan
from distail.bench.keys import Keys
from distail.bench.pool import default_workers, require_shared, work_here, work_in_processes
from distail.bench.result import CellResult
from distail.bench.sources import SourceHashes
from distail.bench.store import Store
from distail.claims import Claims
from distail.config import merged
from distail.errors import DistailError
from distail.peers.launching import require_guard
from distail.progress import Progress, SilentProgress

Watch = Callable[[], None]
"""Called before the first cell and while cells run: about once a second where processes run them, after each cell where
this one does."""


def _nothing() -> None:
    """Watches nothing."""


@dataclass(frozen=True)
class OpenGrid:
    """A grid and its folder.

    Attributes:
        grid: what is compared, narrowed to the values that are asked for.
        plan: of all cells, or of those that it was narrowed to.
        text: the grid as it is written.
    """

    grid: Grid
    plan: Plan
    store: Store
    text: str

    def results(self) -> dict[str, CellResult]:
        """Results of this grid's cells by key; those of cells that it no longer has are left out."""
        known = self.store.results()
        return {job.key: known[job.key] for job in self.plan.jobs if job.key in known}

    def narrowed(self, rows: Sequence[str] = (), where: Mapping[str, Any] | None = None) -> OpenGrid:
        """The same with a part of its cells.

        Args:
            rows: these alone; all when empty.
            where: values of what varies, such as {'images_per_class': [1, 10]}: cells with these alone.

        Raises:
            DistailError: there is no such row or value, or no such cell.
        """
        asked = dict(where or {})
        require_where(asked, self.grid.vary, "The part that is asked for")
        vary = {name: [one for one in some if belongs(asked, {name: one})] for name, some in self.grid.vary.items()}
        return replace(self, grid=self.grid.model_copy(update={"vary": vary}), plan=part_of(self.plan, rows, asked))

    def run(
        self,
        *,
        workers: int | None = None,
        cluster: str | None = None,
        devices: int = 1,
        retry: bool = False,
        watch: Watch | None = None,
    ) -> dict[str, CellResult]:
        """Does every cell that has no result, and gives all results back.

        Args:
            workers: processes; 1 works in this one. One for each GPU, or 1, when omitted.
            cluster: 'ray', or the address of a cluster of Ray's such as 'ray://head:10001'; here when omitted.
            devices: of this machine that share the making of each set whose method can; for one worker.
            retry: run failed cells again.
            watch: called now and then.

        Raises:
            DistailError: a folder that cannot be written to, or Ray is not there. Cells that fail do not raise; their
                results say why.
        """
        work = self._work(workers, cluster, devices)
        self.store.begin(self.text)
        if retry:
            for result in self.results().values():
                if result.status == "failed":
                    self.store.forget(result)
        watch = watch or _nothing
        watch()
        for _ in work:
            watch()
        Claims(self.store.claims).clear()
        return self.results()

    def _work(self, workers: int | None, cluster: str | None, devices: int) -> Iterator[None]:
        jobs = self.plan.jobs
        if workers is not None and workers < 1:
            raise DistailError(f"--workers {workers} does no work. Give at least 1.")
        require_guard()
        if devices != 1:
            if cluster is not None or (workers or 1) > 1:
                raise DistailError(
                    f"--devices {devices} lets so many devices of this machine share one cell, so it does not go with "
                    f"{'--cluster' if cluster else '--workers'}, by which each cell has one device. Leave one of them "
                    "out."
                )
            require_shared(jobs, devices)
            return work_here(self.store, jobs, devices)
        if cluster is not None:
            from distail.bench.cluster import work_on_cluster

            return work_on_cluster(self.store, jobs, workers, cluster)
        count = workers or default_workers()
        return work_here(self.store, jobs) if count == 1 else work_in_processes(self.store, jobs, count)


def open_grid(
    target: str | Path | Grid,
    *,
    out: str | Path | None = None,
    source: str | None = None,
    progress: Progress | None = None,
) -> OpenGrid:
    """Opens a grid's file, or the folder that it was run in.

    Args:
        target: a YAML file, a folder that `distail bench` made, or a grid that is in no file.
        out: where results go, if `target` is no folder; bench/NAME when omitted, which needs a file.
        source: where the data are, if not where the grid says.
        progress: shows how far reading data has come, which happens where nothing is known of them yet.

    Raises:
        DistailError: neither; or a key, value, method or source of it is not known.
    """
    if isinstance(target, Grid):
        if out is None:
            raise DistailError("A grid that is in no file has no name. Give out=, a folder for the results.")
        grid, text, store, where = target, grid_text(target), Store(out), "grid"
        store.require_own()
    elif (path := Path(target)).is_dir():
        if out is not None:
            raise DistailError(f"{path} is the folder of a grid, where its results are. Leave out --out.")
        store = Store(path)
        text, where = store.require_grid(), f"grid {store.grid}"
        grid = parse_grid(text, where)
    else:
        grid, text = load_grid(path)
        store, where = Store(out or Path("bench") / path.stem), f"grid {path}"
        store.require_own()
    if source is not None:
        grid = grid.model_copy(update={"base": merged(grid.base, {"data": {"source": source}})})
        text = grid_text(grid)
    expansion = expand(grid, where)
    hashes = SourceHashes(store.sources, progress or SilentProgress())
    return OpenGrid(grid, plan(expansion, Keys(hashes.of_training, hashes.of_test)), store, text)
