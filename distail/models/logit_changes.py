"""Changes of a linear classifier that change each class' logit alike for every image; exact and in place."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


@torch.no_grad()
def scale_logits(classifier: nn.Linear, factors: Float[Tensor, " k"]) -> None:
    """Multiplies each class' logit: its row of the weight, and its bias."""
    factors = factors.to(classifier.weight)
    classifier.weight.mul_(factors[:, None])
    classifier.bias.mul_(factors)


@torch.no_grad()
def shift_logits(classifier: nn.Linear, shift: Float[Tensor, " k"]) -> None:
    """Adds to each class' logit."""
    classifier.bias.add_(shift.to(classifier.bias))
