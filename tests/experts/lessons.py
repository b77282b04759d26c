"""Small experts, trained in a blink."""

from typing import Any

from torch import Tensor

from distail.experts.bank import Shelf
from distail.experts.ground import ExpertGround
from distail.experts.spec import ClassifierSpec, ExpertNeed, ExpertSpec, RepresentationSpec
from tests.methods.tiny import tiny_problem

PLAIN = RepresentationSpec(learning_rate=0.05, batch_size=6)
FLAT = RepresentationSpec(learning_rate=0.05, batch_size=6, weight_decay=5e-3, gsam_rho=0.05, gsam_alpha=0.3)


def ground(**problem: Any) -> ExpertGround:
    return tiny_problem(**problem).ground


def on(base: RepresentationSpec = FLAT, **changes: Any) -> ClassifierSpec:
    """Classifier experts on representation experts of two epochs."""
    return ClassifierSpec(**{"base": base, "base_epochs": 2, "learning_rate": 0.1, "batch_size": 8, **changes})


def need(spec: ExpertSpec, epochs: int, num_experts: int = 1, **long: int) -> ExpertNeed:
    return ExpertNeed(spec=spec, num_experts=num_experts, epochs=epochs, **long)


def trajectory(shelf: Shelf, expert: int = 0) -> list[Tensor]:
    """All snapshots of an expert, the untrained one first."""
    return [shelf.snapshot(expert, epoch) for epoch in range(shelf.num_epochs(expert) + 1)]
