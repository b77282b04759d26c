"""Shifts of logits that make a network take images for every class equally often, once classes count alike.

Students of a distilled set take real images for some classes too often, although their labels are balanced: what they
see there is unlike what they learned from. Labels that are shifted against it make students that do it less, since a
constant added to the logits of all labels is learned as it is, by the bias of the last layer.
"""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from distail.models.saved import SavedNetwork

_ROUNDS = 2000
_CLOSE = 1e-4


def balancing_shift(logits: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]) -> Float[Tensor, " k"]:
    """What to add to logits so that every class has the same mean probability over images of which classes count alike.

    It is the minimum of a convex function, found by iterative scaling; it depends on no order of images.

    Args:
        logits: of real images, on any device.
        labels: of which every class has at least one.

    Returns:
        One number a class, with mean zero, in float64 on the CPU.

    Source: Darroch and Ratcliff, Annals of Mathematical Statistics 1972 (generalised iterative scaling).
    """
    answers, classes = logits.detach().cpu().double(), labels.cpu()
    count = answers.shape[1]
    weights = 1 / torch.bincount(classes, minlength=count).double()[classes] / count
    shift = answers.new_zeros(count)
    for _ in range(_ROUNDS):
        too_often = (weights @ (answers + shift).softmax(1)).log() + math.log(count)
        if float(too_often.abs().max()) < _CLOSE:
            break
        shift = shift - too_often
    return shift - shift.mean()


def with_shifted_logits(saved: SavedNetwork, shift: Float[Tensor, " k"]) -> SavedNetwork:
    """A copy of a network whose logits are all larger by a constant a class.

    Raises:
        DistailError: its classifier is not linear.
    """
    saved.network.require_linear_classifier("Balancing labels")
    network = copy.deepcopy(saved.network)
    with torch.no_grad():
        network.classifier.bias.add_(shift.to(network.classifier.bias))
    return replace(saved, network=network, provenance={**saved.provenance, "logits_shifted_by": shift.tolist()})
