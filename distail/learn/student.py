"""One student: a fresh network trained on a distilled set, with all it needs to be used afterwards."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from distail.checkpoint import Checkpoint
from distail.data.image_set import ImageSet
from distail.data.preprocess import Preprocessing
from distail.distilled import DistilledSet
from distail.learn.kept import KeptNetworks, training_key
from distail.learn.labelled_views import ViewTrainingSet
from distail.learn.labels import labelled_training_set, own_training
from distail.models import build_network
from distail.models.saved import SavedNetwork
from distail.progress import Progress
from distail.runtime import Runtime
from distail.seeding import derive_seed
from distail.training.loop import Selection, train_network
from distail.training.recipe import LabelProtocol, TrainRecipe
from distail.training.state import History
from distail.training.technique import PLAIN, Technique
from distail.training.training_set import RealTrainingSet, TrainingSet


@dataclass(frozen=True, eq=False)
class Student:
    """A trained network and how its training went.

    Attributes:
        seconds: that training took, now or when the network was kept.
        reused: whether it was trained earlier and taken from the kept ones.
    """

    saved: SavedNetwork
    history: History
    seconds: float
    reused: bool = False


@dataclass(frozen=True, eq=False)
class Classroom:
    """What students learn from: training images with targets, and how test images reach the same space.

    Attributes:
        learning_rate: the step size that was learned with the images, or None.
        training: how students are to be trained where the user says nothing.
    """

    data: TrainingSet
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    learning_rate: float | None = None
    training: TrainRecipe = field(default_factory=TrainRecipe)

    @staticmethod
    def of_distilled(
        distilled: DistilledSet, labels: LabelProtocol, runtime: Runtime, teacher: SavedNetwork | None = None
    ) -> Classroom:
        """Lessons from a distilled set by a label protocol."""
        data = labelled_training_set(distilled, labels, runtime, teacher)
        training = own_training(distilled, labels)
        return Classroom(data, distilled.class_names, distilled.preprocessing, distilled.learning_rate, training)

    @staticmethod
    def of_images(images: ImageSet, preprocessing: Preprocessing, runtime: Runtime) -> Classroom:
        """Lessons from real images with their own labels."""
        data = RealTrainingSet(images, preprocessing, runtime.device)
        return Classroom(data, images.class_names, preprocessing)

    def in_effect(self, recipe: TrainRecipe) -> TrainRecipe:
        """A recipe as it is carried out here: a learned step size and labelled views replace parts of it."""
        if self.learning_rate is not None:
            recipe = recipe.at_rate(self.learning_rate)
        return self.data.recipe_for(recipe) if isinstance(self.data, ViewTrainingSet) else recipe


def train_student(
    classroom: Classroom,
    architecture: str,
    recipe: TrainRecipe,
    seed: int,
    runtime: Runtime,
    *,
    progress: Progress | None = None,
    selection: Selection | None = None,
    technique: Technique = PLAIN,
    title: str | None = None,
    provenance: dict[str, Any] | None = None,
    kept: KeptNetworks | None = None,
    checkpoint: Checkpoint | None = None,
) -> Student:
    """Trains a new network.

    A learning rate learned with the set replaces the recipe's, and labelled views its augmentation and mixing.

    Args:
        kept: where the network is taken from if it is there, and kept if not. A technique or a selection of one's own
            cannot be told from another, so with them every network is trained.
        checkpoint: where the state of a training that is not kept is left between epochs; nowhere when omitted.

    Raises:
        DistailError: the architecture is unknown, or training diverges.
    """
    recipe = classroom.in_effect(recipe)
    shape = classroom.data.image_shape
    plain = technique is PLAIN and selection is None
    key = training_key(classroom.data, architecture, recipe, seed, runtime) if kept and plain else None
    origin = {"recipe": recipe.model_dump(), "seed": seed, **(provenance or {})}
    title = title or f"training {architecture}, seed {seed}"
    with kept.find_or_claim(key, runtime, title, progress) if kept and key else nullcontext() as found:
        if found:
            saved, history, seconds = found
            names, preprocessing = classroom.class_names, classroom.preprocessing
            saved = replace(saved, class_names=names, preprocessing=preprocessing, provenance=origin)
            return Student(saved, history, seconds, reused=True)
        own = kept.checkpoint(key) if kept and key else None
        begun = time.perf_counter()
        network = build_network(architecture, shape, classroom.data.num_classes, derive_seed(seed, "student"))
        history = train_network(
            network,
            classroom.data,
            recipe,
            seed=derive_seed(seed, "student training"),
            runtime=runtime,
            progress=progress,
            selection=selection,
            technique=technique,
            title=title,
            checkpoint=own or checkpoint,
        )
        seconds = own.seconds if own else time.perf_counter() - begun
        saved = SavedNetwork(
            network=network,
            architecture=architecture,
            image_shape=shape,
            class_names=classroom.class_names,
            preprocessing=classroom.preprocessing,
            provenance=origin,
        )
        if kept and key:
            kept.keep(key, saved, history, seconds, runtime)
        return Student(saved, history, seconds)
