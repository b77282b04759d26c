"""The direction of a GSAM step with the adaptive radius, number by number.

Zhuang et al., ICLR 2022, arXiv:2203.08065 (the part across is taken away); Kwon et al., ICML 2021, arXiv:2102.11600
(the radius in units of each parameter); as the released code of FTD, DATM and LAD combines them.
"""

import math
from collections.abc import Callable, Sequence

Vector = Sequence[float]


def dot(one: Vector, other: Vector) -> float:
    return math.fsum(a * b for a, b in zip(one, other, strict=True))


def climbed(parameters: Vector, gradient: Vector, rho: float) -> list[float]:
    """θ + ρ · θ² g / ‖ |θ| g ‖, the worst place nearby."""
    scaled = [abs(p) * g for p, g in zip(parameters, gradient, strict=True)]
    length = math.sqrt(dot(scaled, scaled))
    return [p + rho * p * p * g / length for p, g in zip(parameters, gradient, strict=True)]


def direction(gradient: Callable[[Vector], Vector], parameters: Vector, rho: float, alpha: float) -> list[float]:
    """g' − α · (g − g' ⟨g, g'⟩ / ⟨g', g'⟩), with g' the gradient at the worst place nearby."""
    here = gradient(parameters)
    if rho == 0:
        return list(here)
    there = gradient(climbed(parameters, here, rho))
    share = dot(here, there) / dot(there, there)
    return [t - alpha * (h - share * t) for h, t in zip(here, there, strict=True)]
