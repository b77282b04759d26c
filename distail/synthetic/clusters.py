"""Real images that stand for their class: those nearest to the centres of k-means."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from distail.k_means import k_means_centres
from distail.models import Network
from distail.models.embedding import batch_features
from distail.problem import Load, Problem, Work
from distail.seeding import derive_seed
from distail.synthetic.selection import select_real_images

EMBEDDING_BATCH = 500
"""Real images embedded at once."""
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


def representatives(
    problem: Problem, network: Network, label: int, num_clusters: int, seed: int
) -> Int64[Tensor, " k"]:
    """Training images of a class that are nearest to the centres of k-means in a network's features.

    Args:
        problem: gives the images, which are not augmented.
        network: left in evaluation mode.
        label: of the class.
        num_clusters: at least 1; a class with no more images gives all of them.
        seed: of k-means.
    """
    of_class = problem.train.indices_of(label)
    if len(of_class) <= num_clusters:
        return of_class
    network.eval()
    batches = of_class.split(EMBEDDING_BATCH)
    features = torch.cat([batch_features(network, problem.real(batch), problem.runtime).cpu() for batch in batches])
    return of_class[nearest_to_centres(features, num_clusters, seed)]


def nearest_real_images(problem: Problem, network: Network) -> Float[Tensor, "n c h w"]:
    """IPC real images of each class that cover it, class by class, on the device; few images are repeated.

    Args:
        problem: real images and seed.
        network: in whose features images are clustered; left in evaluation mode.
    """

    def choose(label: int, of_class: Int64[Tensor, " n"], count: int) -> Int64[Tensor, " k"]:
        return representatives(problem, network, label, count, derive_seed(problem.seed, "nearest", label))

    return select_real_images(problem, choose).images.to(problem.runtime.device)


def nearest_work(problem: Problem, architecture: str) -> Work:
    """Classes with more than IPC images pass forward once."""
    counts = [count for count in problem.train.class_counts if count > problem.images_per_class]
    if not counts:
        return Work()
    load = Load(
        min(max(counts), EMBEDDING_BATCH), "forward", feature_vectors=2 * max(counts), architecture=architecture
    )
    return Work(forward=int(sum(counts) * problem.relative_cost(architecture)), loads=(load,))
