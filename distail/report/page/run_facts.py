"""`RunFacts`: all that a run folder tells, read once. Knows nothing of HTML."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from jaxtyping import UInt8
from torch import Tensor

from distail.artifact import read_json
from distail.config import parse_config
from distail.distilled import DistilledSet, load_distilled
from distail.errors import DistailError
from distail.evaluation.result import Evaluation, load_evaluation
from distail.groups.grouping import Grouping, load_grouping
from distail.recipe import Recipe, load_recipe
from distail.run_folder import RunFolder

GROUP_PICTURES = ("features", "distances", "compared")
"""Pictures that `distail group` draws, the first to be looked at first."""


@dataclass(frozen=True, eq=False)
class Scored:
    """One evaluation of the run: the name of its file, and what is in it."""

    file: str
    result: Evaluation


@dataclass(frozen=True, eq=False)
class FoundGroups:
    """What `distail group` left.

    Attributes:
        folder: where the files are.
        where: the same for a reader: its name, and whether it is in the run folder or beside it.
        grouping: which classes belong together.
        pictures: files of the pictures that are there, by their name in `GROUP_PICTURES`.
        agreement: how alike groupings are over seeds and other data, as JSON values; may be empty.
        others: where further groups of the same classes are, which are not shown.
    """

    folder: Path
    where: str
    grouping: Grouping
    pictures: dict[str, Path]
    agreement: tuple[dict[str, Any], ...] = ()
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Metrics:
    """What a method logged: the figures by name, None where one is not known, at each of the steps."""

    steps: tuple[int, ...] = ()
    figures: dict[str, tuple[float | None, ...]] | None = None


@dataclass(frozen=True, eq=False)
class RunFacts:
    """A run as it lies on disk.

    Attributes:
        folder: as the user named it.
        complete: whether the set has been made.
        recipe: how it is made; None where nothing says so, or a newer version wrote it.
        provenance: the manifest.
        distilled: the set; None in an unfinished run.
        metrics: what was logged on the way.
        scored: its evaluations, in the order of their making.
        groups: of its classes, where they were looked for.
        snapshots: files of the set on the way, by iteration, ascending.
        start: pixels of the images that it began with, in the order of the set; None where none were kept.
        unreadable: what is there but cannot be read, in sentences.
    """

    folder: Path
    complete: bool
    recipe: Recipe | None
    provenance: dict[str, Any]
    distilled: DistilledSet | None
    metrics: Metrics
    scored: tuple[Scored, ...]
    groups: FoundGroups | None
    snapshots: dict[int, Path]
    start: UInt8[Tensor, "n c h w"] | None
    unreadable: tuple[str, ...]

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.folder.resolve().name

    @property
    def class_names(self) -> tuple[str, ...]:
        """In label order; empty where an unfinished run does not tell them."""
        return self.distilled.class_names if self.distilled else ()

    @cached_property
    def class_counts(self) -> tuple[int, ...]:
        """Training images of each class; empty where they are not known."""
        counts = self.provenance.get("class_counts")
        if counts is None:
            known = (scored.result.train_counts for scored in self.scored)
            counts = next((found for found in known if found is not None), ())
        return tuple(counts) if len(counts) == len(self.class_names) else ()

    @property
    def method(self) -> str | None:
        """The name of the method, where it is known."""
        return self.recipe.method if self.recipe else None

    @property
    def source(self) -> str | None:
        """Where the training images came from, where that is known."""
        return self.recipe.data.source if self.recipe else None

    @property
    def real_indices(self) -> tuple[int, ...] | None:
        """Positions among the training images, where the set's images are real ones."""
        found = self.provenance.get("real_images")
        return None if found is None else tuple(found)


def read_run_facts(target: str | Path) -> RunFacts:
    """Reads a run folder, finished or not, scored or not.

    What beside the set itself cannot be read is named and left out.

    Raises:
        DistailError: there is no run, or its set cannot be read.
    """
    folder = RunFolder(target)
    if not folder.path.is_dir() or not (folder.manifest.exists() or folder.recipe.exists()):
        raise DistailError(
            f"{target} holds neither a run nor a grid. Name a run folder, such as `distail distill` makes with --out, "
            "or the folder of a grid's results, which is bench/NAME unless --out names another."
        )
    manifest = read_json(folder.manifest) if folder.manifest.exists() else {}
    if not isinstance(manifest, dict):
        raise DistailError(f"{folder.manifest} is no manifest of distail. Name another run, or make this one again.")
    if manifest.get("kind") == "groups":
        raise DistailError(
            f"{target} holds groups of classes, not a run. Name a run; groups of its classes are shown with it."
        )
    unreadable: list[str] = []
    distilled = load_distilled(folder.path) if folder.distilled.exists() else None
    provenance = {**(distilled.provenance if distilled else {}), **manifest}
    return RunFacts(
        folder=folder.path,
        complete=distilled is not None and folder.is_complete,
        recipe=_recipe(folder, provenance, unreadable),
        provenance=provenance,
        distilled=distilled,
        metrics=_metrics(folder.metrics),
        scored=tuple(_evaluations(folder, unreadable)),
        groups=_groups(folder.path, distilled, provenance.get("data_sha256"), unreadable) if distilled else None,
        snapshots=_snapshots(folder),
        start=_start(folder, distilled, unreadable) if distilled else None,
        unreadable=tuple(unreadable),
    )


