"""How experts are trained, which tells one kind from another. Imports no torch, so that `--help` stays fast."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from distail.config import Config
from distail.training.recipe import DSA_ALL


class RepresentationSpec(Config):
    """A whole network, trained on the long-tailed images as they come; a snapshot before training and after each epoch.

    SGD without momentum at a constant step size, so that training longer only appends snapshots.

    Source: Zhao et al., arXiv:2408.14506, released configurations (weight decay, GSAM); Cazenavette et al.,
        arXiv:2203.11932 (plain experts: no weight decay, no GSAM).
    """

    kind: Literal["representation"] = "representation"
    """What is trained."""
    learning_rate: float = Field(default=0.01, gt=0)
    """Step size of SGD (all papers: 0.01)."""
    batch_size: int = Field(default=256, ge=1)
    """Images a step (all papers: 256)."""
    weight_decay: float = Field(default=0.0, ge=0)
    """L2 penalty (LAD: 5e-3, the "weight balancing" of long-tailed learning; others: 0)."""
    gsam_rho: float = Field(default=0.0, ge=0)
    """Radius of the sharpness-aware step; 0 is plain SGD (FTD, DATM, LAD: 0.01)."""
    gsam_alpha: float = Field(default=0.0, ge=0)
    """How much of the gradient across the sharpness-aware one is taken away (DATM, LAD: 0.3; FTD: 0.4)."""
    augmentation: str = DSA_ALL
    """DSA operations, one parameter an image, or 'none'."""
    seed: int = 0
    """Source of initial weights, batches and augmentation; apart from a run's seed, so that runs share experts."""


class ClassifierSpec(Config):
    """The last layer alone, trained with every class equally often on top of a finished representation expert.

    Source: Zhao et al., arXiv:2408.14506, released configurations; Kang et al., arXiv:1910.09217 (class-aware
        sampling); Alshammari et al., arXiv:2203.14197 (MaxNorm); Cui et al., arXiv:1901.05555 (class-balanced loss).
    """

    kind: Literal["classifier"] = "classifier"
    """What is trained."""
    base: RepresentationSpec = RepresentationSpec(weight_decay=5e-3, gsam_rho=0.01, gsam_alpha=0.3)
    """The representation experts whose backbones are frozen; expert i stands on expert i."""
    base_epochs: int = Field(default=100, ge=1)
    """Epochs that those were trained for (LAD: 100)."""
    learning_rate: float = Field(default=0.01, gt=0)
    """Step size of SGD (LAD: 0.01)."""
    batch_size: int = Field(default=256, ge=1)
    """Images a step (LAD: 256)."""
    weight_decay: float = Field(default=0.0, ge=0)
    """L2 penalty (LAD: 0)."""
    gsam_rho: float = Field(default=0.01, ge=0)
    """Radius of the sharpness-aware step; 0 is plain SGD (LAD: 0.01)."""
    gsam_alpha: float = Field(default=0.3, ge=0)
    """How much of the gradient across the sharpness-aware one is taken away (LAD: 0.3)."""
    augmentation: str = DSA_ALL
    """DSA operations, one parameter an image, or 'none'."""
    images_per_visit: int = Field(default=4, ge=1)
    """Images taken from a class each time its turn comes (LAD: 4)."""
    loss: Literal["cross_entropy", "class_balanced"] = "cross_entropy"
    """class_balanced weighs class c by (1 - β) / (1 - β^n_c), scaled to mean 1 (LAD: offered, but off)."""
    beta: float = Field(default=0.9999, ge=0, lt=1)
    """β of the class-balanced loss."""
    max_norm: float | None = Field(default=None, ge=0)
    """Rows of the weight longer than min + max_norm·(max - min) of their initial lengths are shortened to that after
    each step; nothing when omitted (LAD: 0.1 in the configuration, but its released code never applies it)."""


ExpertSpec = Annotated[RepresentationSpec | ClassifierSpec, Field(discriminator="kind")]
"""Either kind."""


class ExpertNeed(Config):
    """What a method asks of the bank.

    The long ones and the short ones are the same experts: the first `num_long` are trained for `long_epochs`.
    """

    spec: ExpertSpec
    """Which experts."""
    num_experts: int = Field(ge=1)
    """How many."""
    epochs: int = Field(ge=0)
    """Last epoch whose snapshot is needed."""
    num_long: int = Field(default=0, ge=0)
    """How many of them are needed for longer."""
    long_epochs: int = Field(default=0, ge=0)
    """Last epoch needed of those."""

    def epochs_of(self, expert: int) -> int:
        """Epochs that one expert is needed for; -1 where it is not needed at all."""
        short = self.epochs if expert < self.num_experts else -1
        return max(short, self.long_epochs) if expert < self.num_long else short

    def lasting(self, epochs: int) -> ExpertNeed:
        """The same with every representation expert trained for at least so many epochs."""
        if isinstance(self.spec, ClassifierSpec):
            return self
        return self.model_copy(update={"epochs": max(self.epochs, epochs)})

    @property
    def total(self) -> int:
        """Experts needed, long or short."""
        return max(self.num_experts, self.num_long)
