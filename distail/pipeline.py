"""The whole story, from an imbalanced source to a scored set. Read this file first.

source ─ long tail ─▶ ImageSet ─ method ─▶ DistilledSet ─ students ─▶ Evaluation
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distail.checkpoint import Checkpoint, FileCheckpoint, NoCheckpoint
from distail.data.preprocess import fit_preprocessing
from distail.distilled import DistilledSet, as_pixels, load_distilled
from distail.errors import DistailError
from distail.estimate import require_memory
from distail.experts.bank import ExpertBank
from distail.methods._method import Method
from distail.methods._registry import build_method
from distail.models.architecture import check_architecture
from distail.models.saved import save_network
from distail.peers import ALONE, Peers
from distail.problem import Problem, Synthetic
from distail.progress import Progress, SilentProgress
from distail.provenance import environment, indices_hash
from distail.recipe import Recipe
from distail.report.names import one_line
from distail.report.picture import image_grid
from distail.run_folder import MetricsLog, RunFolder
from distail.runtime import resolve_runtime
from distail.scorable import has_test_images, require_scorable
from distail.training_images import TrainingImages, load_training_images

_NAMED = 5
"""Classes named in full before the rest is counted."""


def distill(
    recipe: Recipe,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    training: TrainingImages | None = None,
    experts: ExpertBank | str | Path | None = None,
    progress: Progress | None = None,
    peers: Peers = ALONE,
) -> DistilledSet:
    """Makes a distilled set by a recipe, in a run folder if `out` is given.

    Where `out` is given, the set is written and read back, so that what is scored later is what was saved.

    Args:
        recipe: all that decides the result.
        out: folder for the run; must be new or empty, unless resuming.
        resume: go on with the killed run in `out`; a finished one is returned as it is.
        training: images already loaded; read from the recipe's source when omitted.
        experts: bank, or its folder, in which methods find experts and keep those that they train; `experts` here
            when omitted, or a temporary one where there is no `out` either.
        peers: processes that share the work; the first one calls this, and the others `assist`.

    Raises:
        DistailError: bad input of any kind; the message says what to do.
    """
    progress = progress or SilentProgress()
    method = require_sound(recipe)
    recipe = resolved(recipe)
    folder = RunFolder(out) if out is not None else None
    if folder:
        flexible = method.iterations_stand_alone
        folder.require_usable(recipe, resume=resume, more_iterations=flexible)
        if folder.is_complete and training is None:
            return load_distilled(folder.path)
    in_memory = training is not None
    training = training or load_training_images(recipe.data, progress)
    limit = getattr(method, "iterations", None)
    checkpoint = FileCheckpoint(folder.checkpoint, max_iterations=limit) if folder else NoCheckpoint()
    bank = _opened(experts, folder)
    problem = pose(recipe, training, progress=progress, checkpoint=checkpoint, experts=bank, peers=peers)
    if folder:
        problem = _written_to(folder, recipe, training, problem)
    require_memory(problem, method)
    if folder:
        # Bad data or too large a request should not leave a half-made folder behind, so it is claimed only now.
        folder.begin(recipe, training.images.content_hash, resume=resume, more_iterations=flexible)
        if folder.is_complete:
            return load_distilled(folder.path)
        if resume:
            progress.say(_going_on(folder, problem.experts))
    if not in_memory:
        _warn_without_test_images(recipe, progress)
    _warn_of_repeats(problem)
    problem.runtime.reset_peak_memory()
    begun, reused = time.perf_counter(), bank.reused_seconds if bank else 0.0
    synthetic = method.distill(problem)
    seconds = checkpoint.seconds if isinstance(checkpoint, FileCheckpoint) else time.perf_counter() - begun
    found = bank.reused_seconds - reused if bank else 0.0
    provenance = {**_provenance(recipe, training, problem, synthetic, seconds), "reused_seconds": found}
    distilled = _assemble(problem, synthetic, provenance)
    if not folder:
        return distilled
    if synthetic.teacher is not None:
        save_network(folder.teacher, synthetic.teacher)
    distilled.save(folder.distilled)
    image_grid(distilled, folder.picture)
    teacher = None if synthetic.teacher is None else folder.teacher.name
    data = _data_manifest(recipe, training)
    folder.write_manifest({"status": "complete", **provenance, "teacher": teacher, "data": data})
    if isinstance(checkpoint, FileCheckpoint):
        checkpoint.clear()
    return load_distilled(folder.path)


def require_sound(recipe: Recipe) -> Method:
    """The method of a recipe, which is refused for all that is wrong with it whatever its images are.

    Raises:
        DistailError: a name or a setting is wrong, or the set could not be scored as asked.
    """
    method = build_method(recipe.method, recipe.settings)
    check_architecture(recipe.architecture)
    require_scorable(recipe)
    return method


def _opened(experts: ExpertBank | str | Path | None, folder: RunFolder | None) -> ExpertBank | None:
    """The bank that is named, or the usual one where the run is kept; None for a temporary one."""
    if isinstance(experts, ExpertBank):
        return experts
    return None if experts is None and folder is None else ExpertBank(experts)


def assist(
    recipe: Recipe, peers: Peers, *, training: TrainingImages | None = None, experts: str | Path | None = None
) -> None:
    """What all but the first of several peers do while that distils: compute along. Writes and reports nothing.

    Args:
        recipe: as the first one's, with 'auto' replaced.
        peers: the processes that share the work.
        training: images already loaded; read from the recipe's source when omitted.
        experts: folder of the bank, the same for all.
    """
    problem = pose(recipe, training, experts=ExpertBank(experts), peers=peers)
    build_method(recipe.method, recipe.settings).distill(problem)


def resolved(recipe: Recipe) -> Recipe:
    """The recipe with 'auto' replaced by what this machine makes of it, so that the text reproduces the run."""
    runtime = resolve_runtime(recipe.device, recipe.precision)
    return recipe.model_copy(update={"device": runtime.device, "precision": runtime.precision})


def _going_on(folder: RunFolder, bank: ExpertBank | None) -> str:
    """What a resumed run begins with, as far as its files tell."""
    if folder.checkpoint.exists():
        return "Going on from the last checkpoint."
    if bank is None or not bank.path.is_dir() or not any(bank.path.iterdir()):
        return "Nothing kept yet: starting anew."
    return (
        "No images are kept of this run yet, so they start anew; networks that are trained for them go on from what "
        f"is kept of these in {bank.path}."
    )


def _warn_without_test_images(recipe: Recipe, progress: Progress) -> None:
    """Says before hours of work that nothing is set aside to score them on."""
    if not has_test_images(recipe):
        progress.warn(
            f"{recipe.data.source} has no test split: nothing is set aside to score the set on. Start again with "
            "--holdout 0.2, or name other images with --test when evaluating."
        )


def _warn_of_repeats(problem: Problem) -> None:
    """Says which classes have fewer images than are to be made of them."""
    counts, names = problem.train.class_counts, problem.train.class_names
    small = sorted((count, name) for count, name in zip(counts, names, strict=True) if count < problem.images_per_class)
    if small:
        named = ", ".join(f"{one_line(name)} ({count})" for count, name in small[:_NAMED])
        others = f" and {len(small) - _NAMED} more" if len(small) > _NAMED else ""
        problem.progress.warn(
            f"--ipc {problem.images_per_class} is more than these classes have images: {named}{others}. Methods that "
            "start from real images repeat them."
        )


def pose(
    recipe: Recipe,
    training: TrainingImages | None = None,
    *,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
    experts: ExpertBank | None = None,
    peers: Peers = ALONE,
) -> Problem:
    """The problem that a recipe poses to its method.

    Args:
        recipe: says which data, preprocessing, network and hardware.
        training: images already loaded; read from the recipe's source when omitted.
        progress: how to report; silent when omitted.
        checkpoint: where the method leaves its state; nowhere when omitted.
        experts: the bank; a temporary one when omitted.
        peers: processes that share the work.
    """
    training = training or load_training_images(recipe.data, progress)
    return Problem(
        train=training.images,
        preprocessing=fit_preprocessing(training.images, recipe.preprocessing),
        images_per_class=recipe.images_per_class,
        architecture=recipe.architecture,
        seed=recipe.seed,
        runtime=replace(resolve_runtime(recipe.device, recipe.precision), peers=peers),
        progress=progress or SilentProgress(),
        checkpoint=checkpoint or NoCheckpoint(),
        experts=experts,
    )


def _written_to(folder: RunFolder, recipe: Recipe, training: TrainingImages, problem: Problem) -> Problem:
    """The problem, with all that its method tells on the way going into the run folder."""
    snapshots = _snapshots_in(folder, recipe, training, problem)
    return problem.logging_to(MetricsLog(folder.metrics), snapshots, _start_in(folder, problem))


def _snapshots_in(
    folder: RunFolder, recipe: Recipe, training: TrainingImages, problem: Problem
) -> Callable[[int, Synthetic], None]:
    """Writes sets on the way into the run folder, whole enough to be scored like the last one."""

    def write(iteration: int, synthetic: Synthetic) -> None:
        provenance = {**_provenance(recipe, training, problem, synthetic, 0.0), "iteration": iteration}
        _assemble(problem, synthetic, provenance).save(folder.snapshot(iteration))

    return write


def _start_in(folder: RunFolder, problem: Problem) -> Callable[[Tensor], None]:
    """Keeps the images that a method begins with as pixels in the run folder, to be looked at."""

    def write(images: Tensor) -> None:
        folder.keep_start(as_pixels(images.detach().cpu(), problem.preprocessing))

    return write


def _assemble(problem: Problem, synthetic: Synthetic, provenance: dict[str, Any]) -> DistilledSet:
    if not bool(torch.isfinite(synthetic.images).all()):
        raise DistailError(
            "The synthetic images became NaN or infinite. Lower the method's step size, which `distail methods NAME` "
            "lists among its settings, with --set."
        )
    return DistilledSet(
        images=synthetic.images.float(),
        labels=synthetic.labels,
        class_names=problem.train.class_names,
        preprocessing=problem.preprocessing,
        soft_labels=synthetic.soft_labels,
        learning_rate=synthetic.learning_rate,
        provenance=provenance,
        training_fingerprints=problem.train.fingerprints.unique(),
        mosaic=synthetic.mosaic,
        training=synthetic.training,
        views=synthetic.views,
    )


def _provenance(
    recipe: Recipe, training: TrainingImages, problem: Problem, synthetic: Synthetic, seconds: float
) -> dict[str, Any]:
    real = synthetic.real_indices
    left_out = [{"where": one.where, "reason": one.reason} for one in training.unreadable]
    return {
        "recipe": recipe.model_dump(mode="json"),
        "data_sha256": training.images.content_hash,
        "source_sha256": training.source_hash,
        "class_counts": list(training.images.class_counts),
        **({"unreadable": left_out} if left_out else {}),
        "real_images": None if real is None else real.tolist(),
        "distill_seconds": seconds,
        **environment(problem.runtime),
    }


def _data_manifest(recipe: Recipe, training: TrainingImages) -> dict[str, Any]:
    kept = None if training.kept is None else training.kept.tolist()
    return {
        "source": recipe.data.source,
        "class_names": list(training.images.class_names),
        "class_counts": list(training.images.class_counts),
        "num_images": len(training.images),
        "sha256": training.images.content_hash,
        "kept_indices_sha256": None if kept is None else indices_hash(kept),
        "kept_indices": kept,
    }
