"""The plan of one inner loop: which synthetic images each step trains on, and how they are augmented."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from distail.data.augment import DSA, DSAParameters
from distail.errors import DistailError


@dataclass(frozen=True, eq=False)
class Step:
    """One step of the student.

    Attributes:
        indices: positions in the synthetic set, no two alike; on the CPU.
        augmentation: one draw for these images, each with parameters of its own.
    """

    indices: Int64[Tensor, " b"]
    augmentation: DSAParameters

    def views(self, images: Float[Tensor, "b c h w"], augment: DSA) -> Float[Tensor, "b c h w"]:
        """The step's augmented images, from `images[indices]`; differentiable. Every call gives the same views."""
        return augment.apply(images, self.augmentation)


@dataclass(frozen=True, eq=False)
class Steps:
    """All steps of one inner loop, drawn beforehand because both passes over the loop need the same.

    Attributes:
        steps: in the order in which the student takes them.
    """

    steps: tuple[Step, ...]

    def __len__(self) -> int:
        return len(self.steps)

    @staticmethod
    def draw(
        num_images: int,
        num_steps: int,
        batch_size: int,
        image_shape: tuple[int, int, int],
        augment: DSA,
        generator: torch.Generator,
    ) -> Steps:
        """Shuffles all images, cuts them into batches, and takes one from the end each step; shuffles again when none
        is left.

        Where `batch_size` does not divide `num_images`, the smaller batch comes first, as in the released code.

        Args:
            num_images: size of the synthetic set.
            num_steps: steps of the student; at least 1.
            batch_size: images a step; larger than the set means all of them.
            image_shape: (channels, height, width).
            augment: what to draw augmentations of.
            generator: on the CPU; the global one is not touched.

        Raises:
            DistailError: there is no image, no step or an empty batch.

        Source: Cazenavette et al., CVPR 2022, arXiv:2203.11932, the released inner loop.
        """
        if min(num_images, num_steps, batch_size) < 1:
            raise DistailError(
                "An inner loop needs at least one image, one step and one image a step, "
                f"not {num_images}, {num_steps} and {batch_size}."
            )
        batches: list[Tensor] = []
        steps = []
        for _ in range(num_steps):
            batches = batches or list(torch.randperm(num_images, generator=generator).split(batch_size))
            indices = batches.pop()
            steps.append(Step(indices, augment.sample(len(indices), image_shape, generator)))
        return Steps(tuple(steps))
