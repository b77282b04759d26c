"""A run folder that explains itself: manifest, recipe, metrics, start, checkpoint, set, picture and scores."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxtyping import UInt8
from torch import Tensor

from distail import distilled
from distail.artifact import TensorFile, is_taken, read_json, read_tensors, write_json, write_tensors, write_text
from distail.errors import DistailError
from distail.evaluation import result
from distail.recipe import Recipe, load_recipe
from distail.recipe_changes import changed_settings

_ITERATIONS = "settings.iterations"
_START = "start of a run"


class RunFolder:
    """Paths and state of one run."""

    SNAPSHOTS = "snapshots"

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.manifest = self.path / "manifest.json"
        self.recipe = self.path / "recipe.yaml"
        self.metrics = self.path / "metrics.jsonl"
        self.start = self.path / "start.safetensors"
        self.checkpoint = self.path / "checkpoint.safetensors"
        self.distilled = self.path / distilled.FILE_NAME
        self.teacher = self.path / "teacher.safetensors"
        self.picture = self.path / "images.png"
        self.evaluation = self.path / result.FILE_NAME

    def snapshot(self, iteration: int) -> Path:
        """The set as it was after an iteration, where a method was asked to keep such."""
        return self.path / self.SNAPSHOTS / f"iteration-{iteration:06d}.safetensors"

    @property
    def is_complete(self) -> bool:
        """Whether the set has been made, and with it the teacher that the manifest names, if any."""
        if not (self.manifest.exists() and self.distilled.exists()):
            return False
        manifest = read_json(self.manifest)
        return manifest.get("status") == "complete" and (manifest.get("teacher") is None or self.teacher.exists())

    def require_usable(self, recipe: Recipe, *, resume: bool, more_iterations: bool = False) -> None:
        """Refuses a folder that this recipe must not write to; touches nothing.

        Args:
            recipe: what is asked for.
            resume: whether a run that is there may be taken up.
            more_iterations: whether it may be taken up for another number of iterations, if it is not finished.

        Raises:
            DistailError: the folder holds foreign files, another run, or with `resume` a run under other settings.
        """
        if not is_taken(self.path):
            return
        if not self.recipe.exists():
            raise DistailError(f"{self.path} is not empty and holds no run. Choose another --out; nothing was touched.")
        changed = changed_settings(load_recipe(self.recipe), recipe)
        if not resume:
            raise DistailError(f"{self.path} holds {self._held(changed)} or choose another --out; nothing was touched.")
        if more_iterations and changed.keys() == {_ITERATIONS}:
            if not self.is_complete:
                return
            raise DistailError(
                f"The run in {self.path} is finished, and only an unfinished run can be given other iterations "
                f"({changed[_ITERATIONS]}). Choose another --out; it starts from the beginning there."
            )
        if changed:
            raise DistailError(
                f"{self.path} holds a run with other settings: "
                f"{', '.join(f'{name} ({values})' for name, values in changed.items())}. Resume with the same settings "
                f"(`distail run {self.path}/recipe.yaml --out {self.path} --resume`), or choose another --out."
            )

    def _held(self, changed: Mapping[str, str]) -> str:
        """What is there where a new run was to be, and how to go on with it."""
        if changed and self.is_complete:
            return "another run, and it is finished. Use it as it is,"
        if changed:
            return f"another run. Go on with that one by `distail run {self.recipe} --out {self.path} --resume`,"
        if self.is_complete:
            return "this same run, and it is finished. Pass --resume to use it as it is,"
        return "this same run, and it is not finished. Pass --resume to go on with it,"

    def begin(self, recipe: Recipe, data_sha256: str, *, resume: bool, more_iterations: bool = False) -> None:
        """Claims the folder for this recipe on these data, or takes up the run in it.

        Raises:
            DistailError: as `require_usable`, or the run in the folder was begun on other data, or no folder can be
                made there.
        """
        self.require_usable(recipe, resume=resume, more_iterations=more_iterations)
        if self.manifest.exists():
            if read_json(self.manifest).get("data_sha256", data_sha256) != data_sha256:
                raise DistailError(
                    f"{self.path} holds a run on other images: the data have changed since it began. Restore them, or "
                    "choose another --out."
                )
            there = load_recipe(self.recipe)
            if there.settings != recipe.settings:
                write_text(self.recipe, there.model_copy(update={"settings": recipe.settings}).to_yaml())
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DistailError(
                f"The folder {self.path} cannot be made ({error.strerror}). Choose another --out."
            ) from None
        write_text(self.recipe, recipe.to_yaml())
        self.write_manifest({"status": "running", "data_sha256": data_sha256})

    def keep_start(self, pixels: UInt8[Tensor, "n c h w"]) -> None:
        """Keeps the images that the run begins with; those of its very beginning, if that was before."""
        if not self.start.exists():
            write_tensors(self.start, TensorFile(_START, {"pixels": pixels}, {}))

    def read_start(self) -> UInt8[Tensor, "n c h w"] | None:
        """The images that the run began with; None where it kept none.

        Raises:
            DistailError: the file is damaged or of another kind.
        """
        return read_tensors(self.start, _START).tensors["pixels"] if self.start.exists() else None

    def write_manifest(self, values: dict[str, Any]) -> None:
        """Replaces the manifest."""
        write_json(self.manifest, values)


def unused_path(path: Path) -> Path:
    """`path`, or 'name-2.ext', 'name-3.ext' and so on where files of that name are there; nothing is overwritten."""
    candidate, number = path, 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return candidate


class MetricsLog:
    """Figures of a run, one JSON object a line; steps repeated after a resume replace what a killed run wrote."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last_step: int | None = None

    def __call__(self, step: int, **figures: float) -> None:
        """Appends the figures of one step; null for one that is not finite, which JSON has no word for."""
        if self._last_step is None:
            self._forget_from(step)
        self._last_step = step
        known = {name: figure if math.isfinite(figure) else None for name, figure in figures.items()}
        with self._path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"step": step, **known}) + "\n")

    def _forget_from(self, step: int) -> None:
        """Drops lines of this step and later ones, and a last line that a kill cut short."""
        if not self._path.exists():
            return
        kept = []
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] < step:
                    kept.append(line)
            except json.JSONDecodeError:
                break
        write_text(self._path, "".join(line + "\n" for line in kept))
