"""DSA: differentiable siamese augmentation (Zhao & Bilen, ICML 2021, arXiv:2102.08259).

One call draws one operation uniformly from the strategy and applies it to the whole batch. Distillation by
gradient or distribution matching uses the same parameter for real and synthetic images (`shared=True`);
trajectory matching, expert training and evaluation draw one parameter an image. The operations act on
preprocessed images: brightness is added, and zeros are filled in, in that space.

Deviations from the authors' code, neither of which changes a value on square images: sampling and application
are separate, so that a two-pass method can apply the same draw again; and rotation is a rotation of pixels on
oblong images too, where theirs also shears.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from distail.errors import DistailError, did_you_mean

DSA_OPERATIONS = ("color", "crop", "cutout", "flip", "scale", "rotate")
"""Every operation a strategy may name."""


@dataclass(frozen=True, eq=False)
class DSAParameters:
    """One draw: which operation, and its parameters. Make one with `DSA.sample`; apply it as often as needed.

    Attributes:
        operation: one of DSA_OPERATIONS, or "identity".
        image_shape: (channels, height, width) it was drawn for; crop and cutout positions depend on it.
        values: CPU tensors of shape (n,), or (1,) where one parameter is shared by a batch of any size:
            color: brightness (added), saturation and contrast (factors);
            crop: down, right (pixels the window moves);
            cutout: top, left (corner of the rectangle, maybe outside the image);
            flip: flip (bool); scale: x, y (factors; above 1 shrinks the picture); rotate: radians.
    """

    operation: str
    image_shape: tuple[int, int, int]
    values: Mapping[str, Tensor]

    @property
    def num_images(self) -> int | None:
        """How many images it is for; None for any number (one parameter, or the identity)."""
        count = max((len(tensor) for tensor in self.values.values()), default=1)
        return None if count == 1 else count


@dataclass(frozen=True)
class DSA:
    """Differentiable siamese augmentation.

    Attributes:
        strategy: operation names joined by "_"; each call applies one of them, drawn uniformly (a name given
            twice counts twice). "" or "none" leaves images as they are. Paper: all six.
        brightness: width of the uniform range, centred on 0, of what is added; input units. Paper 1.0.
        saturation: largest factor on the distance to the pixel's mean over channels; smallest 0. Paper 2.0.
        contrast: smallest factor on the distance to the image's mean; largest is this plus 1. Paper 0.5.
        crop: largest shift, as a fraction of each side. Paper 0.125.
        cutout: side of the zeroed rectangle, as a fraction of each side. Paper 0.5.
        flip: probability of a horizontal flip. Paper 0.5.
        scale: largest zoom; each axis is drawn uniformly from [1/scale, scale]. Paper 1.2.
        rotate: largest angle, in degrees either way. Paper 15.

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

    def __post_init__(self) -> None:
        for name in self.operations:
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
        if tuple(images.shape[1:]) != parameters.image_shape:
            raise DistailError(
                f"Augmentation was drawn for images of shape {parameters.image_shape} (channels, height, "
                f"width), but these are {tuple(images.shape[1:])}. Draw again with their shape."
            )
        if parameters.num_images not in (None, len(images)):
            raise DistailError(
                f"Augmentation was drawn for {parameters.num_images} images, but there are {len(images)}. "
                "Draw again, or draw with shared=True for batches of any size."
            )
        if parameters.operation == "identity":
            return images
        if parameters.operation == "cutout":
            return _cut_out(images, parameters.values, self._cutout_sides(parameters.image_shape))
        return _APPLY[parameters.operation](images, parameters.values)

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
        assert operation == "rotate", operation
        return {"radians": uniform(-math.radians(self.rotate), math.radians(self.rotate))}

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
)


def _fraction(ratio: float, side: int) -> int:
    """`ratio` of a side in whole pixels, halves rounded up."""
    return int(ratio * side + 0.5)


