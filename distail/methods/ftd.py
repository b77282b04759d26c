"""FTD, flat trajectory distillation: MTT with experts that keep to flat regions, and a moving average of the images.

Paper: Du et al., CVPR 2023, arXiv:2211.11004.
Equation: MTT's loss; experts take GSAM steps, so that errors which the student's path gathers matter less.
Deviations from the released code: the moving average alone is returned, where the released evaluation scores it and
also the raw images (`ema_decay: 0` returns those).
Published for balanced CIFAR-10, ConvNet-3, IPC 1/10/50: 46.8/66.6/73.8. No long-tailed number is published.
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


class FTD(MatchingSettings, Method):
    """Matching flat training trajectories, with hard labels."""

    paper: ClassVar[str] = "Du et al., CVPR 2023, arXiv:2211.11004"
    summary: ClassVar[str] = "match the trajectories of experts that prefer flat regions"
    iterations_stand_alone: ClassVar[bool] = True

    iterations: int = Field(default=5000, ge=0)
    """Updates of the set; 0 returns what the first would start from (released code: 5,000)."""
    steps: int = Field(default=30, ge=1)
    """Steps of the student in one iteration (CIFAR-10, IPC 10: 30)."""
    initial_learning_rate: float = Field(default=1e-3, gt=0)
    """The student's step size η before any iteration; it is learned (CIFAR-10, IPC 10: 1e-3)."""
    max_start_epoch: int = Field(default=20, ge=1)
    """Students start from expert epochs before this one (CIFAR-10, IPC 10: 20)."""
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    """Decay of the moving average of the images (released code: 0.999, or 0.9995); 0 returns the images themselves."""
    experts: RepresentationSpec = RepresentationSpec(gsam_rho=0.01, gsam_alpha=0.4)
    """How experts train: GSAM."""

    def expert_needs(self) -> tuple[ExpertNeed, ...]:
        """GSAM experts, as far as matching can reach."""
        return (experts_in_reach(self, self.experts, self.max_start_epoch),)

    def work(self, problem: Problem) -> Work:
        """Training the experts that the bank lacks, then two passes over every step."""
        return matching_work(problem, self.expert_needs(), self, self.iterations, unrolled=True)

    def distill(self, problem: Problem) -> Synthetic:
        """Starts from random real images and matches.

        Raises:
            DistailError: training an expert or matching diverges.
        """
        descent = Descent("ftd", self.iterations, self, ema_decay=self.ema_decay)
        with problem.expert_bank() as bank:
            learned = match_from_random_images(
                problem, bank, self.experts, self.max_start_epoch, descent, unrolled=True
            )
        return synthetic_of(problem, learned)
