"""The gradient of the trajectory matching loss by synthetic images, labels and learning rate.

The student takes steps θ_{i+1} = θ_i − η g_i with g_i = ∇θ ℓ(A_i(X[idx_i]), Y[idx_i]; θ_i), and the loss is
L = ‖m ⊙ (θ_N − θ*)‖² / ‖m ⊙ (θ_0 − θ*)‖² for the matched parameters m. With λ = ∂L/∂θ_N:

    TESLA      every θ_i is held constant: ∂L/∂X_i = −η ∂⟨λ, g_i⟩/∂X_i, and ∂L/∂η = −Σ ⟨λ, g_i⟩
    unrolled   from the last step to the first: ∂L/∂X_i = −η ∂⟨λ_{i+1}, g_i⟩/∂X_i, ∂L/∂η = −Σ ⟨λ_{i+1}, g_i⟩ and
               λ_i = λ_{i+1} − η ∂⟨λ_{i+1}, g_i⟩/∂θ, from λ_N = λ

A first pass keeps θ_i of every step and nothing else; the second differentiates one step at a time. So the memory of
activations does not grow with the number of steps, not even for the unrolled form, which is the exact gradient.

Source: Cazenavette et al., CVPR 2022, arXiv:2203.11932 (the loss); Cui et al., ICML 2023, arXiv:2211.10586 (TESLA).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from distail.data.augment import DSA
from distail.errors import DistailError
from distail.matching.losses import InnerLoss
from distail.matching.steps import Step, Steps
from distail.matching.trainable import Batch, DirectionalGradients, Trainable


@dataclass(frozen=True, eq=False)
class MatchingGradients:
    """The trajectory matching loss and its gradients, before any augmentation.

    Attributes:
        loss: squared distance to the target, relative to that of the start. 0 is a perfect match; 1 is a student
            that never moved. Dimensionless.
        images: gradient by the synthetic images; zero for those that no step used.
        labels: gradient by the label logits; None for class indices.
        learning_rate: gradient by the student's learning rate.
    """

    loss: float
    images: Float[Tensor, "n c h w"]
    labels: Float[Tensor, "n k"] | None
    learning_rate: Float[Tensor, ""]


@dataclass(frozen=True, eq=False)
class InnerLoop:
    """What a student trains on.

    Attributes:
        images: the synthetic set, in preprocessed space, on the device.
        targets: label logits, or class indices.
        learning_rate: η.
        steps: the plan.
        augment: what the plan's augmentations were drawn from.
        loss: ℓ.
    """

    images: Float[Tensor, "n c h w"]
    targets: Float[Tensor, "n k"] | Int64[Tensor, " n"]
    learning_rate: Float[Tensor, ""]
    steps: Steps
    augment: DSA
    loss: InnerLoss

    def batch(self, indices: Int64[Tensor, " b"], views: Float[Tensor, "b c h w"]) -> Batch:
        """What the student sees in a step: augmented views of these images."""
        return Batch(views, self.targets[indices], self.loss, len(views))


def sweep(
    student: Trainable,
    loop: InnerLoop,
    start: Float[Tensor, " p"],
    target: Float[Tensor, " p"],
    matched: Bool[Tensor, " p"] | None,
    unrolled: bool,
) -> MatchingGradients:
    """Both passes.

    Args:
        student: gives the gradients of one step.
        loop: what it trains on.
        start, target: parameters of the expert where the student begins, and where it should arrive.
        matched: which parameters count in the distance; None for all.
        unrolled: the exact gradient; else TESLA's.

    Raises:
        DistailError: start equals target, so the relative distance is undefined.
    """
    scale = scale_of(start, target, matched)
    rate = loop.learning_rate.detach()
    points = train(student, loop, start.detach())
    gap = masked(points.pop() - target, matched)
    direction = 2 * gap / scale  # λ
    images = torch.zeros_like(loop.images)
    labels = torch.zeros_like(loop.targets) if loop.targets.is_floating_point() else None
    learning_rate = torch.zeros_like(rate)
    for step in reversed(loop.steps.steps):
        # The first step's θ is the expert's, so nothing asks for the adjoint there.
        goes_on = unrolled and len(points) > 1
        part = _differentiate(student, loop, step, points.pop(), direction, goes_on)
        indices = step.indices.to(images.device)
        images[indices] -= rate * part.images
        if labels is not None and part.labels is not None:
            labels[indices] -= rate * part.labels
        learning_rate = learning_rate - part.derivative
        if part.parameters is not None:
            direction = direction - rate * part.parameters
    return MatchingGradients(float(gap.square().sum() / scale), images, labels, learning_rate)


def scale_of(
    start: Float[Tensor, " p"], target: Float[Tensor, " p"], matched: Bool[Tensor, " p"] | None
) -> Float[Tensor, ""]:
    """‖m ⊙ (θ_0 − θ*)‖², what the loss is relative to.

    Raises:
        DistailError: it is zero or not finite.
    """
    scale = masked(start - target, matched).square().sum()
    if not bool(scale > 0) or not bool(scale.isfinite()):
        raise DistailError(
            f"The expert's parameters moved by {float(scale.sqrt())} between start and target, so the distance to the "
            "target is undefined. Choose snapshots further apart, and check that the expert trained at all."
        )
    return scale


def masked(vector: Float[Tensor, " p"], matched: Bool[Tensor, " p"] | None) -> Float[Tensor, " p"]:
    """`vector` with zeros where `matched` is false."""
    return vector if matched is None else vector * matched


@torch.no_grad()
def train(student: Trainable, loop: InnerLoop, start: Float[Tensor, " p"]) -> list[Tensor]:
    """The first pass: [θ_0, …, θ_N]."""
    points = [start]
    for step in loop.steps.steps:
        indices = step.indices.to(loop.images.device)
        views = step.views(loop.images[indices].detach(), loop.augment)
        gradient = student.gradient(points[-1], loop.batch(indices, views)).parameters
        points.append(points[-1] - loop.learning_rate.detach() * gradient)
    return points


def _differentiate(
    student: Trainable, loop: InnerLoop, step: Step, at: Tensor, direction: Tensor, wrt_parameters: bool
) -> DirectionalGradients:
    """⟨direction, g⟩ of one step and its gradients, those by images before the augmentation."""
    indices = step.indices.to(loop.images.device)
    with torch.enable_grad():
        pixels = loop.images[indices].detach().requires_grad_()
        views = step.views(pixels, loop.augment)
    batch = loop.batch(indices, views.detach())
    part = student.directional_gradients(at, direction, batch, wrt_parameters=wrt_parameters)
    (images,) = torch.autograd.grad(views, pixels, part.images)
    return DirectionalGradients(part.derivative, images, part.labels, part.parameters)
