"""What a page tells of one figure of the table: students, classes, mistakes, cost, recipe, images and failures."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import torch

from distail.bench.page.costs import own_students
from distail.bench.page.grid_facts import GridFacts, Spot
from distail.bench.result import CellResult, StudentLine, described
from distail.bench.table import TableCell
from distail.distilled import as_pixels, load_distilled
from distail.errors import DistailError
from distail.evaluation.result import Evaluation, parse_evaluation
from distail.progress import format_seconds
from distail.recipe import to_yaml
from distail.report.page.html import data_size
from distail.report.page.pictures import Picture, reduction_for, strip
from distail.report.page.run_facts import Scored
from distail.report.page.scores import Detail, evaluation_view

MAX_STUDENTS = 40
"""Students of a figure that are listed one by one."""

_MAX_TRACE = 3000
_MAX_IMAGES = 20


@dataclass(frozen=True)
class Failure:
    """A cell that failed: which, why, and where in the code if that helps."""

    cell: str
    message: str
    trace: str


@dataclass(frozen=True, eq=False)
class SpotView:
    """All about one figure.

    Attributes:
        id: in the page.
        row, column: what it stands for.
        cell: the figure of the first table; None where that has none.
        students: (seed of the set, student), at most `MAX_STUDENTS`.
        num_students: how many there are.
        detail: classes and mistakes of the first network's students, over all sets; None where nothing was scored.
        failures: of its cells.
        missing: cells, by their description, that have not run.
        facts: (what, value) of cost and origin.
        recipe: of the first cell, as YAML; empty where none has run.
        picture: an image of each class of the first set; None where it is not there.
        command: makes the page of that set; empty where it is not there.
    """

    id: str
    row: str
    column: str
    cell: TableCell | None
    students: tuple[tuple[int, StudentLine], ...]
    num_students: int
    detail: Detail | None
    failures: tuple[Failure, ...]
    missing: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    recipe: str
    picture: Picture | None
    command: str


def spot_view(facts: GridFacts, spot: Spot, image_bytes: int) -> SpotView:
    """Reads the cells of a figure; what cannot be read counts as a failure.

    Args:
        facts: the grid.
        spot: which figure.
        image_bytes: of the page that images of the set may take.
    """
    contents: list[tuple[CellResult, dict[str, Any]]] = []
    failures: list[Failure] = []
    evaluations: list[Evaluation] = []
    names = {result.key: described(place) for place, result in spot.places if result}
    for result in spot.results:
        try:
            content = facts.opened.store.content(result.key)
            if content["evaluation"] is not None:
                evaluations.append(parse_evaluation(content["evaluation"], str(facts.opened.store.file(result.key))))
        except DistailError as error:
            failures.append(Failure(names[result.key], str(error), ""))
            continue
        contents.append((result, content))
        if result.status == "failed":
            trace = str(content.get("traceback") or "")[-_MAX_TRACE:]
            failures.append(Failure(names[result.key], result.error or "", trace))
    students = [(result.seed, student) for result, _ in contents for student in result.students]
    picture, command = _set(facts, spot, image_bytes)
    return SpotView(
        id=f"c{spot.number}",
        row=spot.row,
        column=facts.table.column_title(facts.table.columns[spot.column]),
        cell=_cell(facts, spot),
        students=tuple(students[:MAX_STUDENTS]),
        num_students=len(students),
        detail=_detail(evaluations, facts.table.architecture),
        failures=tuple(failures),
        missing=tuple(described(place) for place, result in spot.places if result is None),
        facts=tuple(_facts(facts, contents)),
        recipe=to_yaml(contents[0][1]["recipe"]) if contents else "",
        picture=picture,
        command=command,
    )


def _cell(facts: GridFacts, spot: Spot) -> TableCell | None:
    rows = (row for row in facts.table.rows if row.name == spot.row and row.published is None)
    return next((cell for row in rows if (cell := row.cells[spot.column])), None)


def _detail(evaluations: Sequence[Evaluation], architecture: str) -> Detail | None:
    """Over the students of all sets, which are the same classes on the same test images."""
    if not evaluations:
        return None
    first = evaluations[0]
    alike = [one for one in evaluations if one.class_names == first.class_names]
    whole = replace(first, students=tuple(student for one in alike for student in one.students))
    details = evaluation_view(Scored("", whole), None).details
    return next((one for one in details if one.line.architecture == architecture), None)


def _facts(facts: GridFacts, contents: Sequence[tuple[CellResult, dict[str, Any]]]) -> Iterator[tuple[str, str]]:
    done = [(result, content) for result, content in contents if result.status == "done"]
    if not done:
        return
    first, content = done[0]
    yield "method", f"{first.method}, {'a baseline' if first.kind == 'baseline' else 'a distilled set'}"
    if making := [result.distill_seconds for result, _ in done if result.distill_seconds is not None]:
        yield "making a set", format_seconds(fmean(making))
    if training := [time for result, _ in done for time in own_students(result, facts.table.architecture)]:
        yield (
            "training a network on it" if first.kind == "set" else "training a network",
            format_seconds(fmean(training)),
        )
    yield "these cells in all", format_seconds(sum(result.seconds for result, _ in done))
    if memory := [result.peak_memory_bytes for result, _ in done if result.peak_memory_bytes]:
        yield "memory at most", data_size(max(memory))
    if first.stored_bytes is not None:
        yield "bytes to keep", data_size(first.stored_bytes)
    environment = content.get("environment") or {}
    versions = environment.get("versions") or {}
    yield "versions", ", ".join(f"{name} {version}" for name, version in versions.items())
    for name in ("hardware", "device", "precision"):
        if environment.get(name):
            yield name, str(environment[name])
    yield "written", ", ".join(sorted({result.written[:10] for result, _ in done}))


def _set(facts: GridFacts, spot: Spot, max_bytes: int) -> tuple[Picture | None, str]:
    """The first image of each class of the first set that is still there, and the command for its page."""
    key = next((result.set for result in spot.results if result.status == "done" and result.set), None)
    folder = facts.opened.store.sets / str(key)
    if key is None or not folder.is_dir():
        return None, ""
    command = f"distail report {shlex.quote(str(folder))}"
    try:
        found = load_distilled(folder)
    except DistailError:
        return None, ""
    first = [int((found.labels == label).nonzero()[0]) for label, count in enumerate(found.class_counts) if count]
    reduction = reduction_for(1, min(len(first), _MAX_IMAGES), found.image_shape, max_bytes, wanted=_MAX_IMAGES)
    shown = torch.tensor(first[:_MAX_IMAGES][: reduction.per_class], dtype=torch.long)
    if len(shown) == 0:
        return None, command
    pixels = reduction.apply(as_pixels(found.images[shown], found.preprocessing))
    return strip(pixels, f"The first image of each of {len(shown)} classes"), command
