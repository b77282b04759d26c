"""Scoring from the outside: opens test data, training data and teachers, then runs the protocol."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from distail.choices import DeviceName, PrecisionName
from distail.data.image_set import IN_MEMORY, ImageSet
from distail.data.sources import SourceContents, load, read_source, read_test_source
from distail.distilled import DistilledSet
from distail.errors import DistailError
from distail.evaluation.protocol import Scoring, evaluate
from distail.evaluation.recipe import EvaluationRecipe
from distail.evaluation.result import Evaluation
from distail.groups.grouping import Grouping, load_grouping
from distail.learn.kept import KeptNetworks
from distail.models.saved import load_network
from distail.opening import teacher_file
from distail.progress import Progress, SilentProgress
from distail.recipe import DataRecipe
from distail.runtime import resolve_runtime
from distail.training_images import held_out_images, training_images, training_images_of


@dataclass(frozen=True)
class TrainingSource:
    """Training data that the user names, where the set does not know its own.

    Attributes:
        source: as for distilling; None to read it from the set's provenance.
        imbalance: the long tail given to it.
    """

    source: str | None = None
    imbalance: float | None = None

    def __post_init__(self) -> None:
        if self.imbalance is not None and self.source is None:
            raise DistailError(
                "--imbalance is the long tail of the images that --train names. Name them, or leave it out: the set "
                "knows how its own source was made long-tailed."
            )

    def images(self, distilled: DistilledSet, progress: Progress) -> ImageSet:
        """The long-tailed training images."""
        if self.source is None:
            return training_images_of(distilled, progress).images
        size = (distilled.image_shape[1], distilled.image_shape[2])
        return training_images(load(self.source, image_size=size, progress=progress), imbalance=self.imbalance).images


def with_teacher(recipe: EvaluationRecipe, target: DistilledSet | str | Path) -> EvaluationRecipe:
    """The recipe, naming the teacher of the set's own run where it asks a teacher and names none.

    Raises:
        DistailError: the run has none.
    """
    found = teacher_file(target, recipe.labels, recipe.teacher)
    return recipe if found is None else recipe.model_copy(update={"teacher": str(found)})


def score(
    distilled: DistilledSet,
    recipe: EvaluationRecipe | None = None,
    *,
    test: str | Path | ImageSet | None = None,
    training: TrainingSource | ImageSet | None = None,
    grouping: Grouping | None = None,
    device: DeviceName = "auto",
    precision: PrecisionName = "auto",
    progress: Progress | None = None,
    networks: str | Path | None = None,
) -> Evaluation:
    """Scores a distilled set.

    Args:
        test: held-out images; the test split of the set's own source when omitted.
        training: the long-tailed data; read from the set's own source when omitted, and only where needed.
        grouping: which two stages go by; that of the recipe's file, or else one found, when omitted.
        networks: folder in which trained networks are kept; those that are there are not trained again.

    Raises:
        DistailError: bad input of any kind; the message says what to do.
    """
    recipe, progress = recipe or EvaluationRecipe(), progress or SilentProgress()
    stages = recipe.two_stage
    if grouping is not None and stages is None:
        raise DistailError("A grouping is for two stages, which are not asked for. Pass two_stage=True as well.")
    if grouping is None and stages and stages.grouping:
        grouping = load_grouping(stages.grouping)
    train = None
    in_stages = stages is not None and (grouping is None or stages.needs_images)
    if isinstance(training, ImageSet):
        train = training
    elif recipe.references or recipe.select == "validation" or in_stages or (training and training.source):
        train = (training or TrainingSource()).images(distilled, progress)
    return evaluate(
        Scoring(
            distilled=distilled,
            test=test if isinstance(test, ImageSet) else _test_images(distilled, test, progress),
            recipe=recipe,
            train=train,
            teacher=load_network(Path(recipe.teacher)) if recipe.teacher else None,
            grouping=grouping,
            runtime=resolve_runtime(device, precision),
            progress=progress,
            kept=KeptNetworks(Path(networks)) if networks else None,
        )
    )


def _test_images(distilled: DistilledSet, test: str | Path | None, progress: Progress) -> ImageSet:
    """Held-out images: of the source named, or of the set's own source, whose training images never count as such."""
    recipe = distilled.provenance.get("recipe", {})
    own = DataRecipe(**recipe["data"]) if "data" in recipe else None
    return open_test_images(
        own, test or recipe.get("test"), distilled, distilled.provenance.get("source_sha256"), progress
    )


def open_test_images(
    own: DataRecipe | None,
    test: str | Path | None,
    like: DistilledSet | ImageSet,
    source_hash: str | None,
    progress: Progress,
) -> ImageSet:
    """Held-out images: of the source named, or the part of the training data's own source that is for testing.

    Args:
        own: where the training data came from; None where that is not known.
        test: the source named, if any.
        like: whose classes and size of images the test images must have.
        source_hash: content hash of the source when images of it were set aside, where known.

    Raises:
        DistailError: there are none to be found, or they are of another kind.
    """
    size = (like.image_shape[1], like.image_shape[2])
    if own is not None and test is None and own.source == IN_MEMORY:
        raise DistailError("The set was made from images in memory. Pass held-out images as test=... to score it.")
    if own is not None and str(test or own.source) == own.source:
        if own.holdout is not None:
            return held_out_images(own, size, source_hash, progress)
        contents = read_source(own.source, "test", image_size=size, strict=own.strict, progress=progress)
    elif test is not None:
        contents = read_test_source(test, class_names=like.class_names, image_size=size, progress=progress)
    else:
        raise DistailError(
            "The set does not say where its data came from. Name held-out images with --test SOURCE; or, if these are "
            "the images of a run, exported, pass --like RUN, which also brings its preprocessing."
        )
    if own is None or own.image_size is None:
        require_size(contents, size)
    return contents.readable(progress)


def require_size(contents: SourceContents, size: tuple[int, int]) -> None:
    """Refuses test images that would have to be resized where the training images were not."""
    others = sorted(found for found in contents.sizes if found != size)
    if others:
        raise DistailError(
            f"{contents.images.origin}: there are test images of {others[0][0]}x{others[0][1]} pixels, but training "
            f"images of {size[0]}x{size[1]}, without resizing. Use test images of that size, or begin again with "
            f"--image-size {size[0]} (`image_size` in a recipe's `data`), so that all are resized alike. For an "
            "export of such a run, pass --like RUN."
        )
