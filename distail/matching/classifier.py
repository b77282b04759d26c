"""Trajectory matching of a student that trains only the classifier, on a frozen backbone: the second phase of LAD.

The classifier's gradient has a closed form on features, ∇W ℓ = rᵀφ and ∇b ℓ = Σ r, and the features of a frozen
backbone have no tangent. So a step costs one forward pass, and later one forward and one reverse pass to the images.
Features are computed again for that, because keeping those of every step would let the memory grow with the steps.

Source: Zhao et al., Distilling Long-tailed Datasets (LAD), CVPR 2025, phase 2; their released loop takes the gradient
of the whole network and zeroes the backbone's part, which gives the same numbers.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from distail.matching.functional import FlatNetwork
from distail.matching.sweep import InnerLoop, MatchingGradients, sweep
from distail.matching.trainable import (
    Batch,
    DirectionalGradients,
    LossGradient,
    collected,
    joined,
    linear,
    reverse,
    total,
)


def match_classifier(
    network: FlatNetwork,
    loop: InnerLoop,
    start: Float[Tensor, " p"],
    target: Float[Tensor, " p"],
    *,
    unrolled: bool = False,
) -> MatchingGradients:
    """How the synthetic set should change so that a classifier trained on it comes closer to the expert's.

    The distance is that of the classifier's weight and bias; the backbone is that of `start` throughout.

    Args:
        network: the expert's architecture.
        loop: what the student trains on, and how; LAD takes plain cross-entropy.
        start, target: parameters of the whole network at two snapshots of a classifier expert, on the device and of
            the images' type; the target's backbone is not read.
        unrolled: the exact gradient through all steps; else TESLA's, which LAD takes.

    Raises:
        DistailError: start equals target in the classifier, or is not finite.
    """
    first = network.classifier_start
    return sweep(FrozenBackbone(network, start), loop, start[first:], target[first:], None, unrolled)


class FrozenBackbone:
    """A `Trainable` of the classifier alone, on a backbone that never changes.

    Args:
        network: the whole network.
        parameters: of the whole network; the classifier's part is ignored.
    """

    def __init__(self, network: FlatNetwork, parameters: Float[Tensor, " p"]) -> None:
        self._backbone = network.backbone
        *self._frozen, weight, _ = network.layout.split(parameters.detach())
        self._weight_shape = weight.shape

    def gradient(self, parameters: Float[Tensor, " p"], batch: Batch) -> LossGradient:
        """See `Trainable`: in closed form, ∇W ℓ = rᵀφ and ∇b ℓ = Σ r."""
        classifier = self._split(parameters.detach())

        def part(rows: slice) -> tuple[Tensor, Tensor]:
            own = batch.part(rows)
            with torch.no_grad():
                features = self._backbone.features([*self._frozen, *classifier], own.images)
                features = features.to(parameters.dtype)  # b f
                logits = linear(features, classifier)
                residual = own.residual(logits)  # b k
                return own.value(logits), joined([residual.T @ features, residual.sum(0)])

        values, gradients = zip(*self._backbone.map_parts(part, len(batch.images)), strict=True)
        return LossGradient(total(values), total(gradients))

    def directional_gradients(
        self, parameters: Float[Tensor, " p"], direction: Float[Tensor, " p"], batch: Batch, *, wrt_parameters: bool
    ) -> DirectionalGradients:
        """See `Trainable`: the features have no tangent, so this is a forward and a reverse pass."""
        classifier, along = self._split(parameters.detach()), self._split(direction.detach())

        def part(rows: slice) -> DirectionalGradients:
            with torch.enable_grad():
                own = batch.part(rows).leaves()
                leaves = [piece.detach().requires_grad_(wrt_parameters) for piece in classifier]
                features = self._backbone.features([*self._frozen, *leaves], own.images)
                residual = own.residual(linear(features, leaves))  # b k
                return reverse((residual * linear(features, along)).sum(), own, leaves)

        return collected(self._backbone.map_parts(part, len(batch.images)))

    def _split(self, classifier: Tensor) -> tuple[Tensor, Tensor]:
        weight, bias = classifier.split([self._weight_shape.numel(), self._weight_shape[0]])
        return weight.view(self._weight_shape), bias