def _color(images: Tensor, values: Mapping[str, Tensor]) -> Tensor:
    """Brightness, then saturation about the pixel's mean, then contrast about the image's mean.

    With p the mean of x over channels and m the mean of p over the image, the three steps add up to
    c·s·x + c·(1 - s)·p + (1 - c)·m + b, which passes over the images once instead of three times.
    """
    b, s, c = (values[name].to(images)[:, None, None, None] for name in ("brightness", "saturation", "contrast"))
    pixel_mean = images.mean(1, keepdim=True)  # n 1 h w
    image_mean = pixel_mean.mean((2, 3), keepdim=True)  # n 1 1 1
    return torch.addcmul(c * (1 - s) * pixel_mean + ((1 - c) * image_mean + b), images, c * s)


def _crop(images: Tensor, values: Mapping[str, Tensor]) -> Tensor:
    """Moves the window `down` and `right` pixels over the image; zeros outside."""
    down, right = values["down"], values["right"]
    if len(down) == 1:
        y, x = int(down), int(right)
        return F.pad(images, (-x, x, -y, y))  # a negative width cuts away
    count, channels, height, width = images.shape
    tall, wide = int(down.abs().max()), int(right.abs().max())
    padded = F.pad(images, (wide, wide, tall, tall))
    rows = down[:, None] + torch.arange(tall, tall + height)  # n h
    columns = right[:, None] + torch.arange(wide, wide + width)  # n w
    places = rows[:, :, None] * padded.shape[3] + columns[:, None, :]  # n h w
    # One gather over flattened pixels: several times faster than indexing by image, channel, row and column.
    index = places.view(count, 1, -1).to(images.device).expand(-1, channels, -1)  # n c h·w
    return padded.flatten(2).gather(2, index).view(images.shape)


def _cut_out(images: Tensor, values: Mapping[str, Tensor], sides: tuple[int, int]) -> Tensor:
    """Zeros a rectangle of these sides, clipped at the borders."""
    tall, wide = sides
    _, _, height, width = images.shape
    rows = _between(values["top"], tall, height)[:, :, None]  # n h 1
    columns = _between(values["left"], wide, width)[:, None, :]  # n 1 w
    return images.masked_fill((rows & columns)[:, None].to(images.device), 0)


def _between(start: Tensor, length: int, side: int) -> Bool[Tensor, "n side"]:
    positions = torch.arange(side)
    return (positions >= start[:, None]) & (positions < start[:, None] + length)


def _flip(images: Tensor, values: Mapping[str, Tensor]) -> Tensor:
    flip = values["flip"]
    if len(flip) == 1:
        return images.flip(3) if bool(flip) else images
    return torch.where(flip.to(images.device)[:, None, None, None], images.flip(3), images)


def _scale(images: Tensor, values: Mapping[str, Tensor]) -> Tensor:
    x, y = values["x"].to(images), values["y"].to(images)
    zero = torch.zeros_like(x)
    return _resample(images, torch.stack([x, zero, zero, zero, y, zero], 1).view(-1, 2, 3))


def _rotate(images: Tensor, values: Mapping[str, Tensor]) -> Tensor:
    """Counter-clockwise about the centre by a positive angle."""
    _, _, height, width = images.shape
    radians = values["radians"].to(images)
    cos, sin, zero = radians.cos(), radians.sin(), torch.zeros_like(radians)
    # The sampling grid runs from -1 to 1 along both axes, so on oblong images its units differ in length.
    aspect = (height - 1) / (width - 1)
    return _resample(images, torch.stack([cos, -sin * aspect, zero, sin / aspect, cos, zero], 1).view(-1, 2, 3))


def _resample(images: Tensor, output_to_input: Float[Tensor, "m 2 3"]) -> Tensor:
    """Bilinear, zeros outside, corner pixels at -1 and 1; one matrix for each image or for all."""
    _, channels, height, width = images.shape
    grid = F.affine_grid(output_to_input, [len(output_to_input), channels, height, width], align_corners=True)
    grid = grid.expand(len(images), -1, -1, -1)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=True)


_APPLY: dict[str, Callable[[Tensor, Mapping[str, Tensor]], Tensor]] = {
    "color": _color,
    "crop": _crop,
    "flip": _flip,
    "scale": _scale,
    "rotate": _rotate,
}
