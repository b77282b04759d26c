"""Shifts of logits that make a network take images for every class equally often, once classes count alike.

Students of a distilled set take real images for some classes too often, although their labels are balanced: what they
see there is unlike what they learned from. Labels that are shifted against it make students that do it less, since a
constant added to the logits of all soft labels is learned as it is, by the bias of the last layer.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from distail.errors import DistailError

_ROUNDS = 500
_CLOSE = 1e-3
"""Relative distance of the mean probabilities from equal ones."""


def balancing_shift(logits: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]) -> Float[Tensor, " k"]:
    """What to add to logits so that every class has the same mean probability over images of which classes count alike.

    It is the minimum of a convex function, found by iterative scaling to a thousandth, or in 500 rounds; it depends on
    no order of images.

    Args:
        logits: of real images, on any device.
        labels: of which every class has at least one.

    Returns:
        One number a class, with mean zero, on the CPU.

    Raises:
        DistailError: the logits are not finite.

    Source: Darroch and Ratcliff, Annals of Mathematical Statistics 1972 (generalised iterative scaling).
    """
    answers, classes = logits.detach().cpu().float(), labels.cpu()
    if not bool(torch.isfinite(answers).all()):
        raise DistailError(
            "A pilot student's logits for real images are not finite, so labels cannot be shifted by them. Lower its "
            "step size, or leave labels as they are, such as by --set pilot_steps=0."
        )
    count = answers.shape[1]
    weights = -(torch.bincount(classes, minlength=count).float()[classes] * count).log()
    shift = answers.new_zeros(count)
    for _ in range(_ROUNDS):
        # In logarithms, so that a class that never comes out is shifted too.
        log_probabilities = (answers + shift).log_softmax(1).add_(weights[:, None])
        too_often = log_probabilities.logsumexp(0) + math.log(count)
        if float(too_often.abs().max()) < _CLOSE:
            break
        shift = shift - too_often
    return shift - shift.mean()
