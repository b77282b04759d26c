"""Several augmentations, one after another, such as a random resized crop and then a flip."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from distail.data.augment import DSA, DSAParameters
from distail.data.preprocess import Preprocessing
from distail.data.rand_augment import RandAugment
from distail.errors import DistailError


@cache
def require_augmentation(strategy: str) -> None:
    """Refuses a strategy that `DSAChain` would refuse, whatever the images.

    Raises:
        DistailError: as there.
    """
    DSAChain(strategy, preprocessing=Preprocessing("none", (3, 1, 1)))


@dataclass(frozen=True)
class DSAChain:
    """Strategies of `DSA`, and `RandAugment`, in turn; a single one is exactly that, with the same draws.

    Attributes:
        strategy: parts joined by "+", as in "rand+resized+flip": "rand", or "rand-N-M" for N operations of magnitude M,
            is RandAugment; of every other part one operation is drawn.
        smallest_crop: of the operation `resized`.
        preprocessing: of the images, which RandAugment needs and nothing else does.

    Raises:
        DistailError: an unknown operation, an empty part, a value outside its range, or RandAugment without
            `preprocessing`.
    """

    strategy: str = DSA.strategy
    smallest_crop: float = DSA.smallest_crop
    preprocessing: Preprocessing | None = None

    def __post_init__(self) -> None:
        if "+" in self.strategy and not all(part.strip() for part in self.strategy.split("+")):
            raise DistailError(
                f"The augmentation '{self.strategy}' has nothing on one side of a '+'. Put operations on both, as in "
                "'resized+flip'."
            )
        _ = self.parts  # refuses unknown operations

    @cached_property
    def parts(self) -> tuple[DSA | RandAugment, ...]:
        """One for each part, in the order in which they are applied."""
        parts = (part.strip() for part in self.strategy.split("+"))
        return tuple(
            RandAugment.written(part, self.preprocessing) or DSA(part, smallest_crop=self.smallest_crop)
            for part in parts
        )

    def sample(
        self, num_images: int, image_shape: tuple[int, int, int], generator: torch.Generator, *, shared: bool = False
    ) -> tuple[DSAParameters, ...]:
        """One draw a part; see `DSA.sample`."""
        return tuple(part.sample(num_images, image_shape, generator, shared=shared) for part in self.parts)

    def apply(
        self, images: Float[Tensor, "n c h w"], parameters: tuple[DSAParameters, ...]
    ) -> Float[Tensor, "n c h w"]:
        """Applies one draw of every part; never writes into `images`.

        Differentiable, but for RandAugment, which refuses images that are being learned.
        """
        for part, drawn in zip(self.parts, parameters, strict=True):
            images = part.apply(images, drawn)
        return images

    def __call__(
        self, images: Float[Tensor, "n c h w"], generator: torch.Generator, shared: bool = False
    ) -> Float[Tensor, "n c h w"]:
        """Draws and applies at once; an empty batch comes back as it is, without a draw."""
        for part in self.parts:
            images = part(images, generator, shared)
        return images
