"""Changes of a linear classifier that change each class' logit alike for every image; exact."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from distail.models.saved import SavedNetwork


@torch.no_grad()
def scale_logits(classifier: nn.Linear, factors: Float[Tensor, " k"]) -> None:
    """Multiplies each class' logit, in place: its row of the weight, and its bias."""
    factors = factors.to(classifier.weight)
    classifier.weight.mul_(factors[:, None])
    classifier.bias.mul_(factors)


@torch.no_grad()
def shift_logits(classifier: nn.Linear, shift: Float[Tensor, " k"]) -> None:
    """Adds to each class' logit, in place."""
    classifier.bias.add_(shift.to(classifier.bias))


def with_shifted_logits(
    saved: SavedNetwork, shift: Float[Tensor, " k"], *, who: str, provenance: dict[str, Any]
) -> SavedNetwork:
    """A copy of a network that adds to each class' logit.

    Args:
        shift: one number a class.
        who: what shifts, to begin a message with.
        provenance: what is added to the network's own.

    Raises:
        DistailError: its classifier is not linear.
    """
    network = deepcopy(saved.network)
    network.require_linear_classifier(who)
    shift_logits(network.classifier, shift)
    return replace(saved, network=network, provenance={**saved.provenance, **provenance})
