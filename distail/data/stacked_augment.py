"""IDC's variant of DSA, in which one draw applies several operations.

Flip, colour and cutout are always applied where the strategy names them; of crop, scale, rotate and resized one is
drawn. The order is flip, colour, the drawn one, cutout. Each operation is DSA's.

Source: Kim et al., IDC, ICML 2022, arXiv:2205.14959, released code; used by DREAM.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from distail.data.augment import DSA, DSAParameters


@dataclass(frozen=True)
class StackedDSA:
    """Several operations of DSA, one after another.

    Attributes:
        strategy: operation names joined by "_"; "" or "none" leaves images as they are.

    Raises:
        DistailError: an unknown operation.
    """

    strategy: str

    def __post_init__(self) -> None:
        DSA(self.strategy)  # refuses unknown operations

    @property
    def stages(self) -> tuple[DSA, ...]:
        """Each applies one of its operations."""
        named = DSA(self.strategy).operations
        drawn = "_".join(name for name in named if name in ("crop", "scale", "rotate", "resized"))
        stages = (*(name for name in ("flip", "color") if name in named), drawn)
        stages = (*stages, *(name for name in ("cutout",) if name in named))
        return tuple(DSA(stage) for stage in stages if stage)

    def without(self, operation: str) -> StackedDSA:
        """The same with one operation less, if it is among them."""
        return StackedDSA("_".join(name for name in DSA(self.strategy).operations if name != operation))

    def sample(
        self, num_images: int, image_shape: tuple[int, int, int], generator: torch.Generator, *, shared: bool = False
    ) -> tuple[DSAParameters, ...]:
        """One draw a stage; see `DSA.sample`."""
        return tuple(stage.sample(num_images, image_shape, generator, shared=shared) for stage in self.stages)

    def apply(
        self, images: Float[Tensor, "n c h w"], parameters: tuple[DSAParameters, ...]
    ) -> Float[Tensor, "n c h w"]:
        """Applies one draw of every stage; differentiable; never writes into `images`."""
        for stage, drawn in zip(self.stages, parameters, strict=True):
            images = stage.apply(images, drawn)
        return images
