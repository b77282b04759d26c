"""Tiny grids, opened and run in the test's process, and results that nobody had to compute."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from distail.bench.cell import Place, expand
from distail.bench.grid import Grid
from distail.bench.jobs import Plan, plan
from distail.bench.keys import Keys
from distail.bench.result import CellResult, CellRun, StudentLine, unscored
from distail.bench.running import OpenGrid, open_grid
from distail.config import merged, parse_config

NETWORK = "convnet2-w8"
IF, IPC = "data.imbalance", "images_per_class"
TRAIN = {"epochs": 2, "learning_rate": 0.02, "augmentation": "none"}
BASE: dict[str, Any] = {
    "data": {"source": "pets.npz"},
    "architecture": NETWORK,
    "device": "cpu",
    "precision": "fp32",
    "evaluation": {"architectures": [NETWORK], "seeds": 1, "train": TRAIN},
}
DM = {"settings": {"iterations": 2, "real_batch": 4, "image_lr": 0.5}}
"""A row of a method that learns, cut short."""
BY_LABELS = {
    "hard": {"method": "dm", **DM, "evaluation": {"labels": "hard"}},
    "longer": {"method": "dm", **DM, "evaluation": {"labels": "hard", "train": {"epochs": 3}}},
    "random": {"method": "random"},
}
"""Two rows that share a set, and one of its own."""


def grid_of(rows: Any, *, base: Mapping[str, Any] | None = None, **others: Any) -> Grid:
    """A grid of tiny cells with these rows."""
    return parse_config(Grid, {"base": merged(BASE, base or {}), "rows": rows, **others}, "grid")


def opened(source: Path, out: Path, rows: Any, **others: Any) -> OpenGrid:
    """A grid on a source, to be run in a folder."""
    base = merged({"data": {"source": str(source)}}, others.pop("base", {}))
    return open_grid(grid_of(rows, base=base, **others), out=out)


def known_hashes(data: Any, test: Any = None) -> str:
    """A content hash of data that nobody has to read."""
    return "abc"


def keys() -> Keys:
    """Names cells on data that nobody has to read."""
    return Keys(known_hashes, known_hashes)


def plan_of(grid: Grid) -> Plan:
    """A grid with its keys, on data that nobody has to read."""
    return plan(expand(grid), keys())


def students(
    values: Sequence[float],
    subject: str = "distilled",
    network: str = NETWORK,
    labels: str = "hard",
    score: str = "accuracy",
) -> tuple[StudentLine, ...]:
    """Students with these scores."""
    return tuple(
        StudentLine(subject, network, seed, labels, {score: value}, train_seconds=2.0)
        for seed, value in enumerate(values)
    )


def result_of(place: Place, key: str, lines: Sequence[StudentLine] = (), **changes: Any) -> CellResult:
    """A finished cell with these students; a failed one where there are none."""
    status: dict[str, Any] = {"status": "done"} if lines else {"error": "It did not work. Make it smaller."}
    facts: dict[str, Any] = {"labels": lines[0].labels, "stored_bytes": 1000} if lines else {}
    return replace(unscored(place, key, "set"), students=tuple(lines), **{**status, **facts, **changes})


def run_of(result: CellResult, **changes: Any) -> CellRun:
    """The file's content for a result."""
    return replace(CellRun(result, {"recipe": {}}, None, "", {"host": "here"}), **changes)


def scores_of(found: Mapping[str, CellResult]) -> dict[str, list[tuple[int, float]]]:
    """By key, what the students of each cell scored."""
    return {key: [(one.seed, one.scores["accuracy"]) for one in result.students] for key, result in found.items()}


def mean_and_std(values: Sequence[float]) -> tuple[float, float]:
    """By the standard library."""
    return statistics.fmean(values), statistics.stdev(values)


def left_behind(grid: OpenGrid) -> list[str]:
    """Claims, and files that were half written."""
    return [
        str(path) for path in grid.store.path.rglob("*") if path.name.startswith(".") or path.parent.name == "claims"
    ]
