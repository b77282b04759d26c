"""One expert in training: its network, its data, and one epoch after the other."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from distail.errors import DistailError
from distail.experts.bank import ExpertBank, Shelf, shelf_of
from distail.experts.classifier import ClassifierLesson, train_classifier_epoch
from distail.experts.ground import ExpertGround
from distail.experts.representation import train_representation_epoch
from distail.experts.spec import ClassifierSpec, ExpertSpec, RepresentationSpec
from distail.experts.statistics import measure_statistics
from distail.models.flat import FlatLayout
from distail.peers import Peers
from distail.training.training_set import TrainingSet


@dataclass(eq=False)
class Pupil:
    """An expert in training.

    Attributes:
        initial: its parameters before training.
        train: (parameters, number of the epoch) -> parameters after it, and its mean loss; all peers call it at once.
    """

    expert: int
    spec: ExpertSpec
    initial: Float[Tensor, " p"]
    train: Callable[[Float[Tensor, " p"], int], tuple[Float[Tensor, " p"], float]]
    device: str
    peers: Peers
    _parameters: Float[Tensor, " p"] | None = None

    def train_epoch(self, shelf: Shelf, epoch: int) -> float:
        """Trains epoch number `epoch`, peers included, and keeps its result.

        Raises:
            DistailError: training diverges, or the disk refuses.
        """
        if epoch == 0 and shelf.num_epochs(self.expert) < 0:
            shelf.append(self.expert, 0, self.initial)
        if self._parameters is None:
            self._parameters = shelf.snapshot(self.expert, epoch).to(self.device)
        if self.peers.size > 1:
            self.peers.broadcast((self.spec, self.expert, epoch, self._parameters))
        begun = time.perf_counter()
        self._parameters, loss = self.train(self._parameters, epoch)
        _require_finite(loss, self._parameters, self.expert, epoch, self.spec)
        shelf.append(self.expert, epoch + 1, self._parameters, time.perf_counter() - begun)
        return loss


def pupil_of(bank: ExpertBank, ground: ExpertGround, spec: ExpertSpec, expert: int, data: TrainingSet) -> Pupil:
    """An expert of this kind; the one that a classifier expert stands on must have been trained."""
    if isinstance(spec, ClassifierSpec):
        return _classifier_pupil(ground, spec, expert, data, shelf_of(bank, ground, spec.base))
    return _representation_pupil(ground, spec, expert, data)


def _representation_pupil(ground: ExpertGround, spec: RepresentationSpec, expert: int, data: TrainingSet) -> Pupil:
    network = ground.network(spec.seed, expert)

    def train(parameters: Float[Tensor, " p"], epoch: int) -> tuple[Float[Tensor, " p"], float]:
        return train_representation_epoch(network, parameters, data, spec, expert, epoch, ground.runtime)

    initial = FlatLayout.of(network).flatten(network)
    return Pupil(expert, spec, initial, train, ground.runtime.device, ground.runtime.peers)


def _classifier_pupil(
    ground: ExpertGround, spec: ClassifierSpec, expert: int, data: TrainingSet, bases: Shelf
) -> Pupil:
    finished = bases.snapshot(expert, spec.base_epochs)
    lesson = _lesson(ground, spec, finished, data)

    def train(parameters: Float[Tensor, " p"], epoch: int) -> tuple[Float[Tensor, " p"], float]:
        return train_classifier_epoch(parameters, lesson, spec, expert, epoch, ground.runtime)

    initial = finished[FlatLayout.of(lesson.backbone).classifier_start :]
    return Pupil(expert, spec, initial, train, ground.runtime.device, ground.runtime.peers)


def _lesson(
    ground: ExpertGround, spec: ClassifierSpec, finished: Float[Tensor, " p"], data: TrainingSet
) -> ClassifierLesson:
    """What a classifier learns on the backbone of a finished representation expert."""
    backbone = ground.network(spec.base.seed, 0)
    FlatLayout.of(backbone).load(backbone, finished.to(ground.runtime.device))
    measure_statistics(backbone, data.images, len(data))
    return ClassifierLesson.of(backbone, data, ground.train, spec)


def _require_finite(loss: float, parameters: Float[Tensor, " p"], expert: int, epoch: int, spec: ExpertSpec) -> None:
    """Refuses an epoch that diverged, also one whose last step did, which no loss has seen yet."""
    if not math.isfinite(loss) or not bool(parameters.isfinite().all()):
        raise DistailError(
            f"Expert {expert}: training diverged in epoch {epoch} (loss {loss:g}). Lower the experts' learning rate "
            f"(now {spec.learning_rate:g}). The epochs before are kept."
        )
