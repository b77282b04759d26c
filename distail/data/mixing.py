"""Images of a batch mixed in pairs: CutMix replaces a rectangle, mixup adds.

Both draw one share for the batch, uniform in 0..1, which is Beta(1, 1), and partners by shuffling the batch.

Source: Yun et al., ICCV 2019, arXiv:1905.04899 (CutMix); Zhang et al., ICLR 2018, arXiv:1710.09412 (mixup).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Mixture:
    """Which images were mixed, and how much of each.

    Attributes:
        partner: (n,), of each image the position of the one mixed into it; a permutation, on the images' device.
        share: of the partner, 0 to 1.
    """

    partner: Int64[Tensor, " n"]
    share: float

    def of(self, values: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        """The images' values, such as class probabilities, mixed as they were."""
        return (1 - self.share) * values + self.share * values[self.partner]


@dataclass(frozen=True, eq=False)
class Mixed:
    """Images that hold parts of two.

    Attributes:
        images: (n, channels, height, width).
        mixture: how they were made.
    """

    images: Float[Tensor, "n c h w"]
    mixture: Mixture


def cutmix(images: Float[Tensor, "n c h w"], generator: torch.Generator) -> Mixed:
    """Puts one rectangle of each image's partner in its place.

    The rectangle, one for the batch, is clipped at the borders; the share is that of the pixels that it then covers.

    Args:
        images: preprocessed; not written into.
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
    return Mixed(mixed, Mixture(partner, share))


def mixup(images: Float[Tensor, "n c h w"], generator: torch.Generator) -> Mixed:
    """Adds to each image its partner, pixel by pixel, by their shares.

    Args:
        images: preprocessed; not written into.
        generator: on the CPU.
    """
    share = float(torch.rand((), generator=generator))
    mixture = Mixture(torch.randperm(len(images), generator=generator).to(images.device), share)
    return Mixed(mixture.of(images), mixture)


def span_of(side: int, ratio: float, generator: torch.Generator) -> slice:
    """A part of a side, around a uniform centre, clipped at the borders."""
    half = int(side * ratio) // 2
    centre = int(torch.randint(side, (), generator=generator))
    return slice(max(centre - half, 0), min(centre + half, side))
