"""MaxNorm: no class may have a longer row of the classifier's weight than a bound.

Source: Alshammari et al., CVPR 2022, arXiv:2203.14197, and its released code (the bound).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def longest_row(weight: Float[Tensor, "k f"], share: float) -> float:
    """The bound: min + share · (max - min) of the rows' lengths before training."""
    rows = weight.detach().norm(dim=1)
    return float(rows.min() + share * (rows.max() - rows.min()))


def shortened_rows(weight: Float[Tensor, "k f"], longest: float) -> Float[Tensor, "k f"]:
    """The weight with every row that is longer than the bound cut to it."""
    norms = weight.norm(dim=1, keepdim=True).clamp_min(1e-12)
    return weight * (longest / norms).clamp_max(1)
