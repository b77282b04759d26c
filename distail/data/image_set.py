"""`ImageSet`: labelled uint8 images in memory, validated once, the same type before and after long-tailing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from distail.errors import DistailError

MIN_IMAGE_SIZE = 8
IN_MEMORY = "memory"
"""Origin of images that were not read from a source."""


@dataclass(frozen=True, eq=False, repr=False)
class ImageSet:
    """Labelled images of one size.

    Attributes:
        images: (n, channels, height, width), uint8, 0..255.
        labels: (n,), int64, each in 0..num_classes-1.
        class_names: one name a class, in label order.
        origin: what the user named as the source; stands in error messages and provenance.

    Raises:
        DistailError: lengths differ, a label is out of range, fewer than two classes, repeated class names, or
            images smaller than 8 pixels.
    """

    images: UInt8[Tensor, "n c h w"]
    labels: Int64[Tensor, " n"]
    class_names: tuple[str, ...]
    origin: str = IN_MEMORY

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise DistailError(
                f"{self.origin}: images must be uint8 of shape (n, channels, height, width), "
                f"not {self.images.dtype} of shape {tuple(self.images.shape)}. Scale pixels to 0..255 first."
            )
        if len(self.images) != len(self.labels):
            raise DistailError(
                f"{self.origin}: {len(self.images)} images but {len(self.labels)} labels. "
                "Every image needs exactly one label."
            )
        if len(self.images) == 0:
            raise DistailError(f"{self.origin}: there are no images. Check the path and the file types inside it.")
        if len(self.class_names) < 2:
            raise DistailError(
                f"{self.origin}: only one class ({', '.join(self.class_names)}). "
                "There must be at least two to tell apart: add the others."
            )
        if len(set(self.class_names)) != len(self.class_names):
            raise DistailError(f"{self.origin}: class names repeat. Give every class a name of its own.")
        lowest, highest = int(self.labels.min()), int(self.labels.max())
        if lowest < 0 or highest >= len(self.class_names):
            raise DistailError(
                f"{self.origin}: labels run from {lowest} to {highest}, but there are {len(self.class_names)} "
                f"classes, so labels must lie in 0..{len(self.class_names) - 1}. Correct the labels or the class list."
            )
        if min(self.images.shape[2:]) < MIN_IMAGE_SIZE:
            raise DistailError(
                f"{self.origin}: images are {self.images.shape[2]}x{self.images.shape[3]} pixels; the networks need "
                f"at least {MIN_IMAGE_SIZE}x{MIN_IMAGE_SIZE}. Pass --image-size {MIN_IMAGE_SIZE} or more."
            )

    def __repr__(self) -> str:
        return f"ImageSet({len(self)} images of {self.image_shape}, {self.num_classes} classes, from {self.origin})"

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        """How many classes there are, empty ones included."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    @cached_property
    def class_counts(self) -> tuple[int, ...]:
        """Images of each class, in label order."""
        return tuple(torch.bincount(self.labels, minlength=self.num_classes).tolist())

    @property
    def empty_classes(self) -> tuple[str, ...]:
        """Names of classes without a single image."""
        return tuple(name for name, count in zip(self.class_names, self.class_counts, strict=True) if count == 0)

    @property
    def imbalance_factor(self) -> float:
        """Largest class count over the smallest; infinite where a class is empty."""
        smallest = min(self.class_counts)
        return max(self.class_counts) / smallest if smallest else float("inf")

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over pixels, labels, shape and class names: equal exactly when the data are."""
        digest = hashlib.sha256(repr((tuple(self.images.shape), self.class_names)).encode())
        digest.update(self.images.contiguous().numpy().tobytes())
        digest.update(self.labels.contiguous().numpy().tobytes())
        return digest.hexdigest()

    @cached_property
    def fingerprints(self) -> Int64[Tensor, " n"]:
        """64 bits of hash of each image's pixels: equal for equal images, and by chance for one pair in 10^19."""
        shape = repr(self.image_shape).encode()
        digests = (hashlib.blake2b(pixels.tobytes(), digest_size=8, key=shape) for pixels in self.images.numpy())
        return torch.tensor([int.from_bytes(digest.digest(), "little", signed=True) for digest in digests])

    def indices_of(self, label: int) -> Int64[Tensor, " k"]:
        """Positions of the images of one class, in data order."""
        return torch.nonzero(self.labels == label).flatten()

    def subset(self, indices: Int64[Tensor, " k"] | Sequence[int]) -> ImageSet:
        """The images at these positions, in this order, with all class names kept."""
        index = torch.as_tensor(indices, dtype=torch.int64)
        return ImageSet(self.images[index], self.labels[index], self.class_names, self.origin)

    def require_no_empty_class(self) -> None:
        """Raises DistailError naming the classes that have no image."""
        if self.empty_classes:
            raise DistailError(
                f"{self.origin}: no image in class {', '.join(self.empty_classes)}. A class without images cannot be "
                "distilled or scored: add images, or remove the class from the data."
            )


def require_same_classes(expected: Sequence[str], expected_name: str, found: Sequence[str], found_name: str) -> None:
    """Refuses two parts of one problem whose classes differ in name, number or order.

    Raises:
        DistailError: says which classes are missing, extra or out of order.
    """
    if tuple(expected) == tuple(found):
        return
    missing = [name for name in expected if name not in found]
    extra = [name for name in found if name not in expected]
    if missing or extra:
        parts = []
        if missing:
            parts.append(f"{found_name} lacks {_shown(missing)}")
        if extra:
            parts.append(f"{found_name} has {_shown(extra)}, unknown to {expected_name}")
        difference = "; ".join(parts)
    else:
        difference = f"{expected_name} orders them {_shown(expected)}, {found_name} orders them {_shown(found)}"
    raise DistailError(
        f"The classes of {expected_name} and {found_name} differ: {difference}. Labels would be mixed up; "
        "use data with the same classes in the same order."
    )


def _shown(names: Sequence[str], limit: int = 8) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
