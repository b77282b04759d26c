"""Folders of grids whose cells nobody had to run."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from distail.bench.cell import Place
from distail.bench.result import CellRun, student_lines
from distail.bench.running import OpenGrid
from distail.distilled import StoredBytes
from distail.evaluation.result import Evaluation
from tests.bench.grids import IF, IPC, opened, result_of
from tests.report.page.runs import NASTY, student

ROWS: dict[str, Any] = {
    "random": {},
    "dm": {},
    "tailor, asked": {"method": "tailor", "evaluation": {"labels": "teacher"}},
    "all images": {"baseline": "cross_entropy"},
}
VARY = {IF: [10, 2], IPC: [3, 1]}
CLASSES = ("ant", "bee", "cow")


def run_at(place: Place, key: str, number: int, classes: tuple[str, ...] = CLASSES) -> CellRun:
    """A finished cell with two students of each network, which took longer the later it stands in the grid."""
    counts = tuple(range(120, 120 - len(classes), -1))
    asked = place.cell.baseline is None and place.cell.evaluation.labels == "teacher"
    labels = "teacher" if asked else "hard"  # as for sets without soft labels
    subject = place.cell.method if place.cell.baseline else "distilled"
    found = Evaluation(
        students=tuple(
            replace(student(subject, labels, 2 * number + seed, counts), architecture=architecture)
            for architecture in place.cell.architectures
            for seed in range(2)
        ),
        class_names=classes,
        train_counts=counts,
        stored=StoredBytes(1000, 0, 0),
        fairness={},
        provenance={"train": {"epochs": 7, "optimizer": "adamw"}},
        teacher=student(subject, labels, 100, counts).scores if asked else None,
    )
    making = None if place.cell.baseline else 10.0 * (number + 1)
    result = result_of(
        place, key, student_lines(found), distill_seconds=making, peak_memory_bytes=10**8 + number, seconds=30.0
    )
    recipe = {"recipe": place.cell.recipe.model_dump(mode="json")}
    recipe |= {"baseline": place.cell.baseline.model_dump(mode="json")} if place.cell.baseline else {}
    return CellRun(result, recipe, found, "", {"hardware": "a machine", "versions": {"distail": "0.1.0"}})


def fill(
    grid: OpenGrid,
    *,
    failed: Callable[[Place], bool] = lambda place: False,
    missing: Callable[[Place], bool] = lambda place: False,
    classes: tuple[str, ...] = CLASSES,
    error: str = "It did not work. Make it smaller.",
) -> Path:
    """Writes a result for every cell but those that are missing."""
    grid.store.begin(grid.text)
    for number, job in enumerate(grid.plan.jobs):
        if missing(job.place):
            continue
        run = run_at(job.place, job.key, number, classes)
        if failed(job.place):
            result = result_of(job.place, job.key, error=error)
            run = CellRun(result, run.recipe, None, "Traceback (most recent call last): there", {})
        grid.store.write(run)
    return grid.store.path


def small_grid(source: Path, out: Path) -> Path:
    """Four rows by four columns: one figure failed, one is to come."""
    return fill(
        opened(source, out, ROWS, vary=VARY),
        failed=lambda place: place.row == "dm" and place.values == {IF: 2, IPC: 1},
        missing=lambda place: place.row == "random" and place.values == {IF: 2, IPC: 1},
    )


def nasty_grid(source: Path, out: Path) -> Path:
    """Rows and classes whose names try to be more, and an error that does."""
    rows: dict[str, Any] = {name: {"method": method} for name, method in zip(NASTY, ("random", "dm"), strict=False)}
    grid = opened(source, out, rows, vary={IPC: [1, 2]})
    return fill(grid, failed=lambda place: place.row == NASTY[1], classes=NASTY, error=f"{NASTY[0]} {NASTY[4]}")
