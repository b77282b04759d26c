"""TESLA: trajectory matching whose gradient holds every point of the student's path constant.

Paper: Cui et al., ICML 2023, arXiv:2211.10586.
Equation: MTT's loss; its gradient by a batch of step i is 2/D · ∂/∂X_i [(η(θ*_{t+M} − θ*_t) + η²G)ᵀ g_i] with the sum
G of all the student's gradients held constant, which drops MTT's paths from one step's batch through later steps.
Labels are hard, or what the target expert answers to the current images, asked again in each iteration.
Published for balanced CIFAR-10, ConvNet-3, IPC 1/10/50: 48.5/66.4/72.6; for ImageNet-LT, ConvNet-4, IPC 10: 3.0
(imbalance 5), 2.7 (imbalance 10). The defaults are the released settings for CIFAR-10, IPC 1.
"""

from typing import ClassVar

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from distail.experts.bank import shelf_of
from distail.experts.spec import ExpertNeed, RepresentationSpec
from distail.matching.descent import Descent, Learned, synthetic_of
from distail.matching.settings import MatchingSettings
from distail.matching.work import matching_work
from distail.methods._method import Method
from distail.models.saved import batch_logits
from distail.problem import Problem, Synthetic, Work
from distail.synthetic.initial import network_with
from distail.synthetic.trajectories import experts_in_reach, match_from_random_images


class TESLA(MatchingSettings, Method):
    """Trajectory matching with constant memory, and soft labels of the target expert if asked for."""

    paper: ClassVar[str] = "Cui et al., ICML 2023, arXiv:2211.10586"
    summary: ClassVar[str] = "match trajectories, with a gradient that takes each step on its own"
    iterations_stand_alone: ClassVar[bool] = True

    iterations: int = Field(default=10_000, ge=0)
    """Updates of the set; 0 returns what the first would start from (released code: 10,000)."""
    steps: int = Field(default=50, ge=1)
    """Steps of the student in one iteration (CIFAR-10, IPC 1: 50; ImageNet: 10)."""
    image_lr: float = Field(default=1000.0, gt=0)
    """SGD step size on the images (CIFAR-10, IPC 1: 1000)."""
    learning_rate_lr: float = Field(default=1e-7, ge=0)
    """SGD step size on η (CIFAR-10, IPC 1: 1e-7)."""
    max_start_epoch: int = Field(default=5, ge=1)
    """Students start from expert epochs before this one (CIFAR-10, IPC 1: 5)."""
    soft_labels: bool = False
    """Whether the target expert labels the images in each iteration (used for ImageNet)."""
    experts: RepresentationSpec = RepresentationSpec()
    """How experts train: plain SGD."""

    def expert_needs(self) -> tuple[ExpertNeed, ...]:
        """Plain experts, as far as matching can reach."""
        return (experts_in_reach(self, self.experts, self.max_start_epoch),)

    def work(self, problem: Problem) -> Work:
        """Training the experts that the bank lacks, then two passes over every step."""
        return matching_work(problem, self.expert_needs(), self, self.iterations)

    def distill(self, problem: Problem) -> Synthetic:
        """Starts from random real images and matches. Soft labels of the set are expert 0's at the last epoch matched.

        Raises:
            DistailError: training an expert or matching diverges.
        """

        def answers(images: Float[Tensor, "n c h w"], parameters: Float[Tensor, " p"]) -> Float[Tensor, "n k"]:
            return batch_logits(network_with(problem, parameters), images)

        descent = Descent("tesla", self.iterations, self)
        with problem.expert_bank() as bank:
            learned = match_from_random_images(
                problem,
                bank,
                self.experts,
                self.max_start_epoch,
                descent,
                unrolled=False,
                labels_by=answers if self.soft_labels else None,
            )
            if self.soft_labels:
                shelf = shelf_of(bank, problem.ground, self.experts)
                last = shelf.snapshot(0, self.expert_needs()[0].epochs)
                learned = Learned(learned.images, answers(learned.images, last), learned.learning_rate)
        return synthetic_of(problem, learned)
