"""Test images must be of the kind of the training images, and not be among them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from distail.data.image_set import ImageSet, require_same_classes
from distail.errors import DistailError

MAX_LEAKED = 0.1
"""Fraction of test images that may stand among the training images, as real datasets have some; it is reported."""


def count_leaked(test: ImageSet, fingerprints: Sequence[Int64[Tensor, " _"]]) -> int:
    """Test images that equal, pixel by pixel, one of the images with these fingerprints."""
    return int(torch.isin(test.fingerprints, torch.cat(list(fingerprints))).sum()) if fingerprints else 0


def describe_test(test: ImageSet, num_leaked: int) -> dict[str, Any]:
    """What a result says of its test images."""
    return {"origin": test.origin, "images": len(test), "leaked": num_leaked, "sha256": test.content_hash}


def require_apart(test: ImageSet, hashes: Collection[str | None], num_leaked: int, used: str) -> None:
    """Refuses test data that are the training data, or share many images with them.

    Args:
        test: the test images.
        hashes: content hashes of the training data and of what they were taken from.
        num_leaked: test images among the training images.
        used: what the training images are for, to end a sentence with: 'the set was made from'.

    Raises:
        DistailError: says how many images are shared, and to name others.
    """
    if test.content_hash in hashes:
        raise DistailError(
            f"{test.origin} is the very data {used}, so scoring on it would prove nothing. "
            "Name held-out images with --test, or as `test` in a recipe."
        )
    if num_leaked > MAX_LEAKED * len(test):
        raise DistailError(
            f"{num_leaked} of the {len(test)} images of {test.origin} are among the images {used}, so scoring on them "
            "would prove little. Name held-out images with --test, or as `test` in a recipe."
        )


def require_held_out(test: ImageSet, train: ImageSet, source_hash: str | None, used: str) -> None:
    """Refuses test images on which nothing that learns from these training images could be scored.

    Args:
        test: the test images.
        train: the training images.
        source_hash: content hash of what `train` was taken from, where known.
        used: as of `require_apart`.

    Raises:
        DistailError: they have other classes or another shape, a class without images, or are training images.
    """
    test.require_no_empty_class()
    require_same_classes(train.class_names, "the training data", test.class_names, "the test data")
    if test.image_shape != train.image_shape:
        raise DistailError(
            f"Test images are {test.image_shape} (channels, height, width), training images {train.image_shape}. Use "
            "test images of the same channels; for another size, --image-size or `image_size` in a recipe's `data` "
            "resizes both alike."
        )
    require_apart(test, (train.content_hash, source_hash), count_leaked(test, [train.fingerprints]), used)
