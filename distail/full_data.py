"""Baselines from the outside: opens training and test data, trains on all of it, scores."""

from __future__ import annotations

from pathlib import Path

from distail.choices import DeviceName, PrecisionName
from distail.data.image_set import ImageSet
from distail.errors import DistailError
from distail.evaluation.baseline import BaselineResult, BaselineScoring, evaluate_baseline
from distail.evaluation.recipe import BaselineRecipe
from distail.learn.kept import KeptNetworks
from distail.progress import Progress, SilentProgress
from distail.recipe import DataRecipe
from distail.runtime import resolve_runtime
from distail.scoring import open_test_images
from distail.training_images import TrainingImages, load_training_images, training_images


def run_baseline(
    data: DataRecipe,
    recipe: BaselineRecipe | None = None,
    *,
    images: ImageSet | None = None,
    training: TrainingImages | None = None,
    test: str | Path | ImageSet | None = None,
    device: DeviceName = "auto",
    precision: PrecisionName = "auto",
    progress: Progress | None = None,
    networks: str | Path | None = None,
) -> BaselineResult:
    """Trains networks on all the long-tailed images, and scores them.

    Args:
        data: the training images.
        recipe: which baseline, and how.
        images: what `data` names, where it is in memory.
        training: what methods may see of it, where that has been read already.
        test: held-out images; the test split of the source, or what `data` sets aside of it, when omitted.
        networks: folder in which trained networks are kept, also the plain ones that many baselines begin with; those
            that are there are not trained again.

    Raises:
        DistailError: bad input of any kind; the message says what to do.
    """
    recipe, progress = recipe or BaselineRecipe(), progress or SilentProgress()
    if images is None:
        training = training or load_training_images(data, progress)
    else:
        training = training_images(images, imbalance=data.imbalance, holdout=data.holdout)
        if test is None:
            raise DistailError("The training images are in memory. Pass held-out images as test=... to score on.")
    if not isinstance(test, ImageSet):
        test = open_test_images(data, test, training.images, training.source_hash, progress)
    return evaluate_baseline(
        BaselineScoring(
            train=training.images,
            test=test,
            recipe=recipe,
            source_hash=training.source_hash,
            runtime=resolve_runtime(device, precision),
            progress=progress,
            kept=KeptNetworks(Path(networks)) if networks else None,
        )
    )
