"""Which teacher: a baseline, its settings, the network and how it is trained. Imports no torch."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from distail.config import Config


class TeacherSpec(Config):
    """A network that is trained on all the long-tailed images by one of the baselines."""

    baseline: str = "cross_entropy"
    """How it copes with the long tail; `distail baselines` lists the ways."""
    settings: dict[str, Any] = {}
    """Hyper-parameters of the baseline that differ from its defaults."""
    architecture: str | None = None
    """The network; the problem's own with batch norm when null."""
    train: dict[str, Any] = {}
    """What differs from how the baseline trains networks by default; keys of `TrainRecipe`."""
    seed: int = Field(default=0, ge=0)
    """Source of its randomness; apart from a run's seed, so that runs share teachers."""


SRE2L_TEACHER = TeacherSpec(
    train={
        "epochs": 200,
        "batch_size": 128,
        "learning_rate": 0.1,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "schedule": "cosine",
        "warmup": 0.0,
        "augmentation": "crop+flip",
    }
)
"""Plain training, as SRe2L trains networks for CIFAR (arXiv:2306.13092, released code)."""
