"""How far classes are apart: k-means centroids of each class, and distances between the centroids of two.

    D_ik = M sqrt( 1/(m_i m_k) Σ_j Σ_l ‖c_ij - c_kl‖² )

with m_i ≤ M centroids in class i. Where every class has M of them, this is the paper's sqrt(Σ_j Σ_l ‖c_ij - c_kl‖²). A
class of fewer images than M, or of fewer different ones, has one centroid at each, and the mean over pairs in place of
their sum keeps its distances comparable to the others': a plain sum over 1 · 5 pairs would make it five times nearer
than one over 5 · 5.

The sum is that of the means and of the spreads, D²_ik = M² (‖μ_i - μ_k‖² + v_i + v_k), where v_i is the mean squared
distance of a class's centroids from their mean μ_i. So a class that is spread wide is far from all others, and one with
a single centroid, v_i = 0, is a little nearer to all.

Source: Zheng et al., ICMSSP 2024.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from distail.errors import DistailError
from distail.k_means import k_means_centres
from distail.seeding import derive_seed

_RESTARTS = 4


@dataclass(frozen=True, eq=False)
class ClassCentroids:
    """The centres of all classes, one class after another.

    Attributes:
        centres: (sum of the m_i, features), in float64.
        labels: (sum of the m_i,), the class of each.
        counts: m_i of each class.
        num_wanted: M, what each class has where its images suffice.
    """

    centres: Float64[Tensor, "m f"]
    labels: Int64[Tensor, " m"]
    counts: tuple[int, ...]
    num_wanted: int


def class_centroids(
    features: Float[Tensor, "n f"],
    labels: Int64[Tensor, " n"],
    class_names: Sequence[str],
    num_centroids: int = 5,
    seed: int = 0,
) -> ClassCentroids:
    """Centres of each class by k-means, the best of four runs.

    What is drawn for a class depends on the seed and on its name, so that its centres do not depend on the others.

    Args:
        features: what a network sees in each image.
        labels: the class of each.
        class_names: in label order.
        num_centroids: M; a class with fewer different features has as many centres as those.
        seed: of k-means.

    Raises:
        DistailError: a class without images.
    """
    centres, owners, counts = [], [], []
    for label, name in enumerate(class_names):
        own = features[labels == label]
        if len(own) == 0:
            raise DistailError(
                f"Class '{name}' has no image whose features could be grouped. Add images of it, or use other images."
            )
        found = _k_means(own.double().numpy(), num_centroids, derive_seed(seed, "centroids", name) % 2**32)
        centres.append(torch.from_numpy(found))
        owners.append(torch.full((len(found),), label))
        counts.append(len(found))
    return ClassCentroids(torch.cat(centres), torch.cat(owners), tuple(counts), num_centroids)


def class_distances(centroids: ClassCentroids) -> Float64[Tensor, "k k"]:
    """D, symmetric, in units of the features; 0 between a class and itself.

    Source: the module's docstring.
    """
    parts = centroids.centres.split(list(centroids.counts))
    means = torch.stack([part.mean(0) for part in parts])
    spreads = torch.stack([(part - part.mean(0)).square().sum(1).mean() for part in parts])
    # Straight differences: by way of products, near classes would lose their digits.
    apart = torch.cdist(means, means, compute_mode="donot_use_mm_for_euclid_dist")
    distances = centroids.num_wanted * (apart.square() + spreads[:, None] + spreads[None, :]).sqrt()
    return distances.fill_diagonal_(0.0)


def _k_means(points: np.ndarray, num_centroids: int, seed: int) -> np.ndarray:
    """(m, f), sorted, so that equal centres come in equal order."""
    different = np.unique(points, axis=0)
    if len(different) <= num_centroids:
        return different
    found = k_means_centres(points, num_centroids, seed, _RESTARTS)
    return found[np.lexsort(found.T[::-1])]
