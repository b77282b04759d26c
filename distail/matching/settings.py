"""Hyper-parameters that all trajectory matching methods share."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from distail.config import Config
from distail.training.recipe import DSA_ALL


class MatchingSettings(Config):
    """Fields alone; what a method does with them is its own."""

    batch_field: ClassVar[str | None] = "batch_size"
    """See `Method`."""
    shares_devices: ClassVar[bool] = True
    """See `Method`."""

    steps: int = Field(default=80, ge=1)
    """Steps of the student in one iteration (MTT: 30; TESLA: 50; DATM and LAD: 80 for CIFAR-10)."""
    batch_size: int = Field(default=500, ge=1)
    """Synthetic images a student's step; larger than the set means all of them."""
    image_lr: float = Field(default=100.0, gt=0)
    """SGD step size on the images (100 to 1000 in most recipes)."""
    image_momentum: float = Field(default=0.5, ge=0, lt=1)
    """SGD momentum on the images (all papers: 0.5)."""
    initial_learning_rate: float = Field(default=0.01, gt=0)
    """The student's step size η before any iteration; it is learned (LAD, DATM: 0.01; MTT for CIFAR-10: 1e-3)."""
    learning_rate_lr: float = Field(default=1e-5, ge=0)
    """SGD step size on η; 0 keeps η as it is (CIFAR recipes: 1e-5 to 1e-7)."""
    learning_rate_momentum: float = Field(default=0.5, ge=0, lt=1)
    """SGD momentum on η (all papers: 0.5)."""
    expert_span: int = Field(default=2, ge=1)
    """Expert epochs between the student's start and its target, M (2 in almost every recipe)."""
    experts_per_iteration: int = Field(default=1, ge=1)
    """Experts matched in an iteration, whose gradients are averaged (all papers: 1); devices can share them out."""
    num_experts: int = Field(default=100, ge=1)
    """Experts whose trajectories are matched, in shuffled turns (all papers: 100)."""
    augmentation: str = DSA_ALL
    """DSA operations on the synthetic images in the student's steps, one parameter an image, or 'none'."""
    engine: Literal["fast", "plain"] = "fast"
    """plain: eager double backward, slow and simple, to check the other against."""
    snapshot_every: int = Field(default=0, ge=0)
    """Iterations between two sets kept in the run folder for learning curves; 0 keeps none."""


class CurriculumSettings(Config):
    """Fields of the methods that choose between early and late expert epochs.

    Source: Guo et al., DATM, arXiv:2310.05773.
    """

    min_start_epoch: int = Field(default=0, ge=0)
    """First expert epoch that students start from (CIFAR-10: 0)."""
    max_start_epoch: int = Field(default=20, ge=1)
    """Students start from expert epochs before this one (CIFAR-10, IPC 10: 20; larger sets: 40)."""
    initial_max_start_epoch: int | None = Field(default=None, ge=1)
    """Where that bound stands in iteration 0; no curriculum when null."""
    expansion_end: int = Field(default=1000, ge=1)
    """Iteration in which the bound has grown to max_start_epoch (1,000 or 2,000)."""

    @model_validator(mode="after")
    def _ordered(self) -> CurriculumSettings:
        bounds = (self.min_start_epoch + 1, self.initial_max_start_epoch or self.max_start_epoch, self.max_start_epoch)
        if list(bounds) != sorted(bounds):
            raise ValueError(
                "start epochs must satisfy min_start_epoch < initial_max_start_epoch <= max_start_epoch, not "
                f"{self.min_start_epoch}, {self.initial_max_start_epoch} and {self.max_start_epoch}"
            )
        return self
