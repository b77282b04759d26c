"""The whole story, from an imbalanced source to a scored set. Read this file first.

source ─ long tail ─▶ ImageSet ─ method ─▶ DistilledSet ─ students ─▶ Evaluation
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from distail.data.holdout import hold_out
from distail.data.image_set import ImageSet
from distail.data.long_tail import make_long_tailed
from distail.data.preprocess import fit_preprocessing
from distail.data.sources import load, read_source, source_splits
from distail.distilled import DistilledSet, load_distilled
from distail.errors import DistailError
from distail.estimate import require_memory
from distail.methods._registry import build_method
from distail.models.architecture import check_architecture
from distail.problem import Checkpoint, NoCheckpoint, Problem, Synthetic
from distail.progress import Progress, SilentProgress
from distail.provenance import environment, indices_hash
from distail.recipe import DataRecipe, Recipe
from distail.report.picture import image_grid
from distail.run_folder import FileCheckpoint, MetricsLog, RunFolder
from distail.runtime import resolve_runtime

HOLDOUT_SEED = 0
"""The held-out test images do not depend on the run's seed, so that all runs on a source are tested alike."""


@dataclass(frozen=True, eq=False)
class TrainingImages:
    """The images to distil, and which of the source's images they are.

    Attributes:
        images: long-tailed, as the method will see them.
        kept: their positions in the source, or None where all were kept.
        source_hash: content hash of the whole source, which a test set must not have.
    """

    images: ImageSet
    kept: Int64[Tensor, " n"] | None = None
    source_hash: str | None = None


def load_training_images(data: DataRecipe, progress: Progress | None = None) -> TrainingImages:
    """Reads the source's training split, sets test images aside if asked to, and makes it long-tailed if asked to.

    Raises:
        DistailError: the source cannot be read, or a class would be empty.
    """
    contents = read_source(data.source, "train", image_size=data.image_size, strict=data.strict, progress=progress)
    for unreadable in contents.unreadable:
        (progress or SilentProgress()).say(f"left out, unreadable: {unreadable.where} ({unreadable.reason})")
    return training_images(contents.images, imbalance=data.imbalance, holdout=data.holdout)


def training_images(
    source: ImageSet, *, imbalance: float | None = None, holdout: float | None = None
) -> TrainingImages:
    """The part of a source that methods may see: without the held-out images, with the long tail asked for."""
    source.require_no_empty_class()
    kept = None
    if holdout is not None:
        if 1 in source.class_counts:
            single = source.class_names[source.class_counts.index(1)]
            raise DistailError(
                f"{source.origin}: class '{single}' has a single image, so none of it can be held out for testing. Add "
                "images of it, or leave out --holdout and name test images with --test when evaluating."
            )
        kept = hold_out(source, holdout, HOLDOUT_SEED, "test").rest
    images = source if kept is None else source.subset(kept)
    if imbalance is not None:
        tail = make_long_tailed(images, imbalance)
        images, kept = tail.images, tail.indices if kept is None else kept[tail.indices]
    return TrainingImages(images, kept, source.content_hash)


def held_out_images(data: DataRecipe, image_size: tuple[int, int], source_hash: str | None = None) -> ImageSet:
    """The test images of a source that were set aside when distilling.

    Args:
        data: the source, and the fraction set aside.
        image_size: (height, width).
        source_hash: content hash of the source when it was split, where known.

    Raises:
        DistailError: nothing was set aside, or the source has changed since.
    """
    if data.holdout is None:
        raise DistailError(f"No image of {data.source} was set aside. Distil with --holdout, or name a test source.")
    source = load(data.source, image_size=image_size)
    if source_hash not in (None, source.content_hash):
        raise DistailError(
            f"{data.source} has changed since the set was made from it, so images set aside now may be among those "
            "that the set was made from. Name other held-out images with --test."
        )
    return source.subset(hold_out(source, data.holdout, HOLDOUT_SEED, "test").held_out)


