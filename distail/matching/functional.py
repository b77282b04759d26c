"""A whole network as a function of one flat vector of parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from distail.matching.backbone import Backbone
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
from distail.models import Network
from distail.models.flat import FlatLayout
from distail.runtime import Runtime


class FlatNetwork:
    """A `Trainable` of all parameters of a network in the order of `network.parameters()`, which ends in the
    classifier's weight and bias.

    ConvNets without batch normalisation go by tangents; all others by the reverse of a reverse pass. Results are the
    same bits on any number of CPU threads where a network goes by tangents.

    Args:
        network: gives the architecture; its own parameters are never read again, and it is never changed.
        runtime: where and how precisely to compute. With 'bf16' the backbone runs in bf16; the parameters, the
            classifier and the loss keep the type of the vectors.
        frozen_statistics: batch normalisation takes the network's running statistics and never those of a batch.
    """

    def __init__(self, network: Network, runtime: Runtime, *, frozen_statistics: bool = False) -> None:
        self.network = network
        self.runtime = runtime
        self.layout = FlatLayout.of(network)
        self.backbone = Backbone(network, runtime, frozen_statistics=frozen_statistics)

    @property
    def size(self) -> int:
        """Length of the vector."""
        return self.layout.size

    @property
    def classifier_start(self) -> int:
        """Where the classifier's part of the vector begins; it reaches to the end."""
        return self.layout.classifier_start

    def plain_logits(self, parameters: Float[Tensor, " p"], images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k"]:
        """Logits by the network's own layers; differentiable any number of times, and slow.

        Args:
            parameters: the whole vector; may carry a graph.
            images: augmented, on the device.
        """
        pieces = self.layout.split(parameters)
        return linear(self.backbone.plain_features(pieces, images), pieces)

    def gradient(self, parameters: Float[Tensor, " p"], batch: Batch) -> LossGradient:
        """See `Trainable`."""
        pieces = self.layout.split(parameters.detach())

        def part(rows: slice) -> tuple[Tensor, Tensor]:
            own = batch.part(rows)
            with torch.enable_grad():
                leaves = [piece.detach().requires_grad_() for piece in pieces]
                logits = linear(self.backbone.features(leaves, own.images), leaves)  # b k
            with torch.no_grad():
                value, residual = own.value(logits), own.residual(logits)
            gradients = torch.autograd.grad(logits, leaves, residual, materialize_grads=True)
            return value, joined(gradients)

        values, gradients = zip(*self.backbone.map_parts(part, len(batch.images)), strict=True)
        return LossGradient(total(values), total(gradients))

    def directional_gradients(
        self, parameters: Float[Tensor, " p"], direction: Float[Tensor, " p"], batch: Batch, *, wrt_parameters: bool
    ) -> DirectionalGradients:
        """See `Trainable`."""
        pieces = self.layout.split(parameters.detach())
        along = self.layout.split(direction.detach())
        value_along = self._along_by_tangents if self.backbone.has_tangents else self._along_by_gradient

        def part(rows: slice) -> DirectionalGradients:
            with torch.enable_grad():
                own = batch.part(rows).leaves()
                leaves = [piece.detach().requires_grad_(wrt_parameters) for piece in pieces]
                return reverse(value_along(leaves, along, own), own, leaves)

        return collected(self.backbone.map_parts(part, len(batch.images)))

    def _along_by_tangents(self, leaves: Sequence[Tensor], along: Sequence[Tensor], batch: Batch) -> Tensor:
        """⟨v, ∇θ ℓ⟩ = Σ r ⊙ ż, with its graph."""
        features, tangent = self.backbone.tangent_features(leaves, along, batch.images)
        tangent = F.linear(tangent.to(leaves[-1].dtype), leaves[-2]) + linear(features, along)  # b k
        return (batch.residual(linear(features, leaves)) * tangent).sum()

    def _along_by_gradient(self, leaves: Sequence[Tensor], along: Sequence[Tensor], batch: Batch) -> Tensor:
        """The same by the gradient itself, with the graph of its computation."""
        leaves = [leaf if leaf.requires_grad else leaf.detach().requires_grad_() for leaf in leaves]
        value = batch.value(linear(self.backbone.plain_features(leaves, batch.images), leaves))
        gradients = torch.autograd.grad(value, leaves, create_graph=True, materialize_grads=True)
        return torch.stack([(g * v).sum() for g, v in zip(gradients, along, strict=True)]).sum()
