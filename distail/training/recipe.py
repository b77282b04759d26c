"""How a network is trained: optimiser, schedule, augmentation. Imports no torch, so that `--help` stays fast."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from distail.config import Config

LabelProtocol = Literal["hard", "static", "teacher"]
"""hard: class indices; static: soft labels stored in the set; teacher: a network labels every augmented view."""


class TrainRecipe(Config):
    """Supervised training; the defaults are the field's common evaluation of distilled sets.

    Source: Zhao et al., arXiv:2006.05929 and 2102.08259, released evaluation code.
    """

    epochs: int = Field(default=1000, ge=1)
    """Passes over the training set; the step schedule runs one more, as in the released code."""
    batch_size: int = Field(default=256, ge=1)
    """Images a step."""
    learning_rate: float = Field(default=0.01, gt=0)
    """Initial step size of SGD."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of SGD."""
    weight_decay: float = Field(default=5e-4, ge=0)
    """L2 penalty of SGD."""
    schedule: Literal["step", "cosine", "constant"] = "step"
    """step: a tenth after epoch epochs // 2 + 1, momentum reset; cosine: to zero over all steps."""
    warmup: float = Field(default=0.0, ge=0, lt=1)
    """Share of all steps over which the step size first grows evenly from zero."""
    augmentation: str = "color_crop_cutout_flip_scale_rotate"
    """DSA operations joined by '_', or 'none'."""

    @property
    def num_epochs(self) -> int:
        """Epochs actually run: one more than named with the step schedule."""
        return self.epochs + 1 if self.schedule == "step" else self.epochs
