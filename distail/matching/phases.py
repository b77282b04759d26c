"""One matching loss with the experts of a bank: whose turn it is, which snapshots, which batches, and the gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from jaxtyping import Float, Int64
from torch import Tensor

from distail.data.augment import DSA
from distail.experts.bank import Shelf
from distail.experts.school import whole_classifier_expert
from distail.experts.spec import ClassifierSpec
from distail.matching.classifier import match_classifier
from distail.matching.descent import Learned
from distail.matching.functional import FlatNetwork
from distail.matching.losses import InnerLoss
from distail.matching.plain import match_classifier_plainly, match_trajectory_plainly
from distail.matching.settings import MatchingSettings
from distail.matching.steps import Steps
from distail.matching.sweep import InnerLoop, MatchingGradients
from distail.matching.trajectory import Matched, match_trajectory
from distail.matching.turns import StartEpochs, expert_turn, mean_of_turns
from distail.problem import Problem, class_major_labels

TargetsAt = Callable[[Float[Tensor, "n c h w"], Float[Tensor, " p"]], Float[Tensor, "n k"]]
"""(images, parameters of the target expert) -> label logits."""


@dataclass(frozen=True, eq=False)
class RepresentationPhase:
    """Matches whole networks: all of MTT, TESLA, FTD and DATM, and the first phase of LAD.

    Attributes:
        problem: data, seed and device.
        settings: steps, batches and experts.
        shelf: representation experts, trained as far as `starts` reaches.
        starts: which epochs students start from.
        loss: what students minimise.
        matched: which parameters count in the distance.
        unrolled: the exact gradient, or TESLA's.
        labels_by: hard labels are replaced by what the target expert answers, if given.
    """

    problem: Problem
    settings: MatchingSettings
    shelf: Shelf
    starts: StartEpochs
    loss: InnerLoss
    matched: Matched = "all"
    unrolled: bool = False
    labels_by: TargetsAt | None = None

    @cached_property
    def _network(self) -> FlatNetwork:
        return FlatNetwork(self.problem.network("architecture"), self.problem.runtime)

    def __call__(self, learned: Learned, iteration: int) -> MatchingGradients:
        """The loss and gradients of one iteration."""
        turns = self.settings.experts_per_iteration
        return mean_of_turns(self.problem, turns, iteration, lambda turn: self._match(learned, iteration, turn))

    def _match(self, learned: Learned, iteration: int, turn: int) -> MatchingGradients:
        expert = expert_turn(self.problem, "representation", turn, self.settings.num_experts)
        epoch = self.starts.draw(self.problem, "representation", iteration, turn)
        start = self._snapshot(expert, epoch)
        target = self._snapshot(expert, epoch + self.settings.expert_span)
        targets = targets_of(self.problem, learned)
        if self.labels_by is not None:
            targets = self.labels_by(learned.images, target)
        loop = inner_loop(
            self.problem, self.settings, learned, targets, self.loss, self.settings.steps, "representation", turn
        )
        match = match_trajectory if self.settings.engine == "fast" else match_trajectory_plainly
        return match(self._network, loop, start, target, matched=self.matched, unrolled=self.unrolled)

    def _snapshot(self, expert: int, epoch: int) -> Float[Tensor, " p"]:
        return self.shelf.snapshot(expert, epoch).to(self.problem.runtime.device)


@dataclass(frozen=True, eq=False)
class ClassifierPhase:
    """Matches classifiers on a frozen backbone: the second phase of LAD. Students always start from epoch 0.

    Attributes:
        problem: data, seed and device.
        settings: batches.
        bases: the finished representation experts.
        shelf: classifier experts that stand on them.
        spec: theirs.
        num_experts: how many take turns.
        steps: of the student.
        loss: what students minimise.
    """

    problem: Problem
    settings: MatchingSettings
    bases: Shelf
    shelf: Shelf
    spec: ClassifierSpec
    num_experts: int
    steps: int
    loss: InnerLoss

    @cached_property
    def _network(self) -> FlatNetwork:
        return FlatNetwork(self.problem.network("architecture"), self.problem.runtime)

    def __call__(self, learned: Learned, iteration: int) -> MatchingGradients:
        """The loss and gradients of one iteration."""
        turns = self.settings.experts_per_iteration
        return mean_of_turns(self.problem, turns, iteration, lambda turn: self._match(learned, turn))

    def _match(self, learned: Learned, turn: int) -> MatchingGradients:
        expert = expert_turn(self.problem, "classifier", turn, self.num_experts)
        match = match_classifier if self.settings.engine == "fast" else match_classifier_plainly
        targets = targets_of(self.problem, learned)
        loop = inner_loop(self.problem, self.settings, learned, targets, self.loss, self.steps, "classifier", turn)
        return match(self._network, loop, self._snapshot(expert, 0), self._snapshot(expert, self.settings.expert_span))

    def _snapshot(self, expert: int, epoch: int) -> Float[Tensor, " p"]:
        whole = whole_classifier_expert(self.bases, self.shelf, self.spec, expert, epoch)
        return whole.to(self.problem.runtime.device)


def targets_of(problem: Problem, learned: Learned) -> Float[Tensor, "n k"] | Int64[Tensor, " n"]:
    """The learned label logits, or the class-major hard labels."""
    if learned.labels is not None:
        return learned.labels
    labels = class_major_labels(problem.num_classes, problem.images_per_class)
    return labels.to(learned.images.device)


def inner_loop(
    problem: Problem,
    settings: MatchingSettings,
    learned: Learned,
    targets: Float[Tensor, "n k"] | Int64[Tensor, " n"],
    loss: InnerLoss,
    num_steps: int,
    purpose: str,
    turn: int,
) -> InnerLoop:
    """What the student of one turn trains on, with its batches and augmentations drawn."""
    generator = problem.generator("inner loop", purpose, turn)
    augment = DSA(strategy=settings.augmentation)
    steps = Steps.draw(
        len(learned.images), num_steps, settings.batch_size, problem.train.image_shape, augment, generator
    )
    return InnerLoop(learned.images, targets, learned.learning_rate, steps, augment, loss)