def _recipe(folder: RunFolder, provenance: dict[str, Any], unreadable: list[str]) -> Recipe | None:
    """That of the file, or, as relabelled sets have none, that in the manifest."""
    try:
        if folder.recipe.exists():
            return load_recipe(folder.recipe)
        return parse_config(Recipe, provenance["recipe"], str(folder.manifest)) if "recipe" in provenance else None
    except DistailError as error:
        unreadable.append(str(error))
        return None


def _evaluations(folder: RunFolder, unreadable: list[str]) -> Iterator[Scored]:
    """evaluation.json, evaluation-2.json and so on."""
    stem, suffix = folder.evaluation.stem, folder.evaluation.suffix
    numbered = {
        int(found[1] or 1): path
        for path in folder.path.glob(f"{stem}*{suffix}")
        if (found := re.fullmatch(rf"{stem}(?:-([0-9]+))?", path.stem))
    }
    for _, path in sorted(numbered.items()):
        try:
            yield Scored(path.name, load_evaluation(path))
        except DistailError as error:
            unreadable.append(str(error))


def _metrics(path: Path) -> Metrics:
    """Lines that a kill cut short are left out."""
    if not path.exists():
        return Metrics()
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            lines.append(line)
    names = dict.fromkeys(name for line in lines for name in line if name != "step")
    figures = {name: tuple(_number(line.get(name)) for line in lines) for name in names}
    return Metrics(tuple(line["step"] for line in lines), figures)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _groups(path: Path, distilled: DistilledSet, data_sha256: str | None, unreadable: list[str]) -> FoundGroups | None:
    """The newest groups in the run folder; where it has none, the newest in a folder beside it, of the same images."""
    own = path.resolve()
    inside = [(folder, f"{folder.name} in the run folder") for folder in _folders_in(own)]
    beside = [(folder, f"{folder.name} beside the run folder") for folder in _folders_in(own.parent) if folder != own]
    found: list[tuple[bool, float, FoundGroups]] = []
    for folder, where in ((own, "the run folder"), *inside, *beside):
        file = folder / "grouping.json"
        if not file.exists():
            continue
        try:
            grouping = load_grouping(file)
        except DistailError as error:
            unreadable.append(str(error).replace(f"{own.parent}/", ""))  # a page is passed on, and names no machine
            continue
        is_inside = own in (folder, folder.parent)
        same_images = grouping.provenance.get("data_sha256") == data_sha256 and data_sha256 is not None
        if grouping.class_names == distilled.class_names and (is_inside or same_images):
            found.append((is_inside, _time_of(grouping, file), _found(folder, grouping, where)))
    if not found:
        return None
    first, *others = (one for _, _, one in sorted(found, key=lambda one: one[:2], reverse=True))
    return replace(first, others=tuple(other.where for other in others))


def _folders_in(path: Path) -> list[Path]:
    return sorted(child for child in path.iterdir() if child.is_dir())


def _time_of(grouping: Grouping, file: Path) -> float:
    """When groups were found, in seconds since 1970: as they tell, for those that a person wrote as the file does."""
    try:
        return datetime.fromisoformat(str(grouping.provenance.get("written"))).timestamp()
    except ValueError:
        return file.stat().st_mtime


def _found(folder: Path, grouping: Grouping, where: str) -> FoundGroups:
    pictures = {name: folder / f"{name}.png" for name in GROUP_PICTURES if (folder / f"{name}.png").exists()}
    try:
        manifest = read_json(folder / "manifest.json")
        agreement = tuple(manifest.get("agreement") or ()) if manifest.get("kind") == "groups" else ()
    except (DistailError, AttributeError):
        agreement = ()
    return FoundGroups(folder, where, grouping, pictures, agreement)


def _start(folder: RunFolder, distilled: DistilledSet, unreadable: list[str]) -> UInt8[Tensor, "n c h w"] | None:
    try:
        start = folder.read_start()
    except DistailError as error:
        unreadable.append(str(error))
        return None
    return start if start is not None and start.shape == distilled.images.shape else None


def _snapshots(folder: RunFolder) -> dict[int, Path]:
    found = {}
    for path in sorted((folder.path / RunFolder.SNAPSHOTS).glob("iteration-*.safetensors")):
        number = path.stem.removeprefix("iteration-")
        if number.isdigit():
            found[int(number)] = path
    return found
