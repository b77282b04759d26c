"""Making up for unequal class sizes: weights of a loss, and an order of images in which classes come equally often."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def class_balanced_weights(counts: tuple[int, ...], beta: float) -> Float[Tensor, " k"]:
    """(1 - β) / (1 - β^n_c), scaled to mean 1 over the classes.

    Source: Cui et al., CVPR 2019, arXiv:1901.05555, equation 3.
    """
    weights = (1 - beta) / (1 - beta ** torch.tensor(counts, dtype=torch.float64))
    return (weights / weights.mean()).float()


def class_shares(counts: Sequence[int]) -> Float[Tensor, " k"]:
    """π_c = n_c / N, the class' share of the images, in double precision."""
    return torch.tensor(counts, dtype=torch.float64) / sum(counts)


def log_prior(counts: Sequence[int]) -> Float[Tensor, " k"]:
    """log π_c, with π_c the class' share of the images."""
    return class_shares(counts).log()


def class_aware_order(
    class_indices: tuple[Int64[Tensor, " _"], ...], images_per_visit: int, generator: torch.Generator
) -> Int64[Tensor, " m"]:
    """Positions of one epoch: as many draws as classes times the largest class, every class equally often.

    Classes come in rounds of random order; each visit takes the next images of a class, at most as many as the largest
    class has, which start again in a new random order when all have been used.

    Source: Kang et al., arXiv:1910.09217, class-aware sampling with 4 images a visit. Deviation: rounds start anew
        each epoch, so that an epoch can be repeated on its own.
    """
    num_classes = len(class_indices)
    largest = max(len(indices) for indices in class_indices)
    total, images_per_visit = num_classes * largest, min(images_per_visit, largest)
    rounds = -(-total // (num_classes * images_per_visit))
    classes = torch.cat([torch.randperm(num_classes, generator=generator) for _ in range(rounds)])
    order = torch.empty(len(classes), images_per_visit, dtype=torch.int64)
    for label, indices in enumerate(class_indices):
        needed = rounds * images_per_visit
        passes = [torch.randperm(len(indices), generator=generator) for _ in range(-(-needed // len(indices)))]
        order[classes == label] = indices[torch.cat(passes)[:needed]].view(rounds, images_per_visit)
    return order.flatten()[:total]
