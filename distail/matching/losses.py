"""The loss that a student trains with inside trajectory matching: cross-entropy, plain or aware of the class counts.

Source: Zhao et al., Distilling Long-tailed Datasets (LAD), CVPR 2025: distribution-agnostic matching (DAM).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from distail.errors import DistailError
from distail.training.class_balance import class_shares, log_prior

DAMForm = Literal["weighted", "adjusted", "both"]


@dataclass(frozen=True, eq=False)
class InnerLoss:
    """ℓ = 1/B · Σ_b Σ_k w_k · q_bk · (−log softmax(z_b + s)_k), with z the logits and q the target probabilities.

    Targets are label logits y, which may be learned (q = softmax(y)), or class indices (q = one-hot).

    Attributes:
        weights: w, one a class; None for ones.
        shift: s, one a class, added to the logits of the network; None for zeros.
    """

    weights: Float[Tensor, " k"] | None = None
    shift: Float[Tensor, " k"] | None = None

    @staticmethod
    def plain() -> InnerLoss:
        """Cross-entropy."""
        return InnerLoss()

    @staticmethod
    def distribution_agnostic(counts: Sequence[int], form: DAMForm = "weighted", strength: float = 1.0) -> InnerLoss:
        """DAM: with the class priors π_k = n_k / N the student learns the bias of the experts, so the images need not.

        Args:
            counts: n_k, training images of each class; at least 1 each.
            form: 'weighted' is w = π, which is what the authors' released code runs; 'adjusted' is
                s = −strength · log π, which is what their text describes; 'both' is their optional 'BFLoss'.
            strength: λ of the text; 1 in the released code. 'weighted' does not use it.

        Raises:
            DistailError: there is no class, or a class has no image.

        Source: LAD, CVPR 2025. With equal counts, 'weighted' is cross-entropy divided by the number of classes.
        """
        if not counts or min(counts) < 1:
            raise DistailError(
                f"Distribution-agnostic matching needs at least one training image of every class, not {list(counts)}."
            )
        weights = None if form == "adjusted" else class_shares(counts)
        shift = None if form == "weighted" else -strength * log_prior(counts)
        return InnerLoss(weights, shift)

    def value(
        self,
        logits: Float[Tensor, "b k"],
        targets: Float[Tensor, "b k"] | Int64[Tensor, " b"],
        num_images: int | None = None,
    ) -> Float[Tensor, ""]:
        """ℓ; differentiable.

        Args:
            logits: of the network.
            targets: label logits, or class indices.
            num_images: B, where these rows are only part of a batch; their number where None.
        """
        wanted = self._weighted(logits, targets)  # b k
        return -(wanted * self._shifted(logits).log_softmax(1)).sum() / (num_images or len(logits))

    def residual(
        self,
        logits: Float[Tensor, "b k"],
        targets: Float[Tensor, "b k"] | Int64[Tensor, " b"],
        num_images: int | None = None,
    ) -> Float[Tensor, "b k"]:
        """∂ℓ/∂z = 1/B · (softmax(z + s) · Σ_k w_k q_k − w ⊙ q); differentiable by logits and label logits.

        Args:
            logits: of the network.
            targets: label logits, or class indices.
            num_images: B, where these rows are only part of a batch; their number where None.
        """
        wanted = self._weighted(logits, targets)  # b k
        guessed = self._shifted(logits).softmax(1)
        return (guessed * wanted.sum(1, keepdim=True) - wanted) / (num_images or len(logits))

    def _weighted(self, logits: Tensor, targets: Tensor) -> Tensor:
        """w ⊙ q in the logits' type."""
        if targets.is_floating_point():
            probabilities = targets.softmax(1).to(logits.dtype)
        else:
            probabilities = F.one_hot(targets, logits.shape[1]).to(logits.dtype)
        return probabilities if self.weights is None else probabilities * self.weights.to(logits)

    def _shifted(self, logits: Tensor) -> Tensor:
        return logits if self.shift is None else logits + self.shift.to(logits)
