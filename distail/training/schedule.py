"""The step size as a function of how far training has come."""

from __future__ import annotations

import math

from distail.training.recipe import TrainRecipe

LATE_STEPS = (0.8, 0.9, 0.95)
"""Shares of the epochs after which `late_steps` halves the rate; EDC's 800, 900 and 950 of 1000."""
LINEAR_FROM = 5 / 6
"""Share of the training from which `late_linear` falls evenly."""
_PEAK, _FIRST, _LAST = 0.3, 1 / 25, 1 / 25e4
"""of `one_cycle`: where the rate is largest, and its shares at both ends, as torch's `OneCycleLR` has them."""


def learning_rate(recipe: TrainRecipe, epoch: int, step: int, num_steps: int) -> float:
    """The step size of one step of an epoch of `num_steps`."""
    done = (epoch + step / num_steps) / recipe.num_epochs
    rate = recipe.learning_rate
    if recipe.schedule == "step":
        rate = rate * 0.1 if epoch > decay_epoch(recipe) else rate
    elif recipe.schedule == "cosine":
        rate = rate * (1 + math.cos(math.pi * done)) / 2
    elif recipe.schedule != "constant":
        rate *= _SHARES[recipe.schedule](done)
    if recipe.warmup:
        rate *= min(1.0, (done + 1 / (num_steps * recipe.num_epochs)) / recipe.warmup)
    return rate


def decay_epoch(recipe: TrainRecipe) -> int:
    """The epoch after which the step schedule lowers the rate."""
    return recipe.epochs // 2 + 1


def _half_cosine(done: float) -> float:
    """½(1 + cos(π·done/2)): from 1 to a half."""
    return (1 + math.cos(math.pi * done / 2)) / 2


def _late_steps(done: float) -> float:
    return 0.5 ** sum(done >= milestone for milestone in LATE_STEPS)


def _late_linear(done: float) -> float:
    """EDC's schedule "cos2" without its jump: theirs is multiplied by what is left of the training from 5/6 on, and so
    falls to a sixth at once."""
    return _half_cosine(min(done, LINEAR_FROM)) * min(1.0, (1 - done) / (1 - LINEAR_FROM))


def _one_cycle(done: float) -> float:
    """Two half waves of a cosine."""
    if done < _PEAK:
        return _between(_FIRST, 1.0, done / _PEAK)
    return _between(1.0, _LAST, (done - _PEAK) / (1 - _PEAK))


def _between(start: float, end: float, part: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * part)) / 2


_SHARES = {
    "half_cosine": _half_cosine,
    "late_steps": _late_steps,
    "late_linear": _late_linear,
    "one_cycle": _one_cycle,
}
"""From the share of the training that is done to a share of the largest rate."""
