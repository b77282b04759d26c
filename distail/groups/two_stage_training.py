"""Training two stages: one network that decides for a group, and one a group that decides for a class in it.

In the paper the group stage learns from all the long-tailed images, as groups are learned almost as well from few
images of a class, and the class stages from the distilled images, which are balanced. Either may learn from the other
kind, as in the paper's tables. Students of a distilled set are trained by its label protocol, and so are stages on
distilled images; `stages.py` says what becomes of soft labels. A stage on all images learns their hard labels.

The method that made the set plays no part, nor does what it stores: mosaics are decoded, a learning rate learned with
the set is used for its stages.

Source: Zheng et al., ICMSSP 2024.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from distail.data.image_set import ImageSet, require_same_classes
from distail.distilled import DistilledSet
from distail.errors import DistailError
from distail.groups.finding import find_grouping, require_possible_groups
from distail.groups.grouping import Grouping
from distail.groups.settings import TwoStageRecipe
from distail.groups.stages import Stage, StageTraining, class_stages, group_stage
from distail.groups.two_stage import SavedTwoStage, TwoStage, require_several_groups
from distail.learn.kept import KeptNetworks
from distail.learn.labels import TeacherTrainingSet, labelled_training_set
from distail.learn.student import Classroom, Student, train_student
from distail.models.saved import SavedNetwork
from distail.progress import Progress, SilentProgress
from distail.runtime import Runtime
from distail.seeding import derive_seed
from distail.training.recipe import LabelProtocol, TrainRecipe
from distail.training.validation import selection_on


@dataclass(frozen=True, eq=False)
class TwoStageLessons:
    """Everything that two stages learn from.

    Attributes:
        distilled: the small set; its preprocessing stands before all networks.
        recipe: which stage learns from what.
        train: how stages on distilled images are trained.
        labels: what these learn.
        images: the long-tailed images; needed where the recipe says so.
        held_out: images by which epochs are chosen; the last ones are kept when None.
        teacher: labels distilled images under the protocol 'teacher'.
        kept: where trained networks are kept and taken from; every network is trained when None.

    Raises:
        DistailError: images are needed and not there, have other classes, sizes or an empty class; or the distilled set
            has no image of a class that a stage would learn from it.
    """

    distilled: DistilledSet
    recipe: TwoStageRecipe = field(default_factory=TwoStageRecipe)
    train: TrainRecipe = field(default_factory=TrainRecipe)
    labels: LabelProtocol = "static"
    images: ImageSet | None = None
    held_out: ImageSet | None = None
    teacher: SavedNetwork | None = None
    runtime: Runtime = field(default_factory=Runtime)
    progress: Progress = field(default_factory=SilentProgress)
    kept: KeptNetworks | None = None

    def __post_init__(self) -> None:
        require_distilled_classes(self.distilled, self.recipe)
        if self.images is not None:
            require_images_for(self.distilled, self.images)


@dataclass(frozen=True, eq=False)
class TrainedTwoStages:
    """A two-stage classifier and how it came about.

    Attributes:
        stages: how each was trained, the group stage first.
        seconds: that training took.
        reused: whether a stage was trained earlier and taken from the kept networks.
    """

    saved: SavedTwoStage
    stages: tuple[StageTraining, ...]
    seconds: float
    reused: bool = False

    @property
    def labels(self) -> str:
        """The label protocol: that of the stages on distilled images, or 'hard' where there is none."""
        return next((stage.labels for stage in self.stages if stage.data == "distilled"), "hard")


def require_two_stages(
    distilled: DistilledSet, recipe: TwoStageRecipe, images: ImageSet | None, grouping: Grouping | None
) -> None:
    """Refuses, before anything is trained, what two stages could not be trained on.

    Args:
        distilled: the small set.
        recipe: which stage learns from what.
        images: the long-tailed images, where known.
        grouping: the grouping to go by; one is to be found on `images` when None.

    Raises:
        DistailError: images are needed and not there or do not fit; the grouping is of other classes or has a single
            group, or more groups are asked for than there are classes; the set has no image of a class.
    """
    require_distilled_classes(distilled, recipe)
    if images is None:
        if grouping is None or recipe.needs_images:
            raise _images_missing()
    else:
        require_images_for(distilled, images)
    if grouping is not None:
        grouping.require_for(distilled.class_names, "the distilled set")
        require_several_groups(grouping)
    else:
        require_possible_groups(recipe.settings, distilled.num_classes)


def require_distilled_classes(distilled: DistilledSet, recipe: TwoStageRecipe) -> None:
    """Refuses a set without images of a class, where a stage learns from it.

    Raises:
        DistailError: names the class.
    """
    if "distilled" in (recipe.group_data, recipe.class_data) and 0 in distilled.class_counts:
        absent = distilled.class_names[distilled.class_counts.index(0)]
        raise DistailError(
            f"The distilled set has no image of class '{absent}', so no stage could learn it. Use a set with images of "
            "every class."
        )


def require_images_for(distilled: DistilledSet, images: ImageSet) -> None:
    """Refuses long-tailed images that stages of this distilled set cannot learn from.

    Raises:
        DistailError: other classes, other image sizes, or a class without images.
    """
    images.require_no_empty_class()
    require_same_classes(distilled.class_names, "the distilled set", images.class_names, images.origin)
    if images.image_shape != distilled.image_shape:
        raise DistailError(
            f"{images.origin} holds images of {images.image_shape} (channels, height, width), the distilled set of "
            f"{distilled.image_shape}. Use images of the same size."
        )


def two_stage_grouping(lessons: TwoStageLessons, architecture: str, seed: int = 0) -> Grouping:
    """Groups found on the long-tailed images as the recipe says, behind the set's preprocessing.

    Raises:
        DistailError: there are no long-tailed images, or groups cannot be made of them as asked.
    """
    if lessons.images is None:
        raise _images_missing()
    found = find_grouping(
        lessons.images,
        lessons.distilled.preprocessing,
        lessons.recipe.settings,
        architecture,
        seed,
        lessons.runtime,
        lessons.progress,
        kept=lessons.kept,
    )
    return found.grouping


def train_two_stages(lessons: TwoStageLessons, grouping: Grouping, architecture: str, seed: int) -> TrainedTwoStages:
    """Trains all networks of both stages, each from a seed of its own.

    Args:
        lessons: what from.
        grouping: of the classes of the set.
        architecture: of all networks.
        seed: of networks and training.

    Raises:
        DistailError: the grouping is of other classes or has a single group; images are missing; training diverges.
    """
    grouping.require_for(lessons.distilled.class_names, "the distilled set")
    require_several_groups(grouping)
    trained: list[tuple[StageTraining, Student]] = []

    def student(stage: Stage | None, data: str) -> SavedNetwork | None:
        if stage is None:
            return None
        trained.append(_train_stage(lessons, stage, data, architecture, seed))
        return trained[-1][1].saved

    group = student(group_stage(grouping), lessons.recipe.group_data)
    assert group is not None
    classes = [student(stage, lessons.recipe.class_data) for stage in class_stages(grouping)]
    model = TwoStage(group.network, [one.network if one else None for one in classes], grouping)
    provenance: dict[str, Any] = {
        "recipe": lessons.recipe.model_dump(mode="json"),
        "train": lessons.train.model_dump(mode="json"),
        "labels": lessons.labels,
        "seed": seed,
        "stages": [vars(stage) for stage, _ in trained],
        "data_sha256": lessons.images.content_hash if lessons.images else None,
        "set": lessons.distilled.provenance,
    }
    architectures = tuple(one.architecture if one else None for one in classes)
    preprocessing = lessons.distilled.preprocessing
    saved = SavedTwoStage(model.eval(), group.architecture, architectures, preprocessing, provenance)
    seconds = sum(student.seconds for _, student in trained)
    reused = any(student.reused for _, student in trained)
    return TrainedTwoStages(saved, tuple(stage for stage, _ in trained), seconds, reused)


def _train_stage(
    lessons: TwoStageLessons, stage: Stage, data: str, architecture: str, seed: int
) -> tuple[StageTraining, Student]:
    full = data == "full"
    classroom = _full_classroom(lessons, stage) if full else _distilled_classroom(lessons, stage)
    recipe = lessons.recipe.train_recipe() if full else lessons.train
    held_out = stage.of_images(lessons.held_out) if lessons.held_out else None
    learned = train_student(
        classroom,
        architecture,
        recipe,
        derive_seed(seed, "two stages", stage.title),
        lessons.runtime,
        progress=lessons.progress,
        # A group whose classes have one image each holds none out; its last epoch is kept.
        selection=selection_on(held_out, classroom.preprocessing, recipe, lessons.runtime) if held_out else None,
        title=f"training {architecture}, {stage.title}, seed {seed}",
        kept=lessons.kept,
    )
    kept = learned.history.kept_epoch
    labels = "hard" if full else lessons.labels
    training = StageTraining(stage.title, data, len(classroom.data), recipe.num_epochs, kept, labels)
    return training, learned


def _full_classroom(lessons: TwoStageLessons, stage: Stage) -> Classroom:
    if lessons.images is None:
        raise _images_missing()
    own = stage.of_images(lessons.images)
    assert own is not None, "no class of the long-tailed images is empty"
    return Classroom.of_images(own, lessons.distilled.preprocessing, lessons.runtime)


def _distilled_classroom(lessons: TwoStageLessons, stage: Stage) -> Classroom:
    own, runtime = stage.of_set(lessons.distilled), lessons.runtime
    if lessons.labels != "teacher":
        return Classroom.of_distilled(own, lessons.labels, runtime)
    asked = labelled_training_set(lessons.distilled, "teacher", runtime, lessons.teacher)
    assert isinstance(asked, TeacherTrainingSet)
    decoded = own.decoded()
    images, answers = decoded.images.to(runtime.device), decoded.labels.to(runtime.device)
    data = replace(asked, all_images=images, all_labels=answers, num_classes=len(stage.names), asked=stage.logits)
    return Classroom(data, stage.names, own.preprocessing, own.learning_rate)


def _images_missing() -> DistailError:
    return DistailError(
        "Two stages need the long-tailed images that the set was made from, which are not known here. Name them with "
        "--train SOURCE (and --imbalance as when distilling), or learn both stages from the set by a grouping at hand: "
        "--group-data distilled --grouping FILE."
    )
