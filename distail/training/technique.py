"""`Technique`: in what training departs from shuffled batches and the recipe's loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from distail.models.network import Network

Batches = Callable[[int, torch.Generator], Sequence[Tensor]]
"""From the epoch and its generator to the positions of each batch's images; positions may repeat."""

Loss = Callable[[Tensor, Tensor, int], Tensor]
"""From logits, targets and the epoch to the sum, not the mean, of the images' losses: threads share a batch."""


def cross_entropy(
    logits: Float[Tensor, "b k"], targets: Float[Tensor, "b k"] | Int64[Tensor, " b"], epoch: int
) -> Float[Tensor, ""]:
    """Cross-entropy, summed over the images; the epoch does not matter."""
    return F.cross_entropy(logits, targets, reduction="sum")


@dataclass(frozen=True)
class Technique:
    """What differs from plain training; by default nothing.

    Attributes:
        batches: which images each epoch looks at; all of them once, shuffled, when None.
        loss: what is minimised, averaged over the batch; the recipe's loss when None.
        takes_shares: whether `loss` also takes each class' share of an image, as mixed images have them.
        after_step: called with the network after each step, such as to keep weights within bounds.
        classifier_only: whether everything but the classifier stays as it is, running statistics included.
    """

    batches: Batches | None = None
    loss: Loss | None = None
    takes_shares: bool = False
    after_step: Callable[[Network], None] | None = None
    classifier_only: bool = False


PLAIN = Technique()
"""Shuffled batches and the recipe's loss."""
