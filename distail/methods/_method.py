"""What a distillation method is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from distail.config import Config
from distail.experts.spec import ExpertNeed
from distail.problem import Problem, Synthetic, Work


class Method(Config, ABC):
    """A distillation method: its fields are its hyper-parameters, with the paper's values as defaults."""

    paper: ClassVar[str]
    """Where it was published, with arXiv id."""
    summary: ClassVar[str]
    """What it does, in one line."""

    @abstractmethod
    def distill(self, problem: Problem) -> Synthetic:
        """Makes the synthetic set. Deterministic in `problem.seed` on the CPU; changes nothing in `problem`."""

    iterations_stand_alone: ClassVar[bool] = False
    """Whether an iteration is the same whatever the field `iterations` says, so that a run may go on for more."""

    batch_field: ClassVar[str | None] = None
    """Name of the field that says how many images pass through the network at once; None where no field does."""

    runs_fused: ClassVar[bool] = False
    """Whether networks run with fused kernels throughout, for estimates without the machine at hand; methods whose
    work has passes of tangents need not say so."""

    stores_soft_labels: ClassVar[bool] = False
    """Whether its sets hold a soft label for each image unless a setting says otherwise; where they do not, the label
    protocol 'static' is 'hard'."""

    keeps_teacher: ClassVar[bool] = False
    """Whether its sets come with the network that the label protocol 'teacher' asks; where they do not, a grid or
    recipe that asks for the protocol has to name a network of its own."""

    shares_devices: ClassVar[bool] = False
    """Whether `distill` shares its work out among peers (`Runtime.peers`), all of whom call it."""

    @property
    def images_in_one(self) -> int:
        """Images that networks learn from for each stored one; more than 1 where a method stores mosaics."""
        return 1

    def expert_needs(self) -> tuple[ExpertNeed, ...]:
        """Experts that `distill` will look for in the problem's bank, and train where they are missing."""
        return ()

    def work(self, problem: Problem) -> Work:
        """How much `distill` will compute, for estimates of time and memory; nothing where it only draws."""
        return Work()
