"""What reading a source yields: the images, and everything about the files that the images no longer show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt8

from distail.data.image_set import ImageSet
from distail.progress import Progress


@dataclass(frozen=True)
class UnreadableImage:
    """One image that could not be decoded and was left out.

    Attributes:
        where: a file path, or the file and row.
        reason: why it could not be read.
    """

    where: str
    reason: str


@dataclass(frozen=True, eq=False)
class SourceContents:
    """One split of a source, read.

    Attributes:
        images: every readable image, in the source's order.
        split: the split they belong to.
        unreadable: the images that were left out.
        sizes: how many readable images had each original (height, width), before any resizing.
    """

    images: ImageSet
    split: str
    unreadable: tuple[UnreadableImage, ...]
    sizes: dict[tuple[int, int], int]

    def readable(self, progress: Progress) -> ImageSet:
        """The images, having warned of each that was left out."""
        for left_out in self.unreadable:
            progress.warn(f"left out, unreadable: {left_out.where} ({left_out.reason})")
        return self.images


@dataclass(frozen=True, eq=False)
class RawSplit:
    """One split as its source names things, before it is validated and aligned with the training split.

    Attributes:
        pixels: (n, channels, height, width), uint8; 1 channel where every image is grayscale, else 3.
        labels: (n,), positions in `class_names`.
        class_names: the classes that this split knows.
        unreadable: the images that were left out.
        sizes: count of each original (height, width).
    """

    pixels: UInt8[np.ndarray, "n c h w"]
    labels: Int64[np.ndarray, " n"]
    class_names: tuple[str, ...]
    unreadable: tuple[UnreadableImage, ...]
    sizes: dict[tuple[int, int], int]
