"""Two stages from the outside: opens a distilled set, the long-tailed images and a grouping, and trains."""

from __future__ import annotations

from pathlib import Path

from distail.distilled import DistilledSet, load_distilled
from distail.groups.grouping import load_grouping
from distail.groups.settings import TwoStageRecipe
from distail.groups.two_stage_training import (
    TrainedTwoStages,
    TwoStageLessons,
    require_two_stages,
    train_two_stages,
    two_stage_grouping,
)
from distail.learn.labels import effective_protocol, own_training, require_teacher
from distail.models.saved import load_network
from distail.opening import teacher_file
from distail.progress import Progress, SilentProgress
from distail.runtime import Runtime
from distail.scoring import TrainingSource
from distail.training.recipe import LabelProtocol, TrainRecipe


def train_on_set(
    target: DistilledSet | str | Path,
    recipe: TwoStageRecipe,
    *,
    training: TrainingSource | None = None,
    architecture: str = "convnet3",
    train: TrainRecipe | None = None,
    labels: LabelProtocol = "static",
    teacher: str | Path | None = None,
    seed: int = 0,
    runtime: Runtime | None = None,
    progress: Progress | None = None,
) -> TrainedTwoStages:
    """Trains one two-stage classifier.

    Args:
        target: a distilled set, or the run folder or file to open.
        recipe: the groups, and which stage learns from what.
        training: the long-tailed images; read from the set's own source when omitted, and only where needed.
        architecture: of all networks.
        train: how stages on distilled images are trained; values that are not given are those stored with the set.
        labels: what these learn.
        teacher: file of a network, for 'teacher'; the run's own when omitted.
        seed: of the grouping, the networks and their training.

    Raises:
        DistailError: bad input of any kind; the message says what to do.
    """
    runtime, progress = runtime or Runtime(), progress or SilentProgress()
    file = teacher_file(target, labels, teacher)
    require_teacher(labels, network := load_network(file) if file else None)
    distilled = target if isinstance(target, DistilledSet) else load_distilled(target)
    grouping = load_grouping(recipe.grouping) if recipe.grouping else None
    images = None
    if recipe.needs_images or grouping is None:
        images = (training or TrainingSource()).images(distilled, progress)
    require_two_stages(distilled, recipe, images, grouping)
    lessons = TwoStageLessons(
        distilled=distilled,
        recipe=recipe,
        train=own_training(distilled, labels).changed_by(train or TrainRecipe()),
        labels=effective_protocol(distilled, labels),
        images=images,
        teacher=network,
        runtime=runtime,
        progress=progress,
    )
    return train_two_stages(lessons, grouping or two_stage_grouping(lessons, architecture, seed), architecture, seed)
