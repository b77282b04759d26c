"""Setting images of every class aside, for testing or validation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from distail.data.image_set import ImageSet
from distail.errors import DistailError
from distail.seeding import torch_generator

TEST_SEED = 0
"""The held-out test images do not depend on a run's seed, so that all runs on a source are tested alike."""


@dataclass(frozen=True, eq=False)
class Holdout:
    """Positions of images, each in one of the two parts, class by class.

    Attributes:
        rest: to learn from.
        held_out: to test or validate on.
    """

    rest: Int64[Tensor, " n"]
    held_out: Int64[Tensor, " m"]


def hold_out_for_testing(images: ImageSet, fraction: float) -> Holdout:
    """The one split that `--holdout FRACTION` makes of these images, whichever command or function is asked.

    Raises:
        DistailError: the fraction is not above 0 and below 1.
    """
    return hold_out(images, fraction, TEST_SEED, "test")


def require_two_of_each(images: ImageSet, purpose: str, otherwise: str) -> None:
    """Refuses images of which one class could hold none out.

    Args:
        images: to be split.
        purpose: what images are held out for, in words, such as 'for testing'.
        otherwise: what to do where no images can be added, in words.

    Raises:
        DistailError: a class has a single image.
    """
    if 1 in images.class_counts:
        single = images.class_names[images.class_counts.index(1)]
        raise DistailError(
            f"{images.origin}: class '{single}' has a single image, so none of it can be held out {purpose}. Add "
            f"images of it, or {otherwise}."
        )


def hold_out(images: ImageSet, fraction: float, seed: int, purpose: str) -> Holdout:
    """Draws a fraction of every class, at least one image of it.

    A class with a single image keeps it for learning and holds out none.

    Args:
        images: the images to split.
        fraction: of each class, above 0 and below 1; rounded to whole images.
        seed, purpose: the draw depends on both and on the class, so that splits for different purposes are
            independent.

    Raises:
        DistailError: the fraction is not above 0 and below 1.
    """
    if not 0 < fraction < 1:
        raise DistailError(f"A fraction of {fraction} cannot be held out. Give one above 0 and below 1, such as 0.2.")
    rest, held_out = [], []
    for label in range(images.num_classes):
        of_class = images.indices_of(label)
        shuffled = of_class[torch.randperm(len(of_class), generator=torch_generator(seed, purpose, label))]
        count = min(max(1, round(fraction * len(of_class))), len(of_class) - 1) if len(of_class) > 1 else 0
        held_out.append(shuffled[:count])
        rest.append(shuffled[count:])
    return Holdout(torch.cat(rest), torch.cat(held_out))
