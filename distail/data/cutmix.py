"""CutMix: a rectangle of each image is replaced by that of another one, and the labels by their mixture.

Source: Yun et al., ICCV 2019, arXiv:1905.04899.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Mixed:
    """Images that hold parts of two, and what a network should answer.

    Attributes:
        images: (n, channels, height, width).
        targets: (n, classes), probabilities: the shares of the pixels.
    """

    images: Float[Tensor, "n c h w"]
    targets: Float[Tensor, "n k"]


def cutmix(
    images: Float[Tensor, "n c h w"], labels: Int64[Tensor, " n"], num_classes: int, generator: torch.Generator
) -> Mixed:
    """Puts one rectangle of each image's partner, drawn by shuffling the batch, in its place.

    The share of the rectangle is uniform in 0..1 before it is clipped at the borders: Beta(1, 1), as in the paper. One
    rectangle is drawn for the batch.

    Args:
        images: preprocessed; not written into.
        labels: of the images, on the same device.
        num_classes: width of the targets.
        generator: on the CPU.
    """
    count, _, height, width = images.shape
    ratio = float(torch.rand((), generator=generator)) ** 0.5  # of a side, so its square is uniform
    rows = span_of(height, ratio, generator)
    columns = span_of(width, ratio, generator)
    partner = torch.randperm(count, generator=generator).to(images.device)
    mixed = images.clone()
    mixed[:, :, rows, columns] = images[partner][:, :, rows, columns]
    share = (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)
    own = F.one_hot(labels, num_classes).to(images.dtype)
    return Mixed(mixed, (1 - share) * own + share * own[partner])


def span_of(side: int, ratio: float, generator: torch.Generator) -> slice:
    """Part of a side around a uniform centre, clipped at the borders.

    Args:
        side: in pixels.
        ratio: of the part to the side, before it is clipped.
        generator: on the CPU.
    """
    half = int(side * ratio) // 2
    centre = int(torch.randint(side, (), generator=generator))
    return slice(max(centre - half, 0), min(centre + half, side))