def distill(
    recipe: Recipe,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    training: TrainingImages | None = None,
    progress: Progress | None = None,
) -> DistilledSet:
    """Makes a distilled set by a recipe, in a run folder if `out` is given.

    What is returned has been written and read back, so that what is scored later is what was saved.

    Args:
        recipe: all that decides the result.
        out: folder for the run; must be new or empty, unless resuming.
        resume: go on with the killed run in `out`; a finished one is returned as it is.
        training: images already loaded; read from the recipe's source when omitted.

    Raises:
        DistailError: bad input of any kind; the message says what to do.
    """
    progress = progress or SilentProgress()
    method = build_method(recipe.method, recipe.settings)
    check_architecture(recipe.architecture)
    recipe = resolved(recipe)
    folder = RunFolder(out) if out is not None else None
    if folder:
        folder.require_usable(recipe, resume=resume)
        if folder.is_complete and training is None:
            return load_distilled(folder.path)
    in_memory = training is not None
    training = training or load_training_images(recipe.data, progress)
    checkpoint = FileCheckpoint(folder) if folder else NoCheckpoint()
    problem = _problem(recipe, training, progress, checkpoint, MetricsLog(folder.metrics) if folder else None)
    require_memory(problem, method)
    if folder:
        # Bad data or too large a request should not leave a half-made folder behind, so it is claimed only now.
        folder.begin(recipe, training.images.content_hash, resume=resume)
        if folder.is_complete:
            return load_distilled(folder.path)
        if resume:
            progress.say(
                "Going on from the last checkpoint."
                if folder.checkpoint.exists()
                else "Nothing kept yet: starting anew."
            )
    if not in_memory:
        _warn_without_test_images(recipe, progress)
    problem.runtime.reset_peak_memory()
    begun = time.perf_counter()
    synthetic = method.distill(problem)
    seconds = checkpoint.seconds if isinstance(checkpoint, FileCheckpoint) else time.perf_counter() - begun
    provenance = _provenance(recipe, training, problem, synthetic, seconds)
    distilled = _assemble(problem, synthetic, provenance)
    if not folder:
        return distilled
    distilled.save(folder.distilled)
    image_grid(distilled, folder.picture)
    folder.write_manifest({"status": "complete", **provenance, "data": _data_manifest(recipe, training)})
    if isinstance(checkpoint, FileCheckpoint):
        checkpoint.clear()
    return load_distilled(folder.path)


def resolved(recipe: Recipe) -> Recipe:
    """The recipe with 'auto' replaced by what this machine makes of it, so that the text reproduces the run."""
    runtime = resolve_runtime(recipe.device, recipe.precision)
    return recipe.model_copy(update={"device": runtime.device, "precision": runtime.precision})


def training_images_of(distilled: DistilledSet, progress: Progress | None = None) -> TrainingImages:
    """The images that a set was made from, read again from the source that its provenance names.

    Raises:
        DistailError: the source is gone or has changed since.
    """
    try:
        data = DataRecipe(**distilled.provenance["recipe"]["data"])
        expected = distilled.provenance["data_sha256"]
    except KeyError:
        raise DistailError(
            "The set does not say which data it was made from. Name them with --train SOURCE and --imbalance."
        ) from None
    training = load_training_images(data, progress)
    if training.images.content_hash != expected:
        raise DistailError(
            f"{data.source} has changed since the set was made from it: its content hash differs. "
            "Name the original data with --train SOURCE."
        )
    return training


def _warn_without_test_images(recipe: Recipe, progress: Progress) -> None:
    """Says before hours of work that nothing is set aside to score them on."""
    if recipe.test is None and recipe.data.holdout is None and "test" not in source_splits(recipe.data.source):
        progress.say(
            f"{recipe.data.source} has no test split: nothing is set aside to score the set on. Start again with "
            "--holdout 0.2, or name other images with --test when evaluating."
        )


def _problem(
    recipe: Recipe,
    training: TrainingImages,
    progress: Progress,
    checkpoint: Checkpoint,
    log: Callable[..., None] | None,
) -> Problem:
    problem = Problem(
        train=training.images,
        preprocessing=fit_preprocessing(training.images, recipe.preprocessing),
        images_per_class=recipe.images_per_class,
        architecture=recipe.architecture,
        seed=recipe.seed,
        runtime=resolve_runtime(recipe.device, recipe.precision),
        progress=progress,
        checkpoint=checkpoint,
    )
    return problem if log is None else problem.logging_to(log)


def _assemble(problem: Problem, synthetic: Synthetic, provenance: dict[str, Any]) -> DistilledSet:
    if not bool(torch.isfinite(synthetic.images).all()):
        raise DistailError(
            "The synthetic images became NaN or infinite. Lower the method's learning rate, for example "
            "--set image_lr=0.1."
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
    )


def _provenance(
    recipe: Recipe, training: TrainingImages, problem: Problem, synthetic: Synthetic, seconds: float
) -> dict[str, Any]:
    real = synthetic.real_indices
    return {
        "recipe": recipe.model_dump(mode="json"),
        "data_sha256": training.images.content_hash,
        "source_sha256": training.source_hash,
        "class_counts": list(training.images.class_counts),
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
