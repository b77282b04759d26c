"""`Task`, what a baseline may see, and `Fitted`, what it returns; the two stages of training."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from distail.checkpoint import Checkpoint
from distail.choices import PreprocessingKind
from distail.data.holdout import hold_out, require_two_of_each
from distail.data.image_set import ImageSet
from distail.data.preprocess import Preprocessing, fit_preprocessing
from distail.learn.kept import KeptNetworks
from distail.learn.student import Classroom, train_student
from distail.models import build_network
from distail.models.saved import SavedNetwork
from distail.progress import Progress, SilentProgress
from distail.runtime import Runtime
from distail.seeding import derive_seed
from distail.training.loop import train_network
from distail.training.recipe import TrainRecipe
from distail.training.state import History
from distail.training.technique import PLAIN, Technique
from distail.training.validation import VALIDATION_FRACTION


@dataclass(frozen=True, eq=False)
class Task:
    """All that a baseline may see. There is no test set in it, so no baseline can select on one.

    Attributes:
        everything: all the long-tailed images.
        train: those that networks learn from; all of them unless some are held out.
        validation: those held out to choose settings by, or None.
        architecture: of the network, such as 'convnet3'.
        recipe: how the network is trained.
        seed: the source of all randomness.
        preprocessing_kind: fitted on `train`.
        given_preprocessing: taken as it is in the place of a fitted one.
        checkpoint: where the first stage leaves its state between epochs; nowhere when None.
        kept: where plainly trained networks are kept and taken from, so that baselines that begin with one share it.
            Whole baselines are kept by `_fitting.fit`.
    """

    everything: ImageSet
    train: ImageSet
    validation: ImageSet | None
    architecture: str
    recipe: TrainRecipe
    seed: int = 0
    preprocessing_kind: PreprocessingKind = "normalize"
    runtime: Runtime = field(default_factory=Runtime)
    progress: Progress = field(default_factory=SilentProgress)
    kept: KeptNetworks | None = None
    given_preprocessing: Preprocessing | None = None
    checkpoint: Checkpoint | None = None

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """From raw images to what networks see."""
        return self.given_preprocessing or fit_preprocessing(self.train, self.preprocessing_kind)

    @cached_property
    def classroom(self) -> Classroom:
        """What networks learn from."""
        return Classroom.of_images(self.train, self.preprocessing, self.runtime)

    @property
    def held_out(self) -> ImageSet:
        """The validation images, for baselines that asked for them."""
        assert self.validation is not None, "the baseline does not say that it needs validation images"
        return self.validation

    @property
    def on_everything(self) -> Task:
        """The same task with the validation images among those to learn from."""
        return replace(self, train=self.everything, validation=None)


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a baseline makes.

    Attributes:
        saved: the network and what it takes to use it.
        history: how training went, both stages one after the other.
        num_images: images that it learned from.
        chosen: settings that were chosen on validation images, by name.
        reused_seconds: that networks took to train which were taken from the kept ones.
        second_stage: how the classifier was trained afterwards, as JSON values; None where it was not.
        seconds: that training took in all, now or when networks were kept; `_fitting.fit` measures it.
    """

    saved: SavedNetwork
    history: History
    num_images: int
    chosen: dict[str, float] = field(default_factory=dict)
    reused_seconds: float = 0.0
    second_stage: dict[str, Any] | None = None
    seconds: float = 0.0


def with_validation(task: Task) -> Task:
    """The task with a tenth of each class held out, at least one image of it.

    Raises:
        DistailError: a class has a single image, so that nothing could be said about it.
    """
    everything = task.everything
    require_two_of_each(everything, "to choose a setting by", "give the setting yourself, such as --set tau=1")
    split = hold_out(everything, VALIDATION_FRACTION, task.seed, "validation")
    return replace(task, train=everything.subset(split.rest), validation=everything.subset(split.held_out))


def require_linear_classifier(task: Task, who: str) -> None:
    """Refuses, before training, a network whose classifier is no plain linear layer; `who` begins the message.

    Raises:
        DistailError: it is of another kind, such as that of `convnet3-cosine`.
    """
    shape = task.train.image_shape
    build_network(task.architecture, shape, task.train.num_classes, task.seed).require_linear_classifier(who)


def train_whole(task: Task, technique: Technique = PLAIN, architecture: str | None = None) -> Fitted:
    """A new network, trained from end to end.

    Without a technique it is the very network that `distail evaluate --reference full` trains by the same recipe.
    """
    student = train_student(
        task.classroom,
        architecture or task.architecture,
        task.recipe,
        task.seed,
        task.runtime,
        progress=task.progress,
        technique=technique,
        kept=task.kept,
        checkpoint=task.checkpoint,
    )
    reused = student.seconds if student.reused else 0.0
    return Fitted(student.saved, student.history, len(task.train), reused_seconds=reused)


def train_classifier(task: Task, fitted: Fitted, recipe: TrainRecipe, technique: Technique) -> Fitted:
    """The second stage: trains the classifier of a network in place, as it stands, on a frozen backbone.

    Args:
        fitted: the first stage.
        recipe: of the second stage.
        technique: of the second stage, which holds the backbone still whatever it says.
    """
    history = train_network(
        fitted.saved.network,
        task.classroom.data,
        recipe,
        seed=derive_seed(task.seed, "second stage"),
        runtime=task.runtime,
        progress=task.progress,
        technique=replace(technique, classifier_only=True),
        title=f"training the classifier, seed {task.seed}",
    )
    losses = [*fitted.history.losses, *history.losses]
    draws = "each class equally often" if technique.batches else "all images"
    return replace(
        fitted,
        history=replace(fitted.history, losses=losses),
        second_stage={"draws": draws, **recipe.model_dump(mode="json")},
    )
