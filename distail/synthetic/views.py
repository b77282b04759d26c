"""Random views of images, differentiable: boxes cut out and enlarged, shifted or rolled images, all perhaps mirrored.

Drawing a box and cutting it are separate, so that a box that was judged can be cut again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from distail.data.augment import DSA

ViewKind = Literal["resized", "crop", "roll"]
"""resized: a random box, enlarged to the size of the image, then mirrored or not; crop: moved by an eighth of a side
at most, zeros where nothing is, then mirrored or not; roll: all images are moved alike by an eighth of a side at most,
what leaves comes back on the other side, and none is mirrored."""

_ATTEMPTS = 10
"""Boxes drawn for an image, of which the first that fits is taken."""
_LARGEST_RATIO = 4 / 3
"""Of a box's sides, either way."""
_ROLL = 0.125
"""Largest move, as a fraction of each side."""


@dataclass(frozen=True, eq=False)
class Boxes:
    """One rectangle of each image, in fractions of the image's sides; on the CPU.

    Attributes:
        top, left: its corner.
        height, width: its sides.
        mirrored: whether the cut is flipped from left to right.
    """

    top: Float[Tensor, " n"]
    left: Float[Tensor, " n"]
    height: Float[Tensor, " n"]
    width: Float[Tensor, " n"]
    mirrored: Bool[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.top)

    def __getitem__(self, index: slice | Int64[Tensor, " k"]) -> Boxes:
        """Those at some positions."""
        parts = (self.top, self.left, self.height, self.width, self.mirrored)
        return Boxes(*(part[index] for part in parts))


def draw_boxes(
    num_images: int, generator: torch.Generator, *, smallest: float, similar: bool = False, mirror: bool = True
) -> Boxes:
    """Boxes of random area, form and place.

    The area is uniform in `smallest`..1 of the image's; width over height, relative to that of the image, is
    log-uniform in 3/4..4/3. Of ten boxes the first that fits into the image is taken; if none does, the first one, cut
    at the borders.

    Args:
        num_images: at least 1.
        generator: on the CPU.
        smallest: share of the area, in 0..1.
        similar: whether all boxes have the form of the image.
        mirror: whether half of the boxes are mirrored.
    """
    shape = (_ATTEMPTS, num_images)
    area = smallest + (1 - smallest) * torch.rand(shape, generator=generator)
    bound = 0.0 if similar else math.log(_LARGEST_RATIO)
    ratio = torch.exp(bound * (2 * torch.rand(shape, generator=generator) - 1))
    heights, widths = (area / ratio).sqrt(), (area * ratio).sqrt()
    first = ((heights <= 1) & (widths <= 1)).int().argmax(0)  # 0 where none fits
    columns = torch.arange(num_images)
    height, width = heights[first, columns].clamp(max=1), widths[first, columns].clamp(max=1)
    place = torch.rand(2, num_images, generator=generator)
    mirrored = torch.rand(num_images, generator=generator) < (0.5 if mirror else 0.0)
    return Boxes(place[0] * (1 - height), place[1] * (1 - width), height, width, mirrored)


def cut(images: Float[Tensor, "n c h w"], boxes: Boxes) -> Float[Tensor, "n c h w"]:
    """What is in the boxes, each enlarged to the size of its image, bilinear; differentiable in the images.

    Args:
        images: one for each box, on any device.
        boxes: from `draw_boxes`.
    """
    width = torch.where(boxes.mirrored, -boxes.width, boxes.width)
    zero = torch.zeros_like(width)
    # Where the output runs from -1 to 1, the input runs over the box, from -1 + 2 left to -1 + 2 (left + width).
    across = torch.stack([width, zero, 2 * boxes.left + boxes.width - 1], 1)
    down = torch.stack([zero, boxes.height, 2 * boxes.top + boxes.height - 1], 1)
    matrices = torch.stack([across, down], 1).to(images)  # n 2 3
    grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def random_views(
    images: Float[Tensor, "n c h w"], kind: ViewKind, smallest: float, generator: torch.Generator
) -> Float[Tensor, "n c h w"]:
    """A random view of each image; differentiable.

    Args:
        images: at least one.
        kind: of view.
        smallest: share of the area that a box takes at least; for the kind 'resized' alone.
        generator: on the CPU.
    """
    if kind == "resized":
        return cut(images, draw_boxes(len(images), generator, smallest=smallest))
    if kind == "crop":
        return DSA("flip")(DSA("crop")(images, generator), generator)
    moves = [int(torch.randint(int(_ROLL * side) + 1, (), generator=generator)) for side in images.shape[2:]]
    return torch.roll(images, moves, dims=(2, 3))
