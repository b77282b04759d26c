"""Measures what the grid runner itself costs: expansion, keys, results on disk and the index, and the rest of a cell.

    python benchmarks/grid_overhead.py [--cells 100000] [--runs 100] [--out FILE]

Expansion and keys are of a grid of that many cells, whose data have been read before. Results are small ones, of three
students each, written one by one as a worker does. The overhead of a cell is wall time of a grid of `random` cells with
a student of one epoch, less the time inside `pipeline.distill` and `scoring.score`.
"""

import argparse
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from page_parts import RESULTS

from distail import pipeline, scoring
from distail.artifact import write_json
from distail.bench.cell import expand
from distail.bench.grid import Grid
from distail.bench.jobs import Plan, plan
from distail.bench.keys import Keys
from distail.bench.result import CellRun, StudentLine, unscored
from distail.bench.running import open_grid
from distail.bench.store import Store
from distail.bench.table import build_table
from distail.bench.view import look
from distail.provenance import environment
from distail.runtime import resolve_runtime

BASE: dict[str, Any] = {
    "data": {"source": "digits", "imbalance": 50},
    "method": "random",
    "architecture": "convnet1-w8",
    "images_per_class": 1,
    "device": "cpu",
    "precision": "fp32",
    "evaluation": {"architectures": ["convnet1-w8"], "seeds": 1, "labels": "hard", "train": {"epochs": 1}},
}
SCORES = {"accuracy": 0.5, "balanced_accuracy": 0.5, "class_std": 0.1, "worst_class": 0.2, "macro_f1": 0.5, "ece": 0.1}


def main() -> None:
    """Measures, prints and writes."""
    own = RESULTS / "grid_overhead.json"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=100_000, help="cells that are named and indexed")
    parser.add_argument("--runs", type=int, default=100, help="cells that are run")
    parser.add_argument("--out", type=Path, default=own, help="file for the result")
    asked = parser.parse_args()
    found: dict[str, Any] = {"cells": asked.cells, "runs": asked.runs}
    with tempfile.TemporaryDirectory() as folder:
        found |= many_cells(Store(Path(folder) / "many"), asked.cells)
        found |= running(Path(folder) / "running", asked.runs)
    for name, value in found.items():
        print(f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}", flush=True)
    write_json(asked.out, {**found, "system": platform.platform(), **environment(resolve_runtime("cpu", "fp32"))})


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What some work gives, and its wall time in seconds."""
    begun = time.perf_counter()
    given = work()
    return given, time.perf_counter() - begun


def many_cells(store: Store, count: int) -> dict[str, float]:
    """Seconds of everything that grows with the number of cells."""
    kinds = {"data.imbalance": [100, 50, 20, 10], "images_per_class": [1, 10, 20, 50, 100]}
    rows = {name: {"method": name} for name in ("random", "k_center", "dm", "dc", "dsa")}
    grid = Grid(base=BASE, rows=rows, vary=kinds, seeds=list(range(max(1, count // 100))))
    expansion, expand_s = timed(lambda: expand(grid))
    made, keys_s = timed(lambda: plan(expansion, Keys(lambda data: "0" * 64, lambda data, test: "1" * 64)))
    store.begin("")
    _, write_s = timed(lambda: write_all(store, made))
    size = sum(file.stat().st_size for file in store.cells.rglob("*.json"))
    _, index_s = timed(lambda: Store(store.path).results())
    reader = Store(store.path)
    known, read_s = timed(reader.results)
    assert len(known) == len(made.jobs)
    _, again_s = timed(reader.results)
    _, table_s = timed(lambda: build_table(grid, made, known))
    _, look_s = timed(lambda: look(store, made, known))
    return {
        "named_cells": len(made.jobs),
        "expand_seconds": expand_s,
        "keys_seconds": keys_s,
        "write_results_seconds": write_s,
        "bytes_per_result": size / len(made.jobs),
        "make_index_seconds": index_s,
        "index_bytes": store.index.stat().st_size,
        "read_index_seconds": read_s,
        "look_again_seconds": again_s,
        "table_seconds": table_s,
        "status_seconds": look_s,
    }


def write_all(store: Store, made: Plan) -> None:
    """A small result for every cell."""
    students = tuple(StudentLine("distilled", "convnet1-w8", seed, "hard", SCORES, 1.0) for seed in range(3))
    for job in made.jobs:
        result = replace(unscored(job.place, job.key, job.set_key), status="done", students=students, seconds=1.0)
        recipe = {"recipe": job.place.cell.recipe.model_dump(mode="json")}
        store.write(CellRun(result, recipe, None, "", {"host": platform.node()}))


def running(folder: Path, count: int) -> dict[str, float]:
    """Seconds of a cell that are the harness's own."""
    grid = Grid(base=BASE, rows={"random": {}}, seeds=list(range(count)))
    open_grid(Grid(base=BASE, rows={"random": {}}, seeds=[count]), out=folder).run(workers=1)  # imports and compiles
    opened, open_s = timed(lambda: open_grid(grid, out=folder))
    with counting() as inside:
        results, wall_s = timed(lambda: opened.run(workers=1))
    assert all(result.status == "done" for result in results.values())
    _, again_s = timed(lambda: opened.run(workers=1))
    return {
        "open_seconds": open_s,
        "wall_seconds_per_cell": wall_s / count,
        "inside_seconds_per_cell": sum(inside) / count,
        "overhead_seconds_per_cell": (wall_s - sum(inside)) / count,
        "finished_again_seconds": again_s,
    }


@contextmanager
def counting() -> Iterator[list[float]]:
    """Seconds that pass inside distilling and scoring."""
    seconds: list[float] = []

    def timing(work: Callable[..., Any]) -> Callable[..., Any]:
        def timed_work(*arguments: Any, **options: Any) -> Any:
            given, taken = timed(lambda: work(*arguments, **options))
            seconds.append(taken)
            return given

        return timed_work

    before = pipeline.distill, scoring.score
    pipeline.distill, scoring.score = timing(pipeline.distill), timing(scoring.score)
    try:
        yield seconds
    finally:
        pipeline.distill, scoring.score = before


if __name__ == "__main__":
    main()
