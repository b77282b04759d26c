"""Features on a plane, by t-SNE, with the centroids of the classes among them.

Source: van der Maaten and Hinton, JMLR 2008, as in scikit-learn; perplexity 50 as in Zheng et al., ICMSSP 2024.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from distail.groups.distances import ClassCentroids
from distail.seeding import derive_seed, torch_generator

PERPLEXITY = 50.0
"""The paper's; less where there are fewer than three times as many points."""

MAX_POINTS = 2000
"""Images on a plane, at most; more take long and hide each other."""


@dataclass(frozen=True, eq=False)
class Projection:
    """Images and centroids on a plane whose axes mean nothing.

    Attributes:
        points: (n, 2), of the images shown.
        labels: (n,), the class of each.
        centres: (m, 2), of the centroids.
        centre_labels: (m,), the class of each.
    """

    points: Float[np.ndarray, "n 2"]
    labels: Int64[Tensor, " n"]
    centres: Float[np.ndarray, "m 2"]
    centre_labels: Int64[Tensor, " m"]


def project(
    features: Float[Tensor, "n f"],
    labels: Int64[Tensor, " n"],
    centroids: ClassCentroids,
    seed: int = 0,
    max_points: int = MAX_POINTS,
) -> Projection:
    """Puts images and centroids on one plane, so that near ones in the space of features stay near.

    Of more than `max_points` images as many are drawn from each class, as far as it has them.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    shown = _drawn(labels, max_points, seed)
    together = np.concatenate([features[shown].double().numpy(), centroids.centres.numpy()])
    perplexity = min(PERPLEXITY, (len(together) - 1) / 3)
    random_state = derive_seed(seed, "t-SNE") % 2**32
    with threadpool_limits(1):  # the order in which threads end would change the picture
        plane = TSNE(perplexity=perplexity, init="pca", random_state=random_state).fit_transform(together)
    return Projection(plane[: len(shown)], labels[shown], plane[len(shown) :], centroids.labels)


def _drawn(labels: Int64[Tensor, " n"], max_points: int, seed: int) -> Int64[Tensor, " m"]:
    """Positions of images to show, class by class in turn until there are enough."""
    order = torch.randperm(len(labels), generator=torch_generator(seed, "images shown"))
    turn = torch.empty_like(labels)
    for label in labels.unique():
        own = order[labels[order] == label]
        turn[own] = torch.arange(len(own))
    return order[turn[order].argsort(stable=True)][:max_points].sort().values
