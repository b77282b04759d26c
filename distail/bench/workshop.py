"""Runs one cell: makes its set or takes the one that another cell made, scores it, and says what came of it."""

from __future__ import annotations

import errno
import platform
import shutil
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from distail import devices as several
from distail import pipeline, scoring
from distail.artifact import read_json, write_json, write_text
from distail.bench.jobs import Job
from distail.bench.result import CellRun, failure_of, student_lines, unscored
from distail.bench.store import Store
from distail.claims import Claimed, Claims
from distail.data.image_set import ImageSet
from distail.distilled import DistilledSet, load_distilled
from distail.errors import DistailError
from distail.evaluation.apart import require_held_out
from distail.evaluation.result import Evaluation
from distail.experts.bank import ExpertBank
from distail.full_data import run_baseline
from distail.peers import PeerKilledError
from distail.progress import KeptWarnings, Progress
from distail.provenance import environment, making_seconds
from distail.recipe import DataRecipe, Recipe, load_recipe
from distail.recipe_changes import changed_settings
from distail.run_folder import RunFolder
from distail.runtime import resolve_runtime
from distail.training_images import TrainingImages, load_training_images

_KEPT_IN_MEMORY = 2
"""Training and test splits kept for the next cell, which mostly has the same."""

_FOLDER_ERRORS = {
    getattr(errno, name)
    for name in ("EACCES", "EDQUOT", "EFBIG", "EIO", "ENOSPC", "EPERM", "EROFS", "ESTALE")
    if hasattr(errno, name)
}
_SOURCE = "data.source"

T = TypeVar("T")


