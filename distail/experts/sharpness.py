"""GSAM: a gradient step that prefers flat regions, on a flat parameter vector."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

_TINY = 1e-12

Gradient = Callable[[Float[Tensor, " p"]], tuple[float | Tensor, Float[Tensor, " p"]]]
"""gradient(parameters) -> (loss, gradient), on the same minibatch and augmentation each time."""


def gsam_direction(
    gradient: Gradient, parameters: Float[Tensor, " p"], rho: float, alpha: float
) -> tuple[float | Tensor, Float[Tensor, " p"]]:
    """The loss where the parameters stand, and the direction to step against.

    With g the gradient at θ and g' that at θ + ε, ε = ρ·θ²⊙g / ‖|θ|⊙g‖ (the adaptive radius): g' without α times the
    part of g across g'. With ρ = 0 it is g, from one gradient instead of two.

    Args:
        gradient: evaluated once or twice.
        parameters: where to stand.
        rho: radius of the neighbourhood, relative to each parameter's size.
        alpha: share of the across part that is removed.

    Source: Zhuang et al., arXiv:2203.08065 (GSAM); Kwon et al., arXiv:2102.11600 (adaptive radius).
    """
    loss, plain = gradient(parameters)
    if rho == 0:
        return loss, plain
    radius = rho / ((parameters.abs() * plain).norm() + _TINY)
    _, perturbed = gradient(parameters + radius * parameters.square() * plain)
    across = plain - (plain @ perturbed) / (perturbed @ perturbed + _TINY) * perturbed
    return loss, perturbed - alpha * across
