"""Real images that stand for their class: those nearest to the centres of k-means."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from distail.k_means import k_means_centres

_MAX_SEED = 2**32 - 1
"""What scikit-learn takes."""


def nearest_to_centres(points: Float[Tensor, "n d"], num_clusters: int, seed: int) -> Int64[Tensor, " k"]:
    """Positions of the points nearest to the centres of k-means, without repeats, in the order of the clusters.

    All of them where there are no more points than clusters. Fewer than `num_clusters` where points coincide.

    Args:
        points: on any device; clustered on the CPU in float32.
        num_clusters: at least 1.
        seed: of the first centres.

    Source: Liu et al., DREAM, ICCV 2023, arXiv:2302.14416.
    """
    if len(points) <= num_clusters:
        return torch.arange(len(points))
    found = points.detach().float().cpu()
    centres = torch.from_numpy(k_means_centres(found.numpy(), num_clusters, seed % _MAX_SEED)).to(found)
    nearest = torch.cdist(centres, found).argmin(1)
    kept = list(dict.fromkeys(nearest.tolist()))
    return torch.tensor(kept)
