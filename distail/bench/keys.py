"""Keys of cells: a hash of all that decides a result, so that no finished cell runs again and every changed one does.

What decides it: the content of the images, not where they lie; the recipe with the method's defaults filled in; the
label protocol, networks and seeds; the source files of methods and networks from outside; and distail's version. Device
and precision count as the grid names them, so machines of one cluster share cells; what they turned out to be, and the
versions of torch and Python, stand in each result.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from distail.artifact import identity_hash
from distail.baselines._registry import build_baseline
from distail.bench.cell import Cell
from distail.errors import DistailError
from distail.methods._registry import build_method
from distail.models.architecture import architecture_source, check_architecture
from distail.plugins import source_hash
from distail.recipe import DataRecipe

FORMAT = 1
"""Raised when cells of the same recipe begin to mean something else."""
_DIGITS = 20
"""Hexadecimal ones of a key."""

SourceHash = Callable[[DataRecipe], str]
"""The content hash of the training split that a recipe reads its images from."""
TestHash = Callable[[DataRecipe, str | None], str | None]
"""The content hash of test images; None where they are set aside from the training split, whose hash says it all."""


class Keys:
    """Names cells, and the sets that several cells share.

    Args:
        source: the content hash of the data that methods see a part of.
        test: that of the test images.
    """

    def __init__(self, source: SourceHash, test: TestHash) -> None:
        self._source, self._test = source, test

    def of_cell(self, cell: Cell) -> str:
        """Names a result.

        Raises:
            DistailError: the method, a setting or a network is unknown, or the data cannot be read.
        """
        recipe = cell.recipe
        scored = {"test": self._test(recipe.data, recipe.test), "architectures": _sources(cell.architectures)}
        if cell.baseline is None:
            evaluation = cell.evaluation.model_dump(mode="json")
            teacher, stages = cell.evaluation.teacher, cell.evaluation.two_stage
            scored |= {"evaluation": evaluation, "teacher": _file_hash("teacher", teacher) if teacher else None}
            if stages and stages.grouping:
                scored["grouping"] = _file_hash("grouping", stages.grouping)
            return identity_hash({"set": self._set_identity(cell), **scored}, _DIGITS)
        baseline = cell.baseline
        whole = build_baseline(baseline.method, baseline.settings)
        return identity_hash(
            {
                **self._common(cell),
                **scored,
                "baseline": {
                    **baseline.model_dump(mode="json", exclude={"train"}),
                    "settings": whole.model_dump(mode="json"),
                },
                "train": whole.recipe_with(baseline.train).model_dump(mode="json"),
                "baseline_sha256": source_hash(baseline.method),
            },
            _DIGITS,
        )

    def of_set(self, cell: Cell) -> str:
        """Names the set that a cell scores; the same for cells that differ in how they score it."""
        return identity_hash(self._set_identity(cell), _DIGITS)

    def of_test(self, cell: Cell) -> str | None:
        """The content hash of the test images; None where they are set aside from the data that the cell reads."""
        return self._test(cell.recipe.data, cell.recipe.test)

    def of_source(self, cell: Cell) -> str:
        """The content hash of the data that a cell reads, by which its result is named."""
        return self._source(cell.recipe.data)

    def _set_identity(self, cell: Cell) -> dict[str, Any]:
        recipe = cell.recipe
        settings = _whole_settings(recipe.method, json.dumps(recipe.settings, sort_keys=True))
        inner = {name: source for name in sorted(set(_modules(settings))) if (source := _outside(name))}
        return {
            **self._common(cell),
            "method": recipe.method,
            "method_sha256": _outside(recipe.method),
            "settings": settings,
            **({"settings_sha256": inner} if inner else {}),
            "images_per_class": recipe.images_per_class,
            "preprocessing": recipe.preprocessing,
            "architecture": recipe.architecture,
            "architecture_sha256": _sources((recipe.architecture,)),
            "seed": recipe.seed,
        }

    def _common(self, cell: Cell) -> dict[str, Any]:
        recipe = cell.recipe
        return {
            "format": FORMAT,
            "distail": _own_version(),
            "data": {**recipe.data.model_dump(mode="json", exclude={"source"}), "sha256": self._source(recipe.data)},
            "device": recipe.device,
            "precision": recipe.precision,
        }


@lru_cache(maxsize=4096)
def _whole_settings(method: str, settings: str) -> Mapping[str, Any]:
    """A method's settings with its defaults, as JSON values."""
    return build_method(method, json.loads(settings)).model_dump(mode="json")


@cache
def _own_version() -> str:
    return version("distail")


@lru_cache
def _outside(name: str) -> str | None:
    """The source of a method, baseline or network of one's own, several networks joined by '+' among them."""
    return architecture_source(name)


@lru_cache
def _sources(architectures: Iterable[str]) -> dict[str, str | None]:
    for architecture in architectures:
        check_architecture(architecture)
    return {architecture: architecture_source(architecture) for architecture in architectures}


def _modules(settings: Any) -> Iterator[str]:
    """Names of networks and baselines, which may be modules of one's own, anywhere in a method's settings."""
    if isinstance(settings, Mapping):
        for name, value in settings.items():
            if name in ("architecture", "baseline") and isinstance(value, str):
                yield value
            else:
                yield from _modules(value)
    elif isinstance(settings, (list, tuple)):
        for value in settings:
            yield from _modules(value)


def _file_hash(kind: str, path: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise DistailError(f"The {kind} {path} cannot be read: {error.strerror}. Check the path.") from None
