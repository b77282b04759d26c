"""The built-in sample: scikit-learn's 1,797 handwritten digits, 8x8 grayscale. Needs no download."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from distail.data.sources.arrays import resized, uint8_images
from distail.data.sources.base import Source
from distail.data.sources.contents import RawSplit
from distail.progress import Progress

TEST_EVERY = 3
"""Every third image of each class, in data order, is a test image."""


class DigitsSource(Source):
    """Ten classes '0' to '9', about 120 training and 59 test images each.

    The split is fixed and stratified: within each class, images 2, 5, 8, ... (counted from 0) are the test
    split.
    Source: Alpaydin and Kaynak, UCI machine learning repository, 1998.
    """

    origin = "digits"

    @property
    def splits(self) -> tuple[str, ...]:
        """Train and test."""
        return ("train", "test")

    def class_names(self, split: str) -> tuple[str, ...]:
        """'0' to '9'."""
        return tuple(str(digit) for digit in range(10))

    def read(self, split: str, image_size: tuple[int, int] | None, progress: Progress) -> RawSplit:
        """Pixels 0..16 become 0..255."""
        images, labels = self._data
        chosen = _is_test(labels) == (split == "test")
        pixels = resized(uint8_images(images[chosen] / 16.0, self.origin), image_size, self.origin, progress)
        sizes = {(images.shape[1], images.shape[2]): int(chosen.sum())}
        return RawSplit(pixels, labels[chosen], self.class_names(split), (), sizes)

    @cached_property
    def _data(self) -> tuple[np.ndarray, np.ndarray]:
        from sklearn.datasets import load_digits

        digits = load_digits()
        return digits.images, digits.target.astype(np.int64)


def _is_test(labels: np.ndarray) -> np.ndarray:
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        chosen[np.flatnonzero(labels == label)[TEST_EVERY - 1 :: TEST_EVERY]] = True
    return chosen
