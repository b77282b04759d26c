"""Plain renderings of class distances and cuts (Zheng et al., ICMSSP 2024), one sum after another."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


def class_distance(first: Tensor, second: Tensor) -> float:
    """sqrt(Σ_j Σ_l ‖c_ij - c_kl‖²) of two classes' centroids, (M, f) each, in float64."""
    total = 0.0
    for one in first.double():
        for other in second.double():
            total += float((one - other).square().sum())
    return math.sqrt(total)


def cut(distances: Tensor, group_of: Sequence[int]) -> float:
    """Sum of distances between classes of different groups."""
    n = len(group_of)
    return sum(float(distances[i, k]) for i in range(n) for k in range(i) if group_of[i] != group_of[k])


def partitions(num_classes: int, num_groups: int) -> Iterator[tuple[int, ...]]:
    """All partitions into exactly so many groups, numbered by their first class."""

    def grow(begun: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if len(begun) == num_classes:
            if len(set(begun)) == num_groups:
                yield begun
            return
        for group in range(min(max(begun, default=-1) + 2, num_groups)):
            yield from grow((*begun, group))

    yield from grow(())


def best_partition(distances: Tensor, num_groups: int) -> tuple[tuple[int, ...], float]:
    """The partition of the largest cut, and that cut."""
    found = max(partitions(len(distances), num_groups), key=lambda groups: cut(distances, groups))
    return found, cut(distances, found)


def random_distances(num_classes: int, seed: int) -> Tensor:
    """Symmetric, uniform in 0..1, with a zero diagonal."""
    drawn = torch.rand(num_classes, num_classes, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    upper = drawn.triu(1)
    return upper + upper.T


def clustered_distances(num_classes: int, num_clusters: int, seed: int, spread: float = 0.3) -> Tensor:
    """Distances of points in clusters of nearly equal sizes; class i lies in cluster i modulo their number."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(num_clusters, 12, dtype=torch.float64, generator=generator)
    noise = torch.randn(num_classes, 12, dtype=torch.float64, generator=generator)
    points = centres[torch.arange(num_classes) % num_clusters] + spread * noise
    return torch.cdist(points, points)
