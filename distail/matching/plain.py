"""The same gradients the long way: one eager graph and the reverse of a reverse pass, as the authors' code does it.

Slow, and the unrolled form keeps the graphs of all steps. It is here to check the engine against, or to take its place.

Source: Cui et al., ICML 2023, arXiv:2211.10586, the released code (two passes); Cazenavette et al., CVPR 2022,
arXiv:2203.11932 (unrolled); LAD, CVPR 2025, the released code (the backbone's gradient zeroed in phase 2).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from distail.matching.functional import FlatNetwork
from distail.matching.steps import Step
from distail.matching.sweep import InnerLoop, MatchingGradients, masked, scale_of
from distail.matching.trajectory import Matched, matched_parameters


def match_trajectory_plainly(
    network: FlatNetwork,
    loop: InnerLoop,
    start: Float[Tensor, " p"],
    target: Float[Tensor, " p"],
    *,
    matched: Matched = "all",
    unrolled: bool = False,
) -> MatchingGradients:
    """Like `match_trajectory`, argument by argument.

    Raises:
        DistailError: start equals target in the matched parameters, or is not finite.
    """
    mask = matched_parameters(network, matched, start.device)
    match = _unrolled if unrolled else _tesla
    return match(_Student(network, loop, None), start.detach(), target.detach(), mask)


def match_classifier_plainly(
    network: FlatNetwork,
    loop: InnerLoop,
    start: Float[Tensor, " p"],
    target: Float[Tensor, " p"],
    *,
    unrolled: bool = False,
) -> MatchingGradients:
    """Like `match_classifier`, argument by argument, except that the distance is over all parameters: a target with
    another backbone than the start's gives another loss.

    Raises:
        DistailError: start equals target, or is not finite.
    """
    trained = torch.arange(network.size, device=start.device) >= network.classifier_start
    match = _unrolled if unrolled else _tesla
    return match(_Student(network, loop, trained), start.detach(), target.detach(), None)


class _Student:
    """The gradient of one step with its graph."""

    def __init__(self, network: FlatNetwork, loop: InnerLoop, trained: Tensor | None) -> None:
        self._network, self.loop, self._trained = network, loop, trained

    def gradient(self, flat: Tensor, images: Tensor, targets: Tensor, step: Step) -> Tensor:
        indices = step.indices.to(images.device)
        views = step.views(images[indices], self.loop.augment)
        logits = self._network.plain_logits(flat, views)
        value = self.loop.loss.value(logits, targets[indices])
        (gradient,) = torch.autograd.grad(value, flat, create_graph=True)
        return masked(gradient, self._trained)

    def leaves(self) -> tuple[Tensor, Tensor]:
        images = self.loop.images.detach().requires_grad_()
        return images, self.loop.targets.detach().requires_grad_(self.loop.targets.is_floating_point())


def _tesla(student: _Student, start: Tensor, target: Tensor, matched: Tensor | None) -> MatchingGradients:
    """Two passes, with ∂L/∂X_i = ∂/∂X_i [2 (η (θ* − θ_0) + η² G)ᵀ g_i] / D and G = Σ g_i held constant."""
    scale = scale_of(start, target, matched)
    rate, steps = student.loop.learning_rate.detach(), student.loop.steps.steps
    points, sum_of_gradients = [start], torch.zeros_like(start)
    for step in steps:
        with torch.enable_grad():
            at = points[-1].requires_grad_()
            gradient = student.gradient(at, student.loop.images, student.loop.targets, step).detach()
        sum_of_gradients = sum_of_gradients + gradient
        points.append((at - rate * gradient).detach())
    gap = masked(start - rate * sum_of_gradients - target, matched)
    both_terms = masked(2 * (rate * (target - start) + rate**2 * sum_of_gradients), matched) / scale
    totals: list[Tensor] = []
    for step, at in zip(steps, points, strict=False):
        with torch.enable_grad():
            leaves = student.leaves()
            dot = both_terms @ student.gradient(at, *leaves, step)
        parts = _gradients(dot, leaves)
        totals = [old + new for old, new in zip(totals, parts, strict=True)] if totals else list(parts)
    learning_rate = -2 * (sum_of_gradients @ gap) / scale
    return _result(gap.square().sum() / scale, totals, learning_rate)


def _unrolled(student: _Student, start: Tensor, target: Tensor, matched: Tensor | None) -> MatchingGradients:
    """One graph through all steps."""
    scale = scale_of(start, target, matched)
    with torch.enable_grad():
        images, targets = student.leaves()
        rate = student.loop.learning_rate.detach().requires_grad_()
        at = start.clone().requires_grad_()
        for step in student.loop.steps.steps:
            at = at - rate * student.gradient(at, images, targets, step)
        loss = masked(at - target, matched).square().sum() / scale
    *parts, learning_rate = _gradients(loss, (images, targets, rate))
    return _result(loss, parts, learning_rate)


def _gradients(value: Tensor, leaves: Sequence[Tensor]) -> tuple[Tensor, ...]:
    with sdpa_kernel(SDPBackend.MATH):
        return torch.autograd.grad(value, [leaf for leaf in leaves if leaf.requires_grad], materialize_grads=True)


def _result(loss: Tensor, gradients: Sequence[Tensor], learning_rate: Tensor) -> MatchingGradients:
    labels = gradients[1] if len(gradients) > 1 else None
    return MatchingGradients(float(loss.detach()), gradients[0], labels, learning_rate.detach())
