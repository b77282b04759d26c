"""Exponential long tails, with the class counts and the index rule that the field's papers use.

Source: Cui et al., CVPR 2019 (the profile); Zhao et al., arXiv:2408.14506, released split code (the index rule).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from distail.data.image_set import ImageSet
from distail.errors import DistailError

MANY_ABOVE = 100
"""Training images of a class above which it is one of the many-shot classes; OLTR's value."""
FEW_BELOW = 20
"""Training images of a class below which it is one of the few-shot classes; OLTR's value."""
SPLIT_SEED = 42
"""The seed of the published split. It is separate from the run's seed, so that all runs see the same data."""


@dataclass(frozen=True)
class LongTail:
    """A long-tailed subset and where its images stood in the source.

    Attributes:
        images: the subset, class by class.
        indices: positions in the source, in the subset's order.
    """

    images: ImageSet
    indices: Int64[Tensor, " n"]


def imbalance_factor(value: float) -> float:
    """Reads both notations of the field, 100 and 0.01, as the factor largest/smallest ≥ 1.

    Raises:
        DistailError: the value is not a finite number above 0.
    """
    if not np.isfinite(value) or value <= 0:
        raise DistailError(
            f"Imbalance {value} makes no sense. Give the factor (100) or its inverse (0.01); 1 is balanced."
        )
    # round() undoes 1/0.01 = 100.00000000000001-like noise, which would otherwise move a count by one.
    return round(1 / value, 9) if value < 1 else float(value)


def long_tail_counts(num_max: int, num_classes: int, imbalance: float) -> tuple[int, ...]:
    """Images per class: n_c = int(n_max · (1/IF)^(c/(C-1))), class 0 being the head.

    Raises:
        DistailError: the tail class would have no image.
    """
    mu = 1.0 / imbalance_factor(imbalance)
    counts = tuple(int(num_max * mu ** (label / (num_classes - 1.0))) for label in range(num_classes))
    if counts[-1] < 1:
        raise DistailError(
            f"Imbalance {imbalance:g} leaves the tail class without images (the head has {num_max}). "
            f"Use an imbalance factor of at most {num_max}."
        )
    return counts


def make_long_tailed(source: ImageSet, imbalance: float, num_max: int | None = None) -> LongTail:
    """Keeps an exponentially falling number of images of each class, classes in label order.

    A class with fewer images than its share keeps them all. The rule draws, for each class anew, with
    NumPy's RandomState(42).choice without replacement over the images of that class in data order.

    Args:
        source: the full data.
        imbalance: factor or its inverse, see `imbalance_factor`.
        num_max: images of the head class; the mean class size of the source when omitted, as in the papers.

    Raises:
        DistailError: the imbalance is not a finite number above 0, or leaves the tail class without images.
    """
    counts = long_tail_counts(num_max or len(source) // source.num_classes, source.num_classes, imbalance)
    kept = []
    for label, count in enumerate(counts):
        of_class = source.indices_of(label)
        rule = np.random.RandomState(SPLIT_SEED)  # the published rule names this legacy generator
        if len(of_class):
            chosen = rule.choice(len(of_class), min(count, len(of_class)), replace=False)
            kept.append(of_class[torch.from_numpy(chosen)])
    indices = torch.cat(kept)
    return LongTail(source.subset(indices), indices)


def shot_group(count: int) -> str:
    """'many' (over 100 training images), 'medium' (20 to 100) or 'few' (under 20).

    Source: Liu et al., CVPR 2019 (OLTR).
    """
    if count > MANY_ABOVE:
        return "many"
    return "medium" if count >= FEW_BELOW else "few"
