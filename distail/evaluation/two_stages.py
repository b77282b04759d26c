"""The rows of two stages: the same networks with soft and with hard routing."""

from __future__ import annotations

from typing import get_args

from distail.data.image_set import ImageSet
from distail.evaluation.metrics import score_logits
from distail.evaluation.result import StudentScore
from distail.groups.grouping import Grouping
from distail.groups.two_stage import Routing
from distail.groups.two_stage_training import TwoStageLessons, train_two_stages

TWO_STAGE = "two-stage"
"""How the subjects of two-stage rows begin."""


def score_two_stages(
    lessons: TwoStageLessons,
    grouping: Grouping,
    architecture: str,
    seed: int,
    test: ImageSet,
    train_counts: tuple[int, ...] | None,
) -> list[StudentScore]:
    """Trains both stages once, and scores them with either routing.

    Args:
        lessons: what the stages learn from.
        grouping: of the classes.
        architecture: of all networks.
        seed: of networks and training.
        test: held-out images, looked at after training has ended.
        train_counts: images of each class in the long-tailed data, where known.

    Raises:
        DistailError: training diverges.
    """
    trained = train_two_stages(lessons, grouping, architecture, seed)
    with lessons.runtime.autocast():
        decisions = trained.saved.decide(test.images).on_cpu()
    return [
        StudentScore(
            subject=f"{TWO_STAGE}, {routing} routing",
            architecture=architecture,
            seed=seed,
            labels=trained.labels,
            num_images=sum(stage.num_images for stage in trained.stages),
            epochs=trained.stages[0].epochs,
            kept_epoch=trained.stages[0].kept_epoch,
            train_seconds=trained.seconds,
            scores=score_logits(decisions.routed(routing), test.labels, train_counts),
            group_accuracy=decisions.group_accuracy(test.labels),
            stages=trained.stages,
            reused=trained.reused,
        )
        for routing in get_args(Routing)
    ]
