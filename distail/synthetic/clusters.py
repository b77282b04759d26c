"""Real images that stand for their class: those nearest to the centres of k-means."""

from __future__ import annotations

import warnings

import torch
from jaxtyping import Float, Int64
from torch import Tensor

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
    # Imported here: most runs need neither.
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    found = points.detach().float().cpu()
    means = KMeans(num_clusters, n_init=1, random_state=seed % _MAX_SEED)
    # Threads add up in the order in which they end, so with several the same seed would give other bits.
    with warnings.catch_warnings(), threadpool_limits(limits=1):
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than clusters
        means.fit(found.numpy())
    centres = torch.from_numpy(means.cluster_centers_).to(found)
    nearest = torch.cdist(centres, found).argmin(1)
    kept = list(dict.fromkeys(nearest.tolist()))
    return torch.tensor(kept)
