"""DATM, difficulty-aligned trajectory matching: the epochs matched grow with the set, and labels are soft.

Paper: Guo et al., ICLR 2024, arXiv:2310.05773.
Equation: MTT's loss over images, label logits and η; the start epoch is uniform in [min_start_epoch, bound), where the
bound grows from initial_max_start_epoch to max_start_epoch over expansion_end iterations.
Images start as real ones that an expert classifies correctly; labels as the mean logits of the experts that do.
Deviations from the released code: gradients are TESLA's, as in the long-tailed work that builds on it; the released
code has both forms.
Published for CIFAR-10-LT, ConvNet-3, IPC 10/20/50 (the tables of RLDD): imbalance 10: 57.2/60.4/66.7; imbalance 50:
41.6/43.4/50.3; imbalance 100: 37.3/38.9/44.3. The defaults are the released settings for balanced CIFAR-10, IPC 10.
"""

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from distail.experts.bank import Shelf, shelf_of
from distail.experts.school import train_experts
from distail.experts.spec import ExpertNeed, RepresentationSpec
from distail.matching.descent import Descent, Learned, descend, synthetic_of
from distail.matching.losses import InnerLoss
from distail.matching.phases import RepresentationPhase
from distail.matching.settings import CurriculumSettings, MatchingSettings
from distail.matching.turns import StartEpochs
from distail.matching.work import matching_work
from distail.methods._method import Method
from distail.problem import Problem, Synthetic, Work
from distail.synthetic.initial import initial_set


class DATM(MatchingSettings, CurriculumSettings, Method):
    """Trajectory matching with a curriculum of epochs and learned soft labels."""

    paper: ClassVar[str] = "Guo et al., ICLR 2024, arXiv:2310.05773"
    summary: ClassVar[str] = "match early or late epochs as the set's size asks, and learn soft labels"
    stores_soft_labels: ClassVar[bool] = True
    iterations_stand_alone: ClassVar[bool] = True

    iterations: int = Field(default=10_000, ge=0)
    """Updates of the set; 0 returns what the first would start from (paper: 10,000)."""
    label_lr: float = Field(default=2.0, ge=0)
    """SGD step size on the label logits (CIFAR-10, IPC 10 and 50: 2; CIFAR-100: 10)."""
    label_momentum: float = Field(default=0.9, ge=0, lt=1)
    """SGD momentum on the label logits (paper: 0.9)."""
    initial_max_start_epoch: int | None = Field(default=10, ge=1)
    """Where that bound stands in iteration 0; no curriculum when null (CIFAR-10, IPC 10: 10)."""
    threshold: float | None = Field(default=1.0, gt=0)
    """Iterations whose matching loss is larger change nothing; null for no threshold (paper: 1.0 to 1.1)."""
    initial_images: Literal["correct", "random"] = "correct"
    """Real images that an expert classifies correctly, or any (CIFAR-100, IPC 50: random)."""
    expert_epochs: int = Field(default=100, ge=1)
    """Epochs of the experts that choose initial images and labels (paper: 100)."""
    num_label_experts: int = Field(default=100, ge=1)
    """How many experts are trained to the end to label the initial images (paper: all 100)."""
    experts: RepresentationSpec = RepresentationSpec(gsam_rho=0.01, gsam_alpha=0.3)
    """How experts train: GSAM."""

    def expert_needs(self) -> tuple[ExpertNeed, ...]:
        """GSAM experts: all as far as matching can reach, some to the end."""
        return (
            ExpertNeed(
                spec=self.experts,
                num_experts=self.num_experts,
                epochs=self.max_start_epoch - 1 + self.expert_span,
                num_long=self.num_label_experts,
                long_epochs=self.expert_epochs,
            ),
        )

    def work(self, problem: Problem) -> Work:
        """Training the experts that the bank lacks, then two passes over every step."""
        return matching_work(problem, self.expert_needs(), self, self.iterations, label_experts=self.num_label_experts)

    def distill(self, problem: Problem) -> Synthetic:
        """Chooses images and labels by the experts, and matches.

        Raises:
            DistailError: training an expert or matching diverges.
        """
        with problem.expert_bank() as bank:
            train_experts(bank, problem.ground, self.expert_needs())
            shelf = shelf_of(bank, problem.ground, self.experts)
            phase = RepresentationPhase(
                problem=problem,
                settings=self,
                shelf=shelf,
                starts=StartEpochs.of(self),
                loss=InnerLoss.plain(),
            )
            images, labels = initial_set(problem, self._label_experts(shelf), self.initial_images)
            start = Learned(images, labels, torch.tensor(self.initial_learning_rate, device=images.device))
            descent = Descent(
                "datm", self.iterations, self, self.label_lr, self.label_momentum, threshold=self.threshold
            )
            learned = descend(problem, descent, start, lambda s, i: [(1.0, phase(s, i))])
        return synthetic_of(problem, learned)

    def _label_experts(self, shelf: Shelf) -> list[Float[Tensor, " p"]]:
        """Parameters of the finished experts that choose and label the initial images."""
        return [shelf.snapshot(expert, self.expert_epochs) for expert in range(self.num_label_experts)]
