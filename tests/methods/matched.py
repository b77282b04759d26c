"""Trajectory matching methods on the tiny problem, with experts that several tests share."""

from collections.abc import Callable
from typing import Any

import torch

from distail.experts.bank import ExpertBank
from distail.experts.spec import RepresentationSpec
from distail.problem import Problem
from tests.methods.tiny import tiny_problem

EXPERTS = RepresentationSpec(learning_rate=0.05, batch_size=6, weight_decay=5e-3, gsam_rho=0.01, gsam_alpha=0.3)
SMALL: dict[str, Any] = {
    "iterations": 2,
    "steps": 3,
    "num_experts": 2,
    "max_start_epoch": 2,
    "expert_span": 1,
    "image_lr": 10.0,
    "initial_learning_rate": 0.05,
    "experts": EXPERTS,
}
"""Settings that all of them have."""
LABELLED: dict[str, Any] = {"num_label_experts": 2, "expert_epochs": 3}
"""Settings of those that learn labels."""


def watched(bank: ExpertBank, **problem: Any) -> tuple[Problem, list[dict[str, float]]]:
    """A problem with this bank, and the figures that a method logs on it."""
    rows: list[dict[str, float]] = []
    log: Callable[..., None] = lambda step, **figures: rows.append(figures)  # noqa: E731
    return tiny_problem(experts=bank, log=log, **problem), rows


def same(one: Any, other: Any) -> bool:
    """Whether two sets are the same bits, labels and step size included."""
    soft = (one.soft_labels is None) == (other.soft_labels is None)
    if one.soft_labels is not None and other.soft_labels is not None:
        soft = torch.equal(one.soft_labels, other.soft_labels)
    return soft and torch.equal(one.images, other.images) and one.learning_rate == other.learning_rate
