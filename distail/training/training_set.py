"""What the training loop consumes: preprocessed images and targets, a batch at a time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from distail.artifact import tensors_digest
from distail.data.image_set import ImageSet
from distail.data.mixing import Mixture
from distail.data.preprocess import Preprocessing
from distail.training.targets import Targets


@runtime_checkable
class TrainingSet(Protocol):
    """Images and what a network should answer to them."""

    @property
    def num_classes(self) -> int:
        """Width of the network's output."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""

    @property
    def preprocessing(self) -> Preprocessing | None:
        """What made the images of pixels, which RandAugment looks at; None where that is not known."""

    def __len__(self) -> int: ...

    def images(self, indices: Int64[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
        """Preprocessed images on the training device."""

    def targets(
        self, indices: Int64[Tensor, " b"], views: Float[Tensor, "b c h w"], mixture: Mixture | None = None
    ) -> Targets:
        """What to answer to these images.

        Args:
            indices: of the images.
            views: what the network sees of them, augmented and maybe mixed; a teacher looks at these.
            mixture: how images were mixed after augmentation; None where they were not.
        """

    def digest(self) -> str | None:
        """Equal exactly where images and targets are; None where that cannot be told."""

    def of_epoch(self, epoch: int) -> TrainingSet:
        """What one pass over the images sees: itself, unless images look different in every pass."""


@dataclass(frozen=True, eq=False)
class RealTrainingSet:
    """Real images with their labels, kept as bytes and preprocessed batch by batch."""

    data: ImageSet
    preprocessing: Preprocessing
    device: str = "cpu"

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self.data.num_classes

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return self.data.image_shape

    def __len__(self) -> int:
        return len(self.data)

    def images(self, indices: Int64[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
        """Preprocessed images on the device."""
        return self.preprocessing.apply(self.data.images[indices].to(self.device))

    def targets(
        self, indices: Int64[Tensor, " b"], views: Float[Tensor, "b c h w"], mixture: Mixture | None = None
    ) -> Targets:
        """The labels, mixed like the images; the views themselves do not matter."""
        own = Targets(self.data.labels[indices].to(self.device))
        return own if mixture is None else own.mixed(mixture, self.num_classes)

    def of_epoch(self, epoch: int) -> RealTrainingSet:
        """Itself: every pass sees the same images."""
        return self

    def digest(self) -> str:
        """SHA-256 of images, labels and preprocessing."""
        text = json.dumps(["real images", self.data.content_hash, self.preprocessing.header()])
        return tensors_digest(self.preprocessing.to_tensors(), text)


@dataclass(frozen=True, eq=False)
class TensorTrainingSet:
    """Preprocessed images and their targets, all on the device."""

    all_images: Float[Tensor, "n c h w"]
    all_targets: Targets
    num_classes: int
    preprocessing: Preprocessing | None = None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        _, channels, height, width = self.all_images.shape
        return channels, height, width

    def __len__(self) -> int:
        return len(self.all_images)

    def images(self, indices: Int64[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
        """The stored images."""
        return self.all_images[indices.to(self.all_images.device)]

    def targets(
        self, indices: Int64[Tensor, " b"], views: Float[Tensor, "b c h w"], mixture: Mixture | None = None
    ) -> Targets:
        """The stored targets, mixed like the images; the views themselves do not matter."""
        own = self.all_targets[indices.to(self.all_images.device)]
        return own if mixture is None else own.mixed(mixture, self.num_classes)

    def of_epoch(self, epoch: int) -> TensorTrainingSet:
        """Itself: every pass sees the same images."""
        return self

    def digest(self) -> str | None:
        """SHA-256 of images and targets."""
        tensors = {"images": self.all_images, **self.all_targets.tensors()}
        own = {name: tensor.cpu() for name, tensor in tensors.items()}
        return tensors_digest(own, f"tensors of {self.num_classes} classes")


def without_single_image(batches: Sequence[Tensor]) -> Sequence[Tensor]:
    """The same, a last batch of one image joined to the one before it.

    Batch normalisation has no variance of a single image where maps have shrunk to one place.
    """
    if len(batches) < 2 or len(batches[-1]) > 1:
        return batches
    return [*batches[:-2], torch.cat(list(batches[-2:]))]


def shuffled_batches(num_images: int, batch_size: int, generator: torch.Generator) -> list[Int64[Tensor, " b"]]:
    """One epoch of index batches in random order; the last may be smaller."""
    return list(torch.randperm(num_images, generator=generator).split(batch_size))
