"""Training experts that are shared out: among other processes that need the same, by claims, and among peers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from distail.claims import Claim, Claimed, Claims
from distail.experts.bank import ExpertBank, Shelf, shelf_of
from distail.experts.ground import ExpertGround
from distail.experts.pupil import Pupil, pupil_of
from distail.experts.spec import ClassifierSpec, ExpertSpec
from distail.progress import Advance
from distail.training.training_set import TrainingSet


def train_all(bank: ExpertBank, ground: ExpertGround, tasks: Sequence[ExpertTask]) -> None:
    """Trains what these tasks say. Of peers, the first one calls it, and the others `assist`.

    Raises:
        DistailError: a loss is no longer finite, or the disk refuses.
        Claimed: all that is left is being trained by others, and the bank does not wait.
    """
    if tasks:
        data = ground.training_set()
        if ground.runtime.peers.size > 1 and ground.network(0, 0).mixes_images:
            ground.progress.say(
                f"The images of a batch mix in {ground.architecture}, so devices cannot share it: experts train "
                "as fast as on one. Start the same command several times to train several experts at once."
            )
        with ground.progress.task("training experts", sum(task.missing for task in tasks)) as advance:
            training = _Training(bank, ground, data, advance)
            while tasks:
                tasks = training.do_some(tasks)
    ground.runtime.peers.broadcast(None)  # those that assist may go


def assist(bank: ExpertBank, ground: ExpertGround) -> None:
    """Computes this process's part of every batch that the first of the peers trains experts on, and writes nothing."""
    data: TrainingSet | None = None
    pupil: Pupil | None = None
    while (asked := ground.runtime.peers.broadcast(_nothing())) is not None:
        spec, expert, epoch, parameters = asked
        data = ground.training_set() if data is None else data
        if pupil is None or (pupil.spec, pupil.expert) != (spec, expert):
            pupil = pupil_of(bank, ground, spec, expert, data)
        pupil.train(parameters.to(ground.runtime.device), epoch)


def _nothing() -> tuple[ExpertSpec, int, int, Tensor] | None:
    """What a process gives to a broadcast of epochs that it only listens to."""
    return None


@dataclass(eq=False)
class ExpertTask:
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

    def do_some(self, tasks: Sequence[ExpertTask]) -> list[ExpertTask]:
        """Does those that no other process is at, or else waits for the first; returns those that are left."""
        left: list[ExpertTask] = []
        taken: list[ExpertTask] = []
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

    def _is_ready(self, task: ExpertTask) -> bool:
        """Whether the expert that it stands on has been trained."""
        if not isinstance(task.spec, ClassifierSpec):
            return True
        return shelf_of(self.bank, self.ground, task.spec.base).num_epochs(task.expert) >= task.spec.base_epochs

    def _do(self, task: ExpertTask, claims: Claims) -> None:
        if not task.is_done:
            with claims.hold(task.claim, task.note(0), self.ground.progress) as claim:
                self._train(task, claim)
        if task.missing > 0:
            self.advance(task.missing)  # by another process

    def _train(self, task: ExpertTask, claim: Claim) -> None:
        if task.is_done:
            return
        pupil = pupil_of(self.bank, self.ground, task.spec, task.expert, self.data)
        for epoch in range(max(task.shelf.num_epochs(task.expert), 0), task.epochs):
            claim.note(task.note(epoch))
            loss = pupil.train_epoch(task.shelf, epoch)
            task.missing -= 1
            self.advance(loss=loss, expert=task.expert)
