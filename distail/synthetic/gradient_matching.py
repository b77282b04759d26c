"""Gradient matching: synthetic images whose loss gradient in a network points where that of real ones does.

With g(x) the gradient of the cross-entropy by the parameters and D(g(x), g_real) a distance, ∂D/∂x = ∂⟨v, g(x)⟩/∂x for
the fixed vector v = ∂D/∂g. That is what `FlatNetwork.directional_gradients` takes by one pass of tangents and its
reverse, so nothing here differentiates a gradient's own graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from distail.matching import FlatNetwork, InnerLoss
from distail.matching.backbone import goes_by_tangents
from distail.matching.trainable import Batch
from distail.models.flat import FlatLayout
from distail.problem import Load, Problem

GradientDistance = Callable[[Iterable[Tensor], Iterable[Tensor]], Float[Tensor, ""]]
"""distance(gradient, wanted), both as one tensor a parameter; differentiable in the first."""

_COSINE_EPS = 1e-6
"""Added to the product of norms; the released code's value."""
_VECTORS_OF_NETWORK = 4
"""A network, the two copies of it in a `FlatNetwork`, and its parameters as a vector."""
_GRADIENTS = 3
"""That of real images, that of synthetic ones, and the direction between them."""


def row_cosine_distance(found: Iterable[Tensor], wanted: Iterable[Tensor]) -> Float[Tensor, ""]:
    """Σ over tensors and their rows of 1 − cos(row, row); biases, scales and shifts do not count.

    A row is what belongs to one output of a layer, such as a convolution's filter.

    Source: Zhao et al., ICLR 2021, arXiv:2006.05929, the matching loss as released.
    """
    total = []
    for one, other in _alike(found, wanted):
        if one.ndim > 1:
            rows, others = one.flatten(1), other.flatten(1)  # out in·h·w
            norms = rows.norm(dim=1) * others.norm(dim=1)
            total.append((1 - (rows * others).sum(1) / (norms + _COSINE_EPS)).sum())
    return torch.stack(total).sum()


def convolution_distance(found: Iterable[Tensor], wanted: Iterable[Tensor]) -> Float[Tensor, ""]:
    """Σ over the weights of convolutions of their squared difference; nothing else counts.

    Source: Kim et al., IDC, ICML 2022, arXiv:2205.14959, the matching loss as released.
    """
    return torch.stack([(one - other).square().sum() for one, other in _alike(found, wanted) if one.ndim == 4]).sum()


def _alike(found: Iterable[Tensor], wanted: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(found, wanted, strict=True)


@dataclass(frozen=True, eq=False)
class ClassMatch:
    """How far the gradients of one class are apart.

    Attributes:
        loss: their distance.
        views: its gradient by the synthetic views.
    """

    loss: float
    views: Float[Tensor, "n c h w"]


def match_class(
    student: FlatNetwork,
    parameters: Float[Tensor, " p"],
    real: Float[Tensor, "m c h w"],
    synthetic: Float[Tensor, "n c h w"],
    label: int,
    distance: GradientDistance,
) -> ClassMatch:
    """The distance between the gradients of real and synthetic images of one class, and its gradient.

    Args:
        student: the network.
        parameters: where in it; no graph is kept.
        real, synthetic: as the network sees them, on the device.
        label: of all of them.
        distance: between gradients.
    """
    wanted = student.gradient(parameters, _batch(real, label)).parameters
    batch = _batch(synthetic.detach(), label)
    found = student.gradient(parameters, batch).parameters
    loss, direction = _derivative(student.layout, found, wanted, distance)
    by_views = student.directional_gradients(parameters, direction, batch, wrt_parameters=False).images
    return ClassMatch(float(loss), by_views)


def matching_loads(problem: Problem, real: int, synthetic: int, parameter_vectors: int = 0) -> tuple[Load, ...]:
    """What `match_class` holds in memory: the pass of real images, then those of synthetic ones.

    Args:
        problem: names the network.
        real, synthetic: images of one class, at most.
        parameter_vectors: what is kept of other networks, or of how this one trains.
    """
    vectors = parameter_vectors + _VECTORS_OF_NETWORK
    shared = goes_by_tangents(problem.network("architecture"))  # a `FlatNetwork` of any other takes batches whole
    return (
        Load(real, shared=shared, parameter_vectors=vectors),
        Load(synthetic, "tangents", shared=True, parameter_vectors=vectors + _GRADIENTS),
    )


def _batch(images: Float[Tensor, "b c h w"], label: int) -> Batch:
    labels = torch.full((len(images),), label, device=images.device)
    return Batch(images, labels, InnerLoss.plain(), len(images))


def _derivative(layout: FlatLayout, found: Tensor, wanted: Tensor, distance: GradientDistance) -> tuple[Tensor, Tensor]:
    """(D, ∂D/∂g)."""
    with torch.enable_grad():
        leaf = found.detach().requires_grad_()
        loss = distance(layout.split(leaf), layout.split(wanted))
    (direction,) = torch.autograd.grad(loss, leaf)
    return loss.detach(), direction
