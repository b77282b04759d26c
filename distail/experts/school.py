"""Brings a bank to what a method needs: trains the experts that are missing, and the missing epochs of others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from distail.claims import Claim, Claimed, Claims
from distail.errors import DistailError
from distail.experts.bank import ExpertBank, Shelf
from distail.experts.classifier import ClassifierLesson, train_classifier_epoch
from distail.experts.ground import ExpertGround
from distail.experts.representation import train_representation_epoch
from distail.experts.spec import ClassifierSpec, ExpertNeed, ExpertSpec, RepresentationSpec
from distail.experts.statistics import measure_statistics
from distail.models.flat import FlatLayout
from distail.progress import Advance
from distail.training.training_set import TrainingSet


def train_experts(
    bank: ExpertBank, ground: ExpertGround, needs: Iterable[ExpertNeed], *, only: range | None = None
) -> None:
    """Trains what the bank lacks. Every epoch is kept as soon as it is done, so a killed call loses at most one.

    Processes that need the same experts share them out: each trains one that no other is at, and at the end waits for
    those that others train.

    Args:
        bank: where snapshots go.
        ground: data and network.
        needs: in order; classifier experts bring their representation experts with them.
        only: numbers of the experts to train, to share the work among machines; all when omitted.

    Raises:
        DistailError: a loss is no longer finite, or the disk refuses.
        Claimed: all that is left is being trained by others, and the bank does not wait.
    """
    tasks = [
        _Task(shelf_of(bank, ground, need.spec), need.spec, expert, need.epochs_of(expert), epochs)
        for need, lacking in missing_experts(bank, ground, needs, only=only)
        for expert, epochs in lacking.items()
    ]
    if not tasks:
        return
    data = ground.training_set()
    with ground.progress.task("training experts", sum(task.missing for task in tasks)) as advance:
        training = _Training(bank, ground, data, advance)
        while tasks:
            tasks = training.do_some(tasks)


def missing_epochs(
    bank: ExpertBank | None, ground: ExpertGround, needs: Iterable[ExpertNeed], *, only: range | None = None
) -> list[tuple[ExpertNeed, int]]:
    """Every need, those of the bases included, with the epochs that a bank lacks of it; None is an empty bank."""
    return [(need, sum(lacking.values())) for need, lacking in missing_experts(bank, ground, needs, only=only)]


def missing_experts(
    bank: ExpertBank | None, ground: ExpertGround, needs: Iterable[ExpertNeed], *, only: range | None = None
) -> list[tuple[ExpertNeed, dict[int, int]]]:
    """Every need, those of the bases included, with the missing epochs of each expert that lacks any, by number."""
    found = []
    for need in with_bases(needs):
        shelf = None if bank is None else bank.find(ground.identity(need.spec))
        there = {expert: max(shelf.num_epochs(expert), 0) if shelf else 0 for expert in _chosen(need, only)}
        lacking = {expert: need.epochs_of(expert) - epochs for expert, epochs in there.items()}
        found.append((need, {expert: epochs for expert, epochs in lacking.items() if epochs > 0}))
    return found


def with_bases(needs: Iterable[ExpertNeed]) -> list[ExpertNeed]:
    """The needs, with the representation experts that classifier experts stand on before them.

    Needs of the same spec become one, as long as two lengths can say what they ask for together.
    """
    whole: list[ExpertNeed] = []
    for need in needs:
        if isinstance(need.spec, ClassifierSpec):
            base = ExpertNeed(spec=need.spec.base, num_experts=need.total, epochs=need.spec.base_epochs)
            whole = _joined(whole, base)
        whole = _joined(whole, need)
    return sorted(whole, key=lambda need: isinstance(need.spec, ClassifierSpec))


def _joined(needs: list[ExpertNeed], new: ExpertNeed) -> list[ExpertNeed]:
    for place, old in enumerate(needs):
        both = _together(old, new) if old.spec == new.spec else None
        if both:
            return [*needs[:place], both, *needs[place + 1 :]]
    return [*needs, new]


def _together(one: ExpertNeed, other: ExpertNeed) -> ExpertNeed | None:
    """What both ask for as one need, or None where that takes more than two lengths."""
    epochs = [max(one.epochs_of(expert), other.epochs_of(expert)) for expert in range(max(one.total, other.total))]
    short, long = min(epochs), max(epochs)
    if set(epochs) - {short, long}:
        return None
    return ExpertNeed(
        spec=one.spec, num_experts=len(epochs), epochs=short, num_long=epochs.count(long), long_epochs=long
    )


def shelf_of(bank: ExpertBank, ground: ExpertGround, spec: ExpertSpec) -> Shelf:
    """Where the bank keeps experts of this kind for these data."""
    return bank.shelf(ground.identity(spec), ground.train.origin)


def classifier_shelf(bank: ExpertBank, ground: ExpertGround, spec: ClassifierSpec) -> tuple[Shelf, Shelf]:
    """Where the classifier experts are, and the representation experts that they stand on."""
    return shelf_of(bank, ground, spec), shelf_of(bank, ground, spec.base)


def whole_classifier_expert(bases: Shelf, classifiers: Shelf, spec: ClassifierSpec, expert: int, epoch: int) -> Tensor:
    """All parameters of a classifier expert after an epoch: the frozen backbone, then the classifier."""
    parameters = bases.snapshot(expert, spec.base_epochs).clone()
    classifier = classifiers.snapshot(expert, epoch)
    parameters[-len(classifier) :] = classifier
    return parameters


@dataclass(eq=False)
class _Task:
    """An expert that is to be trained up to a number of epochs.

    Attributes:
        missing: epochs that the progress has not counted yet.
    """

    shelf: Shelf
    spec: ExpertSpec
    expert: int
    epochs: int
    missing: int

    @property
    def is_done(self) -> bool:
        """Whether it has been trained, here or by another process."""
        return self.shelf.num_epochs(self.expert) >= self.epochs

    @property
    def claim(self) -> str:
        """Name of the claim on it."""
        return f"{self.shelf.key}-expert-{self.expert:04d}"

    def note(self, epoch: int) -> str:
        """What a process at work on it says."""
        return f"training {self.spec.kind} expert {self.expert}, epoch {min(epoch + 1, self.epochs)} of {self.epochs}"


@dataclass(frozen=True, eq=False)
class _Training:
    """Training experts while other processes may train some of the same."""

    bank: ExpertBank
    ground: ExpertGround
    data: TrainingSet
    advance: Advance

    def do_some(self, tasks: Sequence[_Task]) -> list[_Task]:
        """Does those that no other process is at, or else waits for the first; returns those that are left."""
        left: list[_Task] = []
        taken: list[_Task] = []
        for task in tasks:
            if not self._is_ready(task):
                left.append(task)
                continue
            try:
                self._do(task, replace(self.bank.claims, wait=False))
            except Claimed:
                left.append(task)
                taken.append(task)
        if len(left) < len(tasks):
            return left
        self._do(taken[0], self.bank.claims)
        return [task for task in left if task is not taken[0]]

    def _is_ready(self, task: _Task) -> bool:
        """Whether the expert that it stands on has been trained."""
        if not isinstance(task.spec, ClassifierSpec):
            return True
        return shelf_of(self.bank, self.ground, task.spec.base).num_epochs(task.expert) >= task.spec.base_epochs

    def _do(self, task: _Task, claims: Claims) -> None:
        if not task.is_done:
            with claims.hold(task.claim, task.note(0), self.ground.progress) as claim:
                self._train(task, claim)
        if task.missing > 0:
            self.advance(task.missing)  # by another process

    def _train(self, task: _Task, claim: Claim) -> None:
        if task.is_done:
            return
        pupil = _pupil(self.bank, self.ground, task.spec, task.expert, self.data)
        for epoch in range(max(task.shelf.num_epochs(task.expert), 0), task.epochs):
            claim.note(task.note(epoch))
            loss = pupil.train_epoch(task.shelf, epoch)
            task.missing -= 1
            self.advance(loss=loss, expert=task.expert)


@dataclass(eq=False)
class _Pupil:
    """An expert in training.

    Attributes:
        initial: its parameters before training.
        train: (parameters, number of the epoch) -> parameters after it, and its mean loss.
    """

    expert: int
    spec: ExpertSpec
    initial: Float[Tensor, " p"]
    train: Callable[[Float[Tensor, " p"], int], tuple[Float[Tensor, " p"], float]]
    device: str
    _parameters: Float[Tensor, " p"] | None = None

    def train_epoch(self, shelf: Shelf, epoch: int) -> float:
        """Trains epoch number `epoch` and keeps its result."""
        if epoch == 0 and shelf.num_epochs(self.expert) < 0:
            shelf.append(self.expert, 0, self.initial)
        if self._parameters is None:
            self._parameters = shelf.snapshot(self.expert, epoch).to(self.device)
        self._parameters, loss = self.train(self._parameters, epoch)
        _require_finite(loss, self._parameters, self.expert, epoch, self.spec)
        shelf.append(self.expert, epoch + 1, self._parameters)
        return loss


def _pupil(bank: ExpertBank, ground: ExpertGround, spec: ExpertSpec, expert: int, data: TrainingSet) -> _Pupil:
    if isinstance(spec, ClassifierSpec):
        return _classifier_pupil(ground, spec, expert, data, shelf_of(bank, ground, spec.base))
    return _representation_pupil(ground, spec, expert, data)


def _representation_pupil(ground: ExpertGround, spec: RepresentationSpec, expert: int, data: TrainingSet) -> _Pupil:
    network = ground.network(spec.seed, expert)

    def train(parameters: Float[Tensor, " p"], epoch: int) -> tuple[Float[Tensor, " p"], float]:
        return train_representation_epoch(network, parameters, data, spec, expert, epoch, ground.runtime)

    initial = FlatLayout.of(network).flatten(network)
    return _Pupil(expert, spec, initial, train, ground.runtime.device)


def _classifier_pupil(
    ground: ExpertGround, spec: ClassifierSpec, expert: int, data: TrainingSet, bases: Shelf
) -> _Pupil:
    finished = bases.snapshot(expert, spec.base_epochs)
    lesson = _lesson(ground, spec, finished, data)

    def train(parameters: Float[Tensor, " p"], epoch: int) -> tuple[Float[Tensor, " p"], float]:
        return train_classifier_epoch(parameters, lesson, spec, expert, epoch, ground.runtime)

    initial = finished[FlatLayout.of(lesson.backbone).classifier_start :]
    return _Pupil(expert, spec, initial, train, ground.runtime.device)


def _lesson(
    ground: ExpertGround, spec: ClassifierSpec, finished: Float[Tensor, " p"], data: TrainingSet
) -> ClassifierLesson:
    """What a classifier learns on the backbone of a finished representation expert."""
    backbone = ground.network(spec.base.seed, 0)
    FlatLayout.of(backbone).load(backbone, finished.to(ground.runtime.device))
    measure_statistics(backbone, data.images, len(data))
    return ClassifierLesson.of(backbone, data, ground.train, spec)


def _chosen(need: ExpertNeed, only: range | None) -> list[int]:
    return [expert for expert in range(need.total) if only is None or expert in only]


def _require_finite(loss: float, parameters: Float[Tensor, " p"], expert: int, epoch: int, spec: ExpertSpec) -> None:
    """Refuses an epoch that diverged, also one whose last step did, which no loss has seen yet."""
    if not math.isfinite(loss) or not bool(parameters.isfinite().all()):
        raise DistailError(
            f"Expert {expert}: training diverged in epoch {epoch} (loss {loss:g}). Lower the experts' learning rate "
            f"(now {spec.learning_rate:g}). The epochs before are kept."
        )
