"""Trajectory matching of a student that trains the whole network."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from distail.data.augment import DSA
from distail.matching.functional import FlatNetwork
from distail.matching.losses import InnerLoss
from distail.matching.steps import Steps
from distail.matching.sweep import InnerLoop, MatchingGradients, sweep

Matched = Literal["all", "backbone"]


def match_trajectory(
    network: FlatNetwork,
    images: Float[Tensor, "n c h w"],
    targets: Float[Tensor, "n k"] | Int64[Tensor, " n"],
    learning_rate: Float[Tensor, ""],
    start: Float[Tensor, " p"],
    target: Float[Tensor, " p"],
    steps: Steps,
    loss: InnerLoss,
    *,
    augment: DSA,
    matched: Matched = "all",
    unrolled: bool = False,
) -> MatchingGradients:
    """How the synthetic set should change so that a student trained on it comes closer to the expert.

    Args:
        network: the expert's architecture.
        images: the synthetic set, in preprocessed space, on the device.
        targets: label logits, or class indices.
        learning_rate: η of the student's steps, on the device.
        start, target: parameters of the expert at two snapshots, on the device and of the images' type.
        steps: the student's batches and augmentations.
        loss: what the student minimises.
        augment: what `steps` was drawn from.
        matched: 'backbone' leaves the classifier's weight and bias out of the distance, as LAD's first phase does;
            they are trained all the same.
        unrolled: the exact gradient through all steps (MTT); else TESLA's, which takes about a sixth less time.

    Raises:
        DistailError: start equals target in the matched parameters, or is not finite.

    Source: Cazenavette et al., CVPR 2022, arXiv:2203.11932; Cui et al., ICML 2023, arXiv:2211.10586.
    """
    loop = InnerLoop(images, targets, learning_rate, steps, augment, loss)
    return sweep(network, loop, start, target, matched_parameters(network, matched, start.device), unrolled)


def matched_parameters(network: FlatNetwork, matched: Matched, device: torch.device) -> Tensor | None:
    """Which parameters count in the distance, as a boolean vector; None for all."""
    if matched == "all":
        return None
    return torch.arange(network.size, device=device) < network.classifier_start
