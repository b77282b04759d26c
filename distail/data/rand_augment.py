"""RandAugment: a few operations on pixels in turn, each drawn evenly from fourteen, all of one magnitude.

Operations, their ranges and the order of things are those of `torchvision.transforms.RandAugment` on Pillow images, as
released evaluations call (that of EDC with its defaults, before crop and flip): levels in 31 steps, shear to 0.3,
translation to 150/331 of a side, rotation to 30 degrees, factors to 1 ± 0.9, four bits at least, solarising from 255
down to 0; either sign is as likely; the nearest pixel is taken, and black outside.

They are defined on bytes, and networks see preprocessed images. So images are led back to pixels, limited to 0..255,
rounded as in an image file, and preprocessed again afterwards: all of them, also those that nothing happens to. What
moves in from outside is black, where DSA fills in zeros of the preprocessed space.

Deviations: autocontrast rounds down exactly, where Pillow's floating point may fall just short of a whole number, and
then gives one grey level less. Grey images keep their one channel, which `color` leaves as it is. Images of other
numbers of channels than one and three, which Pillow's operations do not have, take the mean of channels for grey.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from distail.data.augment import DSAParameters
from distail.data.preprocess import Preprocessing
from distail.data.rand_operations import RAND_OPERATIONS, operate
from distail.errors import DistailError

_WRITTEN = re.compile(r"rand(?:-(\d+)-(\d+))?")
_STEPS = 30
"""Largest magnitude."""
_LEVELS: dict[str, Callable[[float, int, int], float]] = {
    "shear_x": lambda share, height, width: 0.3 * share,
    "shear_y": lambda share, height, width: 0.3 * share,
    "translate_x": lambda share, height, width: int(150 / 331 * width * share),
    "translate_y": lambda share, height, width: int(150 / 331 * height * share),
    "rotate": lambda share, height, width: 30 * share,
    "brightness": lambda share, height, width: 0.9 * share,
    "color": lambda share, height, width: 0.9 * share,
    "contrast": lambda share, height, width: 0.9 * share,
    "sharpness": lambda share, height, width: 0.9 * share,
    "posterize": lambda share, height, width: 8 - round(4 * share),
    "solarize": lambda share, height, width: 255 * (1 - share),
}
"""Level at a share of the largest magnitude, in images of this height and width; 0 where an operation has none."""
_UNSIGNED = ("posterize", "solarize")


@dataclass(frozen=True)
class RandAugment:
    """A part of a chain, as `DSA` is: draws for each image, and applies.

    Attributes:
        preprocessing: of the images that it is applied to.
        num_operations: applied to each image in turn; drawn with replacement. torchvision: 2.
        magnitude: of all of them, in 0..30. torchvision: 9.

    Raises:
        DistailError: a value outside its range.

    Source: Cubuk et al., arXiv:1909.13719; torchvision's version of it.
    """

    preprocessing: Preprocessing
    num_operations: int = 2
    magnitude: int = 9

    def __post_init__(self) -> None:
        if self.num_operations < 1 or not 0 <= self.magnitude <= _STEPS:
            raise DistailError(
                f"RandAugment 'rand-{self.num_operations}-{self.magnitude}' must apply at least one operation, of a "
                f"magnitude in 0..{_STEPS}. Write 'rand-2-9' for the common two operations of magnitude 9."
            )

    @staticmethod
    def written(part: str, preprocessing: Preprocessing | None) -> RandAugment | None:
        """What a part of a strategy asks for: 'rand', or 'rand-N-M' with operations and magnitude; else None.

        Raises:
            DistailError: a value outside its range, or images whose preprocessing is not known.
        """
        found = _WRITTEN.fullmatch(part)
        if found is None:
            return None
        if preprocessing is None:
            raise DistailError(
                f"The augmentation '{part}' works on pixels, and how these images were made of pixels is not known. "
                "Pass their preprocessing, or leave it out."
            )
        return RandAugment(preprocessing, *(int(number) for number in found.groups() if number))

    def sample(
        self, num_images: int, image_shape: tuple[int, int, int], generator: torch.Generator, *, shared: bool = False
    ) -> DSAParameters:
        """Draws operations, and the sign of each level; see `DSA.sample`.

        Raises:
            DistailError: `num_images` is below 1.
        """
        if num_images < 1:
            raise DistailError(f"Augmentation needs at least one image, not {num_images}.")
        size = (1 if shared else num_images, self.num_operations)
        operations = torch.randint(len(RAND_OPERATIONS), size, generator=generator)
        return DSAParameters(
            "rand", image_shape, {"operations": operations, "negative": torch.rand(size, generator=generator) < 0.5}
        )

    def apply(self, images: Float[Tensor, "n c h w"], parameters: DSAParameters) -> Float[Tensor, "n c h w"]:
        """Applies one draw; any device and floating-point type; never writes into `images`.

        Raises:
            DistailError: images of another shape or number than the draw was made for, or images that are being
                learned: rounding leaves them no gradients.
        """
        parameters.require_fit(images)
        if images.requires_grad and torch.is_grad_enabled():
            raise DistailError(
                "RandAugment ('rand') passes no gradients on, so images cannot be learned through it. Leave it out of "
                "the augmentation."
            )
        with torch.no_grad():
            pixels = (self.preprocessing.invert(images).float().clamp(0, 1) * 255).round()
            operations, levels = parameters.values["operations"], self._levels(parameters)
            for turn in range(self.num_operations):
                pixels = operate(pixels, *(each[:, turn].expand(len(images)) for each in (operations, levels)))
            return self.preprocessing.apply(pixels.to(images.dtype) / 255).to(images.dtype)

    def __call__(
        self, images: Float[Tensor, "n c h w"], generator: torch.Generator, shared: bool = False
    ) -> Float[Tensor, "n c h w"]:
        """Draws and applies at once; an empty batch comes back as it is, without a draw."""
        if len(images) == 0:
            return images
        _, channels, height, width = images.shape
        return self.apply(images, self.sample(len(images), (channels, height, width), generator, shared=shared))

    def _levels(self, parameters: DSAParameters) -> Float[Tensor, "n k"]:
        """Signed ones, on the CPU, of the operations that were drawn."""
        _, height, width = parameters.image_shape
        share = self.magnitude / _STEPS
        sizes = [_LEVELS[name](share, height, width) if name in _LEVELS else 0.0 for name in RAND_OPERATIONS]
        signs = [0.0 if name in _UNSIGNED else 2.0 for name in RAND_OPERATIONS]
        drawn = parameters.values["operations"]
        return torch.tensor(sizes)[drawn] * (1 - torch.tensor(signs)[drawn] * parameters.values["negative"])
