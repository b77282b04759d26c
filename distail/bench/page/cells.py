"""What a page tells of one figure of the table: students, classes, mistakes, cost, recipe, images and failures."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import torch

from distail.bench.page.costs import own_students
from distail.bench.page.grid_facts import GridFacts, Spot
from distail.bench.result import CellResult, StudentLine, described
from distail.distilled import DistilledSet, as_pixels, load_distilled
from distail.errors import DistailError, counted
from distail.evaluation.metrics import Summary, summarise
from distail.evaluation.result import Evaluation, parse_evaluation
from distail.progress import format_bytes, format_seconds
from distail.recipe import to_yaml
from distail.report.evaluation import about_teacher, students_in_short
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


@dataclass(frozen=True)
class SetView:
    """A set of a figure: its seed, an image of each class where they can be read, and the command for its page."""

    seed: int
    picture: Picture | None
    command: str


@dataclass(frozen=True, eq=False)
class SpotView:
    """All about one figure.

    Attributes:
        id: in the page.
        row, column: what it stands for.
        scores: the accuracy of each network, over all sets.
        students: (seed of the set, student), at most `MAX_STUDENTS`.
        num_students: how many there are.
        details: classes and mistakes of each network's students, over all sets.
        failures: of its cells.
        missing: cells, by their description, that have not run.
        facts: (what, value) of cost and origin.
        notes: how students of sets were trained, and what the networks that they asked get themselves.
        recipe: of the first cell, as YAML that `distail run` takes where it makes a set; empty where none has run.
        is_baseline: whether it is one, for which there is no such file.
        sets: those that are still there, in the order of their seeds.
    """

    id: str
    row: str
    column: str
    scores: tuple[tuple[str, Summary], ...]
    students: tuple[tuple[int, StudentLine], ...]
    num_students: int
    details: tuple[Detail, ...]
    failures: tuple[Failure, ...]
    missing: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    recipe: str
    is_baseline: bool
    sets: tuple[SetView, ...]


def spot_view(facts: GridFacts, spot: Spot, image_bytes: int) -> SpotView:
    """Reads the cells of a figure; what cannot be read counts as a failure.

    Args:
        facts: the grid.
        spot: which figure.
        image_bytes: of the page that images of one set may take.
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
    recipe, is_baseline = _recipe(contents)
    return SpotView(
        id=f"c{spot.number}",
        row=spot.row,
        column=facts.table.column_title(facts.table.columns[spot.column]),
        scores=tuple(_scores(spot)),
        students=tuple(students[:MAX_STUDENTS]),
        num_students=len(students),
        details=_details(evaluations),
        failures=tuple(failures),
        missing=tuple(described(place) for place, result in spot.places if result is None),
        facts=tuple(_facts(contents)),
        notes=tuple(_notes(contents, evaluations)),
        recipe=recipe,
        is_baseline=is_baseline,
        sets=tuple(_sets(facts, spot, image_bytes)),
    )


def _scores(spot: Spot) -> Iterator[tuple[str, Summary]]:
    """The accuracy of each network, as in its table."""
    found: dict[str, list[float]] = {}
    for result in spot.results:
        for name in _networks(result):
            found.setdefault(name, []).extend(one.scores["accuracy"] for one in own_students(result, name))
    for name, values in found.items():
        yield name, summarise(values)


def _networks(result: CellResult) -> list[str]:
    """Of the students that the cell is about."""
    return list(dict.fromkeys(one.architecture for one in result.students if one.subject == result.subject))


def _recipe(contents: Sequence[tuple[CellResult, dict[str, Any]]]) -> tuple[str, bool]:
    """The first cell's, and whether it is a baseline's, which has a recipe for the sake of its data alone."""
    if not contents:
        return "", False
    first, content = contents[0]
    whole = content["recipe"]
    if first.kind != "baseline":
        return to_yaml(whole["recipe"]), False
    own = {name: whole["recipe"][name] for name in ("data", "test", "device", "precision") if name in whole["recipe"]}
    return to_yaml({"baseline": whole["baseline"], **own}), True


