"""Grids of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distail.bench.grid import Grid
from distail.bench.result import CellResult
from distail.bench.running import OpenGrid, open_grid
from distail.bench.table import Table, build_table
from distail.config import parse_config
from distail.evaluation.result import Evaluation
from distail.progress import Progress


@dataclass(frozen=True)
class GridResults:
    """What is known of a grid's cells.

    Attributes:
        cells: the results of finished and failed cells, in the order of the grid.
    """

    cells: tuple[CellResult, ...]
    _opened: OpenGrid

    @property
    def folder(self) -> Path:
        """Where they are kept."""
        return self._opened.store.path

    @property
    def failed(self) -> tuple[CellResult, ...]:
        """Cells that failed; `error` says why, and `run_grid(..., retry=True)` runs them again."""
        return tuple(cell for cell in self.cells if cell.status == "failed")

    def table(self, score: str = "accuracy", architecture: str | None = None) -> Table:
        """Rows by columns of what varies, with means, deviations and marks.

        Args:
            score: accuracy, balanced_accuracy, class_std, worst_class, macro_f1, ece, many, medium or few.
            architecture: network of the students; the first of the grid when omitted.

        Raises:
            DistailError: there is no such score, or no cell has students of this network.
        """
        known = {cell.key: cell for cell in self.cells}
        return build_table(self._opened.grid, self._opened.plan, known, score=score, architecture=architecture)

    def evaluation(self, cell: CellResult) -> Evaluation | None:
        """All scores of a cell, class by class; None where it failed.

        Raises:
            DistailError: its file is gone or damaged.
        """
        return self._opened.store.evaluation(cell.key)


def run_grid(
    grid: str | Path | Mapping[str, Any],
    *,
    out: str | Path | None = None,
    source: str | None = None,
    rows: Sequence[str] = (),
    where: Mapping[str, Any] | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    devices: int = 1,
    retry: bool = False,
    progress: Progress | None = None,
) -> GridResults:
    """Runs every cell of a grid that has no result yet, as `distail bench` does.

    Args:
        grid: a YAML file, the folder in which one was run, or what such a file holds: base, rows, vary and so on.
        out: folder for the results; bench/NAME of the file when omitted. Results that are there are kept and used.
        source: where the data are, if not where the grid says.
        rows: run these alone, and give their results alone; all when empty.
        where: values of what varies, such as {"images_per_class": [1, 10]}: run these alone.
        workers: processes side by side; 1 works in this one. One for each GPU, or 1, when omitted. A script that asks
            for more must keep its own work below `if __name__ == "__main__":`, since they import it.
        cluster: 'ray' for a Ray cluster that is started here, or the address of one that runs.
        devices: of this machine that share the making of each set whose method imitates experts; for one worker. New
            processes import the script that calls this, as for `workers`.
        retry: run failed cells again.
        progress: how to report reading the data; silent when omitted.

    Raises:
        DistailError: an unknown key, value, method or source; or a folder that cannot be written to. Cells that fail
            do not raise: see `GridResults.failed`.
    """
    target = parse_config(Grid, grid, "distail.run_grid") if isinstance(grid, Mapping) else grid
    opened = open_grid(target, out=out, source=source, progress=progress).narrowed(rows, where)
    known = opened.run(workers=workers, cluster=cluster, devices=devices, retry=retry)
    return GridResults(tuple(known.values()), opened)
