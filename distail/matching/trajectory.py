"""Trajectory matching of a student that trains the whole network."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from distail.matching.functional import FlatNetwork
from distail.matching.sweep import InnerLoop, MatchingGradients, sweep

Matched = Literal["all", "backbone"]


def match_trajectory(
    network: FlatNetwork,
    loop: InnerLoop,
    start: Float[Tensor, " p"],
    target: Float[Tensor, " p"],
    *,
    matched: Matched = "all",
    unrolled: bool = False,
) -> MatchingGradients:
    """How the synthetic set should change so that a student trained on it comes closer to the expert.

    Args:
        network: the expert's architecture.
        loop: what the student trains on, and how.
        start, target: parameters of the expert at two snapshots, on the device and of the images' type.
        matched: 'backbone' leaves the classifier's weight and bias out of the distance, as LAD's first phase does;
            they are trained all the same.
        unrolled: the exact gradient through all steps (MTT); else TESLA's, which is cheaper.

    Raises:
        DistailError: start equals target in the matched parameters, or is not finite.

    Source: Cazenavette et al., CVPR 2022, arXiv:2203.11932; Cui et al., ICML 2023, arXiv:2211.10586.
    """
    return sweep(network, loop, start, target, matched_parameters(network, matched, start.device), unrolled)


def matched_parameters(network: FlatNetwork, matched: Matched, device: torch.device) -> Tensor | None:
    """Which parameters count in the distance, as a boolean vector; None for all."""
    if matched == "all":
        return None
    return torch.arange(network.size, device=device) < network.classifier_start
