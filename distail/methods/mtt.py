"""MTT, matching training trajectories: a student of the synthetic set should end where experts of the real data do.

Paper: Cazenavette et al., CVPR 2022, arXiv:2203.11932.
Equation: minimise ‖θ_N − θ*_{t+M}‖² / ‖θ*_t − θ*_{t+M}‖² over images and step size η, where the student starts from the
expert's snapshot t and takes N steps of size η on the synthetic images.
Deviations from the released code: the exact gradient is taken by an adjoint sweep, so memory does not grow with N.
Published for CIFAR-10-LT, ConvNet-3, IPC 10/20/50 (the tables of RLDD): imbalance 10: 58.0/59.5/62.0; imbalance 50:
45.8/49.9/53.6; imbalance 100: 37.7/41.6/47.8. The defaults are the released settings for balanced CIFAR-10, IPC 10,
as FTD's scripts state them.
"""

from typing import ClassVar

import torch
from pydantic import Field

from distail.experts.school import shelf_of, train_experts
from distail.experts.spec import ExpertNeed, RepresentationSpec
from distail.matching.descent import Descent, Learned, descend, synthetic_of
from distail.matching.losses import InnerLoss
from distail.matching.phases import RepresentationPhase
from distail.matching.settings import MatchingSettings
from distail.matching.turns import StartEpochs
from distail.matching.work import matching_work
from distail.methods._method import Method
from distail.problem import Problem, Synthetic, Work
from distail.synthetic.selection import random_choice, select_real_images


class MTT(MatchingSettings, Method):
    """Matching training trajectories, with hard labels."""

    paper: ClassVar[str] = "Cazenavette et al., CVPR 2022, arXiv:2203.11932"
    summary: ClassVar[str] = "match the training trajectories of experts, with the exact gradient"

    iterations: int = Field(default=5000, ge=0)
    """Updates of the set; 0 returns what the first would start from (paper: 5,000)."""
    steps: int = Field(default=30, ge=1)
    """Steps of the student in one iteration (CIFAR-10, IPC 10: 30)."""
    initial_learning_rate: float = Field(default=1e-3, gt=0)
    """The student's step size η before any iteration; it is learned (CIFAR-10, IPC 10: 1e-3)."""
    max_start_epoch: int = Field(default=20, ge=1)
    """Students start from expert epochs before this one (CIFAR-10, IPC 10: 20)."""
    experts: RepresentationSpec = RepresentationSpec()
    """How experts train: plain SGD."""

    def expert_needs(self) -> tuple[ExpertNeed, ...]:
        """Plain experts, as far as matching can reach."""
        last = self.max_start_epoch - 1 + self.expert_span
        return (ExpertNeed(spec=self.experts, num_experts=self.num_experts, epochs=last),)

    def work(self, problem: Problem) -> Work:
        """Training the experts that the bank lacks, then two passes over every step."""
        return matching_work(problem, self.expert_needs(), self.iterations, self.batch_size, self.steps, unrolled=True)

    def distill(self, problem: Problem) -> Synthetic:
        """Starts from random real images and matches.

        Raises:
            DistailError: training an expert or matching diverges.
        """
        with problem.expert_bank() as bank:
            train_experts(bank, problem.ground, self.expert_needs())
            phase = RepresentationPhase(
                problem=problem,
                settings=self,
                shelf=shelf_of(bank, problem.ground, self.experts),
                starts=StartEpochs(0, self.max_start_epoch),
                loss=InnerLoss.plain(),
                unrolled=True,
            )
            images = select_real_images(problem, random_choice(problem)).images.to(problem.runtime.device)
            start = Learned(images, None, torch.tensor(self.initial_learning_rate, device=images.device))
            learned = descend(problem, Descent("mtt", self.iterations, self), start, lambda s, i: [(1.0, phase(s, i))])
        return synthetic_of(problem, learned)
