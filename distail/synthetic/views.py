"""Random views of images that recovery looks at, differentiable: boxes cut out and enlarged, shifts, rolls."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from distail.data.augment_chain import DSAChain

ViewKind = Literal["resized", "crop", "roll"]
"""resized: a random box, enlarged to the size of the image, then mirrored or not; crop: moved by an eighth of a side
at most, zeros where nothing is, then mirrored or not; roll: all images are moved alike by an eighth of a side at most,
what leaves comes back on the other side, and none is mirrored."""

_ROLL = 0.125
"""Largest move, as a fraction of each side."""


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
    if kind == "roll":
        moves = [int(torch.randint(int(_ROLL * side) + 1, (), generator=generator)) for side in images.shape[2:]]
        return torch.roll(images, moves, dims=(2, 3))
    return DSAChain(f"{kind}+flip", smallest_crop=smallest)(images, generator)
