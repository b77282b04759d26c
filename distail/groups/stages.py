"""`Stage`: one decision of several, and what a network has to learn for it from sets, images and teachers.

A stage has as outputs disjoint sets of classes: the groups, or the single classes of one group. From logits z of all
classes its own follow as

    z_o = log Σ_{y in o} exp z_y,    softmax(z)_o = p(o | one of the stage's classes)

so that soft labels and teachers are restricted to a group's classes and renormalised there, and summed over a group's
classes for the decision between groups.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from distail.data.image_set import ImageSet
from distail.distilled import DistilledSet
from distail.groups.grouping import Grouping


@dataclass(frozen=True)
class Stage:
    """One decision.

    Attributes:
        title: for progress and results: 'groups', or 'classes of group 1'.
        names: of the outputs, at least two.
        outputs: the labels that each output stands for.
        num_classes: of all classes, also those that the stage is not asked about.
    """

    title: str
    names: tuple[str, ...]
    outputs: tuple[tuple[int, ...], ...]
    num_classes: int

    def logits(self, of_classes: Float[Tensor, "n k"]) -> Float[Tensor, "n o"]:
        """The stage's logits that follow from logits of all classes; see the module's docstring."""
        return torch.stack([of_classes[:, list(labels)].logsumexp(dim=1) for labels in self.outputs], dim=1)

    def answers(self, labels: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
        """The right output for each label; -1 for classes that the stage is not asked about."""
        output_of = torch.full((self.num_classes,), -1)
        for output, own in enumerate(self.outputs):
            output_of[list(own)] = output
        return output_of[labels]

    def of_set(self, distilled: DistilledSet) -> DistilledSet:
        """The distilled images that the stage learns from, with labels of its own; mosaics stay mosaics.

        Raises:
            DistailError: there is none.
        """
        answers = self.answers(distilled.labels)
        kept = answers >= 0
        soft = distilled.soft_labels
        views = distilled.views.of_images(kept) if distilled.views else None
        return replace(
            distilled,
            images=distilled.images[kept],
            labels=answers[kept],
            class_names=self.names,
            soft_labels=None if soft is None else self.logits(soft[kept]),
            views=views.answering(self.logits) if views else None,
        )

    def of_images(self, images: ImageSet) -> ImageSet | None:
        """The real images that the stage learns from, with labels of its own; None where there are none."""
        answers = self.answers(images.labels)
        kept = answers >= 0
        if not bool(kept.any()):
            return None
        return ImageSet(images.images[kept], answers[kept], self.names, images.origin)


@dataclass(frozen=True)
class StageTraining:
    """How one stage was trained.

    Attributes:
        title: 'groups', or 'classes of group 1'.
        data: 'full' or 'distilled'.
        num_images: it learned from.
        epochs: passes over them.
        kept_epoch: the epoch whose network was kept.
        labels: the protocol by which it learned; 'hard' from the long-tailed images.
    """

    title: str
    data: str
    num_images: int
    epochs: int
    kept_epoch: int
    labels: str = "hard"


def group_stage(grouping: Grouping) -> Stage:
    """The decision between groups."""
    groups = range(grouping.num_groups)
    return Stage(
        "groups",
        tuple(f"group {group + 1}" for group in groups),
        tuple(grouping.members(group) for group in groups),
        len(grouping.class_names),
    )


def class_stages(grouping: Grouping) -> tuple[Stage | None, ...]:
    """For each group the decision between its classes; None for a group of one class, where there is none."""
    names = grouping.class_names
    stages = []
    for group in range(grouping.num_groups):
        members = grouping.members(group)
        own = tuple((label,) for label in members)
        stage = Stage(f"classes of group {group + 1}", tuple(names[label] for label in members), own, len(names))
        stages.append(stage if len(members) > 1 else None)
    return tuple(stages)
