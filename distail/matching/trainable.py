"""What an inner loop trains: a vector of parameters with the gradient of its loss, and the gradients of that gradient's
product with a vector.

With g = ∇θ ℓ and a fixed vector v, ⟨v, g⟩ is the derivative of ℓ along v: Σ r ⊙ ż, where r = ∂ℓ/∂z and ż is the
derivative of the logits z along v. So ∂⟨v, g⟩/∂x takes one forward pass that carries tangents and one reverse pass, not
the reverse of a reverse pass, and no gradient of weights.

Source: Pearlmutter, Fast exact multiplication by the Hessian, Neural Computation 1994 (the tangent pass).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from distail.matching.losses import InnerLoss


@dataclass(frozen=True, eq=False)
class Batch:
    """What a student sees in one step, or a part of it.

    Attributes:
        images: augmented, on the device.
        targets: label logits, or class indices.
        loss: ℓ, a mean over `num_images`.
        num_images: of the whole step.
    """

    images: Float[Tensor, "b c h w"]
    targets: Float[Tensor, "b k"] | Int64[Tensor, " b"]
    loss: InnerLoss
    num_images: int

    def part(self, rows: slice) -> Batch:
        """Some of the images, whose losses add up to that of the step."""
        return Batch(self.images[rows], self.targets[rows], self.loss, self.num_images)

    def leaves(self) -> Batch:
        """The same images and label logits as leaves of a new graph; class indices as they are."""
        targets = self.targets.detach().requires_grad_(self.targets.is_floating_point())
        return Batch(self.images.detach().requires_grad_(), targets, self.loss, self.num_images)

    def value(self, logits: Float[Tensor, "b k"]) -> Float[Tensor, ""]:
        """ℓ of these images."""
        return self.loss.value(logits, self.targets, self.num_images)

    def residual(self, logits: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
        """r = ∂ℓ/∂z."""
        return self.loss.residual(logits, self.targets, self.num_images)


@dataclass(frozen=True, eq=False)
class LossGradient:
    """A loss and its gradient.

    Attributes:
        value: ℓ.
        parameters: ∇θ ℓ.
    """

    value: Float[Tensor, ""]
    parameters: Float[Tensor, " p"]


@dataclass(frozen=True, eq=False)
class DirectionalGradients:
    """⟨v, ∇θ ℓ⟩ and its gradients.

    Attributes:
        derivative: ⟨v, ∇θ ℓ⟩.
        images: its gradient by the images.
        labels: its gradient by the label logits; None for class indices.
        parameters: its gradient by the parameters, which is the Hessian times v; None unless asked for.
    """

    derivative: Float[Tensor, ""]
    images: Float[Tensor, "b c h w"]
    labels: Float[Tensor, "b k"] | None
    parameters: Float[Tensor, " p"] | None


@runtime_checkable
class Trainable(Protocol):
    """What an inner loop trains: a vector of parameters."""

    def gradient(self, parameters: Float[Tensor, " p"], batch: Batch) -> LossGradient:
        """The loss of a batch and its gradient by the parameters, of which no graph is kept."""
        ...

    def directional_gradients(
        self, parameters: Float[Tensor, " p"], direction: Float[Tensor, " p"], batch: Batch, *, wrt_parameters: bool
    ) -> DirectionalGradients:
        """⟨direction, ∇θ ℓ⟩ and its gradients by images, label logits and, if asked for, parameters.

        Args:
            parameters: where; no graph is kept.
            direction: v.
            batch: of one step.
            wrt_parameters: also by the parameters, which costs about the time of `gradient` more.
        """
        ...


def reverse(derivative: Float[Tensor, ""], batch: Batch, leaves: Sequence[Tensor]) -> DirectionalGradients:
    """Gradients of ⟨v, ∇θ ℓ⟩ by the leaves of its graph.

    Args:
        derivative: ⟨v, ∇θ ℓ⟩, or a part of the batch's sum.
        batch: from `Batch.leaves`.
        leaves: parameters; those that require a gradient get one.
    """
    wanted = [leaf for leaf in (batch.images, batch.targets, *leaves) if leaf.requires_grad]
    images, *rest = torch.autograd.grad(derivative, wanted, materialize_grads=True)
    of_labels = rest.pop(0) if batch.targets.requires_grad else None
    return DirectionalGradients(derivative.detach(), images, of_labels, joined(rest) if rest else None)


def collected(parts: Sequence[DirectionalGradients]) -> DirectionalGradients:
    """Those of the whole batch: sums over its parts in order, or the parts side by side."""
    labels = [part.labels for part in parts if part.labels is not None]
    parameters = [part.parameters for part in parts if part.parameters is not None]
    return DirectionalGradients(
        derivative=total([part.derivative for part in parts]),
        images=torch.cat([part.images for part in parts]),
        labels=torch.cat(labels) if labels else None,
        parameters=total(parameters) if parameters else None,
    )


def linear(features: Float[Tensor, "b f"], parameters: Sequence[Tensor]) -> Float[Tensor, "b k"]:
    """The classifier, whose weight and bias are the last two of `parameters`, in their floating-point type."""
    return F.linear(features.to(parameters[-1].dtype), parameters[-2], parameters[-1])


def joined(pieces: Sequence[Tensor]) -> Float[Tensor, " p"]:
    """One flat vector of all the pieces."""
    return torch.cat([piece.flatten() for piece in pieces])


def total(parts: Sequence[Tensor]) -> Tensor:
    """A sum in order, which is the same bits whichever part was ready first."""
    result = parts[0]
    for part in parts[1:]:
        result = result + part
    return result
