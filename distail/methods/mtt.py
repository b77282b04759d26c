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

from pydantic import Field

from distail.experts.spec import ExpertNeed, RepresentationSpec
from distail.matching.descent import Descent, synthetic_of
from distail.matching.settings import MatchingSettings
from distail.matching.work import matching_work
from distail.methods._method import Method
from distail.problem import Problem, Synthetic, Work
from distail.synthetic.trajectories import experts_in_reach, match_from_random_images


class MTT(MatchingSettings, Method):
    """Matching training trajectories, with hard labels."""

    paper: ClassVar[str] = "Cazenavette et al., CVPR 2022, arXiv:2203.11932"
    summary: ClassVar[str] = "match the training trajectories of experts, with the exact gradient"
    iterations_stand_alone: ClassVar[bool] = True

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
        return (experts_in_reach(self, self.experts, self.max_start_epoch),)

    def work(self, problem: Problem) -> Work:
        """Training the experts that the bank lacks, then two passes over every step."""
        return matching_work(problem, self.expert_needs(), self, self.iterations, unrolled=True)

    def distill(self, problem: Problem) -> Synthetic:
        """Starts from random real images and matches.

        Raises:
            DistailError: training an expert or matching diverges.
        """
        descent = Descent("mtt", self.iterations, self)
        with problem.expert_bank() as bank:
            learned = match_from_random_images(
                problem, bank, self.experts, self.max_start_epoch, descent, unrolled=True
            )
        return synthetic_of(problem, learned)