class Workshop:
    """Does cells of one grid, one after the other, in one process.

    Args:
        store: where sets, experts and networks go.
        claims: on work that cells share; where others hold it, `Claimed` is raised and nothing is lost.
        devices: that share the making of a set, where its method can.
    """

    def __init__(self, store: Store, claims: Claims, devices: int = 1) -> None:
        self._store, self._claims, self._devices = store, claims, devices
        self._splits: OrderedDict[Hashable, Any] = OrderedDict()

    def run(self, job: Job, progress: Progress) -> CellRun:
        """What came of a cell, also where it failed.

        Raises:
            Claimed: another process works on something that this cell needs.
            OSError: the folder cannot be written to; nothing is recorded.
        """
        cell = job.place.cell
        progress = KeptWarnings(progress)
        runtime = resolve_runtime(cell.recipe.device, cell.recipe.precision)
        runtime.reset_peak_memory()
        begun = time.perf_counter()
        evaluation, distilled, error, trace = None, None, None, ""
        try:
            if job.set_key is None:
                evaluation = self._baseline(job, progress)
            else:
                self._require_held_out(job, progress)
                distilled = self._set(job, job.set_key, progress)
                evaluation = self._score(job, job.set_key, distilled, progress)
        except Claimed:
            raise
        except (Exception, SystemExit) as caught:  # whatever a method from outside may raise, the other cells go on
            if self._is_about_the_folder(caught):
                raise
            error, trace = failure_of(caught)
        facts = environment(runtime) if distilled is None else distilled.provenance
        result = replace(
            unscored(job.place, job.key, job.set_key),
            status="done" if error is None else "failed",
            distill_seconds=making_seconds(facts),
            peak_memory_bytes=facts.get("peak_memory_bytes"),
            seconds=time.perf_counter() - begun,
            error=error,
            warnings=tuple(progress.warnings),
        )
        if evaluation:
            result = replace(
                result,
                labels=evaluation.students[0].labels,
                students=student_lines(evaluation),
                stored_bytes=evaluation.stored.total,
            )
        recipe = {"recipe": cell.recipe.model_dump(mode="json")}
        if cell.baseline:
            recipe["baseline"] = cell.baseline.model_dump(mode="json")
        return CellRun(result, recipe, evaluation, trace, {"host": platform.node(), **environment(runtime)})

    def _set(self, job: Job, key: str, progress: Progress) -> DistilledSet:
        """The set of a cell, from its run folder if another cell made it."""
        folder, failure = self._store.sets / key, self._store.set_failure(key)
        if RunFolder(folder).is_complete:
            return load_distilled(folder)
        if failure.exists():
            raise DistailError(str(read_json(failure)["error"]))
        with self._claims.hold(f"set-{key}"):
            if RunFolder(folder).is_complete:
                return load_distilled(folder)  # by another worker, between the look above and the claim
            _take_up(RunFolder(folder), job.place.cell.recipe)
            try:
                return self._make(job, folder, progress)
            except Claimed:
                raise
            except (Exception, SystemExit) as error:
                if not (isinstance(error, PeerKilledError) or self._is_about_the_folder(error)):
                    write_json(failure, {"error": failure_of(error)[0]})
                raise

    def _make(self, job: Job, folder: Path, progress: Progress) -> DistilledSet:
        recipe, training = job.place.cell.recipe, self._training(job, progress)
        if self._devices > 1 and several.can_share(recipe, self._devices):
            # Each process reads the images: handing them over takes memory that processes share, often little.
            return several.distill(
                recipe, devices=self._devices, out=folder, resume=True, experts=self._store.experts, progress=progress
            )
        return pipeline.distill(
            recipe,
            out=folder,
            resume=True,
            training=training,
            experts=ExpertBank(self._store.experts, wait=False),
            progress=progress,
        )

    def _score(self, job: Job, key: str, distilled: DistilledSet, progress: Progress) -> Evaluation:
        recipe = job.place.cell.recipe
        return scoring.score(
            distilled,
            scoring.with_teacher(job.place.cell.evaluation, self._store.sets / key),
            test=self._test(job, progress),
            training=self._training(job, progress).images,
            device=recipe.device,
            precision=recipe.precision,
            progress=progress,
            networks=self._store.networks,
        )

    def _baseline(self, job: Job, progress: Progress) -> Evaluation:
        recipe, baseline = job.place.cell.recipe, job.place.cell.baseline
        training = self._training(job, progress)
        return run_baseline(
            recipe.data,
            baseline,
            training=training,
            test=self._test(job, progress),
            device=recipe.device,
            precision=recipe.precision,
            progress=progress,
            networks=self._store.networks,
        ).evaluation

    def _require_held_out(self, job: Job, progress: Progress) -> None:
        """Refuses test images that a set could not be scored on before hours go into making it."""
        training = self._training(job, progress)
        require_held_out(self._test(job, progress), training.images, training.source_hash, "the set is made from")

    def _training(self, job: Job, progress: Progress) -> TrainingImages:
        data = job.place.cell.recipe.data
        training = self._remembered(("train", _named(data)), lambda: load_training_images(data, progress))
        _require_unchanged(data.source, training.source_hash, job.source_hash)
        return training

    def _test(self, job: Job, progress: Progress) -> ImageSet:
        recipe = job.place.cell.recipe
        training = self._training(job, progress)

        def read() -> ImageSet:
            return scoring.open_test_images(recipe.data, recipe.test, training.images, training.source_hash, progress)

        # The long tail has no part in which images are for testing.
        data = recipe.data.model_copy(update={"imbalance": None})
        test = self._remembered(("test", recipe.test, _named(data)), read)
        if job.test_hash is not None:
            _require_unchanged(recipe.test or data.source, test.content_hash, job.test_hash)
        return test

    def _is_about_the_folder(self, error: BaseException) -> bool:
        """Whether the disk is full or may not be written to, for which no cell can help."""
        if not isinstance(error, OSError) or error.errno not in _FOLDER_ERRORS:
            return False
        return error.filename is None or Path(error.filename).absolute().is_relative_to(self._store.path.absolute())

    def _remembered(self, key: Hashable, read: Callable[[], T]) -> T:
        if key not in self._splits:
            self._splits[key] = read()
            while len(self._splits) > 2 * _KEPT_IN_MEMORY:
                self._splits.popitem(last=False)
        self._splits.move_to_end(key)
        return self._splits[key]


def _named(data: DataRecipe) -> str:
    return data.model_dump_json()


def _require_unchanged(source: str, there: str | None, expected: str) -> None:
    if there != expected:
        raise DistailError(
            f"{source} has changed since the grid was started. Start it again; cells are then named for the new "
            "images, and finished ones of the old stay."
        )


def _take_up(folder: RunFolder, recipe: Recipe) -> None:
    """Makes a set that a killed process began one that this process can go on with: the key says that it is the same.

    Data that have moved are what they were. What was begun on other hardware, or was killed before it could say what
    it was, begins anew, so that no set is made half here and half there.
    """
    if folder.is_complete or not folder.path.exists():
        return
    changed = (
        changed_settings(load_recipe(folder.recipe), pipeline.resolved(recipe)) if folder.recipe.exists() else None
    )
    if changed is None or changed.keys() - {_SOURCE}:
        shutil.rmtree(folder.path)
    elif changed:
        write_text(folder.recipe, pipeline.resolved(recipe).to_yaml())