def _details(evaluations: Sequence[Evaluation]) -> tuple[Detail, ...]:
    """Over the students of all sets, which are the same classes on the same test images; one for each network."""
    if not evaluations:
        return ()
    first = evaluations[0]
    alike = [one for one in evaluations if one.class_names == first.class_names]
    whole = replace(first, students=tuple(student for one in alike for student in one.students))
    found: dict[str, Detail] = {}
    for one in evaluation_view(Scored("", whole), None).details:
        found.setdefault(one.line.architecture, one)  # the set comes first, what it is compared with after it
    return tuple(found.values())


def _facts(contents: Sequence[tuple[CellResult, dict[str, Any]]]) -> Iterator[tuple[str, str]]:
    done = [(result, content) for result, content in contents if result.status == "done"]
    if not done:
        return
    first, content = done[0]
    yield "method", f"{first.method}, {'a baseline' if first.kind == 'baseline' else 'a distilled set'}"
    if making := [result.distill_seconds for result, _ in done if result.distill_seconds is not None]:
        yield "making a set", format_seconds(fmean(making))
    networks = _networks(first)
    for name in networks:
        training = [one.train_seconds for result, _ in done for one in own_students(result, name)]
        what = "training a network on it" if first.kind == "set" else "training a network"
        yield what if len(networks) == 1 else f"{what}, {name}", format_seconds(fmean(training))
    yield "these cells in all", format_seconds(sum(result.seconds for result, _ in done))
    if memory := [result.peak_memory_bytes for result, _ in done if result.peak_memory_bytes]:
        yield "memory at most", format_bytes(max(memory))
    if first.stored_bytes is not None:
        yield "bytes to keep", format_bytes(first.stored_bytes)
    environment = content.get("environment") or {}
    versions = environment.get("versions") or {}
    yield "versions", ", ".join(f"{name} {version}" for name, version in versions.items())
    for name in ("hardware", "device", "precision"):
        if environment.get(name):
            yield name, str(environment[name])
    yield "written", ", ".join(sorted({result.written[:10] for result, _ in done}))


def _notes(contents: Sequence[tuple[CellResult, dict[str, Any]]], evaluations: Sequence[Evaluation]) -> Iterator[str]:
    if not evaluations or contents[0][0].kind == "baseline":
        return
    with suppress(DistailError, KeyError):  # of other versions, or made by hand
        how = students_in_short(evaluations[0])
        yield f"Students: {how}. Rows whose students are trained otherwise are not comparable as methods."
    yield from dict.fromkeys(told for one in evaluations for told in about_teacher(one))


def _sets(facts: GridFacts, spot: Spot, max_bytes: int) -> Iterator[SetView]:
    """The sets that are still there."""
    seeds = {result.set: result.seed for result in spot.results if result.status == "done" and result.set}
    for key, seed in seeds.items():
        folder = facts.opened.store.sets / key
        if not folder.is_dir():
            continue
        try:
            found = load_distilled(folder)
        except DistailError:
            continue
        yield SetView(seed, _first_images(found, seed, max_bytes), f"distail report {shlex.quote(str(folder))}")


def _first_images(found: DistilledSet, seed: int, max_bytes: int) -> Picture | None:
    """The first image of each class; None where there is no room for any."""
    first = [int((found.labels == label).nonzero()[0]) for label, count in enumerate(found.class_counts) if count]
    reduction = reduction_for(1, min(len(first), _MAX_IMAGES), found.image_shape, max_bytes, wanted=_MAX_IMAGES)
    shown = torch.tensor(first[:_MAX_IMAGES][: reduction.per_class], dtype=torch.long)
    if len(shown) == 0:
        return None
    pixels = reduction.apply(as_pixels(found.images[shown], found.preprocessing))
    return strip(pixels, f"The first image of each of {counted(len(shown), 'class', 'classes')}, made with seed {seed}")
