"""k-means, as in scikit-learn, with the same result on any number of threads."""

from __future__ import annotations

import warnings

import numpy as np


def k_means_centres(points: np.ndarray, num_clusters: int, seed: int, restarts: int = 1) -> np.ndarray:
    """(k, d), the centres of clusters; some of them alike where points coincide.

    Args:
        points: (n, d), more than `num_clusters`, in float32 or float64.
        num_clusters: k, at least 1.
        seed: of the first centres, below 2**32.
        restarts: runs, of which the best counts.
    """
    # Imported here: most runs need neither.
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    # Threads add up in the order in which they end, so with several the same seed would give other bits.
    with warnings.catch_warnings(), threadpool_limits(limits=1):
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than clusters
        centres: np.ndarray = KMeans(num_clusters, n_init=restarts, random_state=seed).fit(points).cluster_centers_
    return centres
