"""DSA: differentiable siamese augmentation (Zhao & Bilen, ICML 2021, arXiv:2102.08259).

One call draws one operation uniformly from the strategy and applies it to the whole batch. Distillation by
gradient or distribution matching uses the same parameter for real and synthetic images (`shared=True`);
trajectory matching, expert training and evaluation draw one parameter an image. The operations act on
preprocessed images: brightness is added, and zeros are filled in, in that space. The operation `resized`, which the
paper does not have and no default names, is the random resized crop of later evaluations.

Deviations from the authors' code, neither of which changes a value on square images: sampling and application
are separate, so that a two-pass method can apply the same draw again; and rotation is a rotation of pixels on
oblong images too, where theirs also shears.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from distail.data.augment_operations import APPLY, cut_out
from distail.errors import DistailError, did_you_mean

DSA_OPERATIONS = ("color", "crop", "cutout", "flip", "scale", "rotate", "resized")
"""Every operation a strategy may name."""


@dataclass(frozen=True, eq=False)
class DSAParameters:
    """One draw: which operation, and its parameters. Make one with `DSA.sample`; apply it as often as needed.

    Attributes:
        operation: one of DSA_OPERATIONS, "identity", or "rand".
        image_shape: (channels, height, width) it was drawn for; crop and cutout positions depend on it.
        values: CPU tensors of shape (n,), or (1,) where one parameter is shared by a batch of any size:
            color: brightness (added), saturation and contrast (factors);
            crop: down, right (pixels the window moves);
            cutout: top, left (corner of the rectangle, maybe outside the image);
            flip: flip (bool); scale: x, y (factors; above 1 shrinks the picture); rotate: radians;
            resized: tall, wide, top, left of the rectangle, as shares of the image's sides;
            rand (of `RandAugment`): operations (their numbers) and negative (bool), both of shape (n, operations).
    """

    operation: str
    image_shape: tuple[int, int, int]
    values: Mapping[str, Tensor]

    @property
    def num_images(self) -> int | None:
        """How many images it is for; None for any number (one parameter, or the identity)."""
        count = max((len(tensor) for tensor in self.values.values()), default=1)
        return None if count == 1 else count

    def require_fit(self, images: Float[Tensor, "n c h w"]) -> None:
        """Refuses images of another shape, or another number of them, than it was made for.

        Raises:
            DistailError: they are.
        """
        if tuple(images.shape[1:]) != self.image_shape:
            raise DistailError(
                f"Augmentation was drawn for images of shape {self.image_shape} (channels, height, "
                f"width), but these are {tuple(images.shape[1:])}. Draw again with their shape."
            )
        if self.num_images not in (None, len(images)):
            raise DistailError(
                f"Augmentation was drawn for {self.num_images} images, but there are {len(images)}. "
                "Draw again, or draw with shared=True for batches of any size."
            )

    def __getitem__(self, images: slice | Int64[Tensor, " k"]) -> DSAParameters:
        """What was drawn for some of the images."""
        values = {name: tensor[images] for name, tensor in self.values.items()}
        return DSAParameters(self.operation, self.image_shape, values)


@dataclass(frozen=True)
class DSA:
    """Differentiable siamese augmentation.

    Attributes:
        strategy: operation names joined by "_"; each call applies one of them, drawn uniformly (a name given
            twice counts twice). "" or "none" leaves images as they are. Paper: all but `resized`.
        brightness: width of the uniform range, centred on 0, of what is added; input units. Paper 1.0.
        saturation: largest factor on the distance to the pixel's mean over channels; smallest 0. Paper 2.0.
        contrast: smallest factor on the distance to the image's mean; largest is this plus 1. Paper 0.5.
        crop: largest shift, as a fraction of each side. Paper 0.125.
        cutout: side of the zeroed rectangle, as a fraction of each side. Paper 0.5.
        flip: probability of a horizontal flip. Paper 0.5.
        scale: largest zoom; each axis is drawn uniformly from [1/scale, scale]. Paper 1.2.
        rotate: largest angle, in degrees either way. Paper 15.
        smallest_crop: smallest share of the area that `resized` enlarges; shares are uniform from there to 1.
        stretch: how much wider than tall, or taller than wide, `resized` cuts at most, beside the image's own shape; 1
            leaves shapes as they are.

    Raises:
        DistailError: an unknown operation, or a value outside its range.

    Source: Zhao & Bilen, ICML 2021, arXiv:2102.08259.
    """

    strategy: str = "color_crop_cutout_flip_scale_rotate"
    brightness: float = 1.0
    saturation: float = 2.0
    contrast: float = 0.5
    crop: float = 0.125
    cutout: float = 0.5
    flip: float = 0.5
    scale: float = 1.2
    rotate: float = 15.0
    smallest_crop: float = 0.08
    stretch: float = 4 / 3

    def __post_init__(self) -> None:
        for name in self.operations:
            if re.match(r"rand\b", name):
                raise DistailError(
                    f"The augmentation '{self.strategy}' asks for RandAugment, which stands alone between '+', as "
                    "'rand' or 'rand-2-9' (operations, magnitude), and only where networks are trained on finished "
                    f"images, for it passes no gradients on. Choose from {', '.join(DSA_OPERATIONS)} here."
                )
            if name not in DSA_OPERATIONS:
                raise DistailError(
                    f"Unknown augmentation '{name}' in strategy '{self.strategy}'. "
                    f"{did_you_mean(name, DSA_OPERATIONS)} Join names with '_', or write 'none' for no augmentation."
                )
        for name, lowest, highest in _RANGES:
            value = getattr(self, name)
            if not (lowest <= value <= highest and math.isfinite(value)):
                limit = f"in {lowest:g}..{highest:g}" if math.isfinite(highest) else f"a number of at least {lowest:g}"
                raise DistailError(f"Augmentation '{name}' must be {limit}, not {value}.")

    @property
    def operations(self) -> tuple[str, ...]:
        """The operations to draw from; empty where the strategy is the identity."""
        return () if self.strategy in ("", "none") else tuple(self.strategy.split("_"))

    def sample(
        self, num_images: int, image_shape: tuple[int, int, int], generator: torch.Generator, *, shared: bool = False
    ) -> DSAParameters:
        """Draws an operation and its parameters.

        Args:
            num_images: how many images to draw for; at least 1.
            image_shape: (channels, height, width).
            generator: on the CPU, so that every device sees the same draw; the global one is not touched.
            shared: one parameter for every image; the draw then fits batches of any size.

        Raises:
            DistailError: `num_images` is below 1.
        """
        if num_images < 1:
            raise DistailError(f"Augmentation needs at least one image, not {num_images}.")
        if not self.operations:
            return DSAParameters("identity", image_shape, {})
        operation = self.operations[int(torch.randint(len(self.operations), (), generator=generator))]
        count = 1 if shared else num_images
        return DSAParameters(operation, image_shape, self._draw(operation, count, image_shape, generator))

    def apply(self, images: Float[Tensor, "n c h w"], parameters: DSAParameters) -> Float[Tensor, "n c h w"]:
        """Applies one draw; differentiable; any device and floating-point type.

        May return `images` itself where the draw leaves them unchanged; never writes into them.

        Args:
            images: preprocessed images.
            parameters: from `sample` of the same DSA.

        Raises:
            DistailError: images of another shape, or another number of them, than the draw was made for.
        """
        parameters.require_fit(images)
        if parameters.operation == "identity":
            return images
        if parameters.operation == "cutout":
            return cut_out(images, parameters.values, self._cutout_sides(parameters.image_shape))
        return APPLY[parameters.operation](images, parameters.values)

    def __call__(
        self, images: Float[Tensor, "n c h w"], generator: torch.Generator, shared: bool = False
    ) -> Float[Tensor, "n c h w"]:
        """Draws and applies at once; an empty batch comes back as it is, without a draw."""
        if len(images) == 0:
            return images
        _, channels, height, width = images.shape
        parameters = self.sample(len(images), (channels, height, width), generator, shared=shared)
        return self.apply(images, parameters)

    def _draw(
        self, operation: str, count: int, image_shape: tuple[int, int, int], generator: torch.Generator
    ) -> dict[str, Tensor]:
        _, height, width = image_shape

        def uniform(lowest: float, highest: float) -> Tensor:
            return torch.rand(count, generator=generator) * (highest - lowest) + lowest

        def integer(lowest: int, end: int) -> Tensor:
            return torch.randint(lowest, end, (count,), generator=generator)

        if operation == "color":
            return {
                "brightness": uniform(-self.brightness / 2, self.brightness / 2),
                "saturation": uniform(0.0, self.saturation),
                "contrast": uniform(self.contrast, self.contrast + 1),
            }
        if operation == "crop":
            down, right = _fraction(self.crop, height), _fraction(self.crop, width)
            return {"down": integer(-down, down + 1), "right": integer(-right, right + 1)}
        if operation == "cutout":
            tall, wide = self._cutout_sides(image_shape)
            # An even side has its centre between pixels: one place more, so that both borders are cut alike.
            top = integer(0, height + 1 - tall % 2) - tall // 2
            return {"top": top, "left": integer(0, width + 1 - wide % 2) - wide // 2}
        if operation == "flip":
            return {"flip": torch.rand(count, generator=generator) < self.flip}
        if operation == "scale":
            return {"x": uniform(1 / self.scale, self.scale), "y": uniform(1 / self.scale, self.scale)}
        if operation == "rotate":
            return {"radians": uniform(-math.radians(self.rotate), math.radians(self.rotate))}
        assert operation == "resized", operation
        area, stretch = uniform(self.smallest_crop, 1.0), uniform(-1.0, 1.0)
        return _rectangle(area, stretch, uniform(0.0, 1.0), uniform(0.0, 1.0), math.log(self.stretch))

    def _cutout_sides(self, image_shape: tuple[int, int, int]) -> tuple[int, int]:
        _, height, width = image_shape
        return _fraction(self.cutout, height), _fraction(self.cutout, width)


_RANGES = (
    ("brightness", 0.0, math.inf),
    ("saturation", 0.0, math.inf),
    ("contrast", 0.0, math.inf),
    ("crop", 0.0, 1.0),
    ("cutout", 0.0, 1.0),
    ("flip", 0.0, 1.0),
    ("scale", 1.0, math.inf),
    ("rotate", 0.0, 180.0),
    ("smallest_crop", 0.0, 1.0),
    ("stretch", 1.0, math.inf),
)


def _rectangle(area: Tensor, stretch: Tensor, down: Tensor, right: Tensor, largest: float) -> dict[str, Tensor]:
    """A rectangle of this share of the image's area.

    Where the largest would not fit, the stretch is drawn from those that do, so that the area stays uniform;
    torchvision draws the area again, which makes large ones rarer.

    Args:
        area: above 0, at most 1.
        stretch: uniform in -1..1; becomes the aspect ratio, whose logarithm is uniform.
        down, right: uniform in 0..1; become the place.
        largest: logarithm of the largest aspect ratio.
    """
    area = area.clamp_min(torch.finfo(area.dtype).tiny)
    ratio = (stretch * (-area.log()).clamp(0, largest)).exp()
    tall, wide = ((area / ratio).sqrt().clamp_max(1), (area * ratio).sqrt().clamp_max(1))
    return {"tall": tall, "wide": wide, "top": down * (1 - tall), "left": right * (1 - wide)}


def _fraction(ratio: float, side: int) -> int:
    """`ratio` of a side in whole pixels, halves rounded up."""
    return int(ratio * side + 0.5)
