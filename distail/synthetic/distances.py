"""How far statistics are from those that are wanted."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from distail.synthetic.statistics import Spread, Statistics

Distance = Callable[[str, Spread, Spread], Float[Tensor, ""]]
"""From the key of a statistic, what was found and what is wanted; differentiable."""
_LEAST = 1e-5
"""Added to variances that are divided by, and the least under a root: channels may be dead."""


def norms(key: str, found: Spread, wanted: Spread) -> Float[Tensor, ""]:
    """Sum of the Euclidean distances of means and of variances, as in SRe2L, EDC and RLDD."""
    return torch.linalg.vector_norm(found.mean - wanted.mean) + torch.linalg.vector_norm(
        found.variance - wanted.variance
    )


def standardised(scale: Statistics) -> Distance:
    """Mean squared distance of means and of standard deviations, in units of a statistic's standard deviation.

    Every number counts alike then, whatever the size of its layer and its channel.

    Args:
        scale: whose variances are the squared units.
    """

    def distance(key: str, found: Spread, wanted: Spread) -> Float[Tensor, ""]:
        unit = scale[key].variance.to(found.variance) + _LEAST
        roots = (spread.variance.clamp_min(_LEAST).sqrt() for spread in (found, wanted))
        deviation = next(roots) - next(roots)
        return ((found.mean - wanted.mean).square() / unit).mean() + (deviation.square() / unit).mean()

    return distance
