"""What each operation of `RandAugment` does to images whose values are those of bytes, as Pillow does it."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

RAND_OPERATIONS = (
    "identity",
    *("shear_x", "shear_y", "translate_x", "translate_y", "rotate"),
    *("brightness", "color", "contrast", "sharpness"),
    *("posterize", "solarize", "autocontrast", "equalize"),
)
"""In the order in which draws number them. Levels: shares (shear), pixels (translate), degrees (rotate), what is added
to a factor of 1 (brightness, color, contrast, sharpness), bits (posterize), a value (solarize); elsewhere none."""

_LUMA = (19595, 38470, 7471)
"""Red, green and blue in grey, in 65536ths, as Pillow has them (ITU-R 601-2)."""


def operate(
    pixels: Float[Tensor, "n c h w"], operations: Int64[Tensor, " n"], levels: Float[Tensor, " n"]
) -> Float[Tensor, "n c h w"]:
    """One operation on each image.

    Images are put in the order of their operations, and all that move pixels are one group, because every group takes
    some ten small kernels.

    Args:
        pixels: whole numbers in 0..255, float32; any device; not written into.
        operations: places in RAND_OPERATIONS; on the CPU.
        levels: signed; what they mean is said there; on the CPU.

    Returns:
        Pixels of the same kind.
    """
    order = operations.argsort(stable=True)
    counts = torch.bincount(operations, minlength=len(RAND_OPERATIONS)).tolist()
    still, moving, *others = order.split([counts[0], sum(counts[1:6]), *counts[6:]])
    parts = [_some(pixels, still)]
    if len(moving):
        parts.append(_moved(_some(pixels, moving), operations[moving], levels[moving]))
    for change, group in zip(_CHANGES, others, strict=True):
        if len(group):
            parts.append(change(_some(pixels, group), levels[group].to(pixels)[:, None, None, None]))
    return _some(torch.cat(parts), order.argsort())


def _some(pixels: Tensor, images: Int64[Tensor, " k"]) -> Tensor:
    return pixels[images.to(pixels.device)]


def _moved(pixels: Tensor, operations: Tensor, levels: Tensor) -> Tensor:
    """The nearest pixel of the place that each pixel comes from; black where that is outside."""
    count, channels, height, width = pixels.shape
    places = _output_to_input(operations, levels, height, width).to(pixels.device)
    a, b, c, d, e, f = places[:, :, None, None].unbind(1)  # n 1 1
    # Coordinates are those of corners of pixels, so that centres lie between whole numbers.
    x = torch.arange(width, dtype=torch.float32, device=pixels.device) + 0.5  # w
    y = torch.arange(height, dtype=torch.float32, device=pixels.device)[:, None] + 0.5  # h 1
    column, row = (a * x + b * y + c).floor(), (d * x + e * y + f).floor()  # n h w
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    index = (row * width + column).where(inside, 0).long().view(count, 1, -1).expand(-1, channels, -1)  # n c h·w
    return pixels.flatten(2).gather(2, index).view(pixels.shape) * inside[:, None]


def _output_to_input(operations: Tensor, levels: Tensor, height: int, width: int) -> Float[Tensor, "n 6"]:
    """Affine maps, the row of x and then that of y.

    shear_x moves rows to the left by their distance from the top times the level, shear_y columns up by theirs from the
    left border; translate_x moves to the right, translate_y down; rotate turns counter-clockwise about the centre.
    """
    radians = torch.where(operations == RAND_OPERATIONS.index("rotate"), levels * (math.pi / 180), 0)
    cos, sin, x, y = radians.cos(), radians.sin(), width / 2, height / 2
    turned = torch.stack([cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y], 1)
    return turned + torch.tensor(_BY_LEVEL)[operations - 1] * levels[:, None]


_BY_LEVEL = (
    (0.0, 1.0, 0.0, 0.0, 0.0, 0.0),
    (0.0, 0.0, 0.0, 1.0, 0.0, 0.0),
    (0.0, 0.0, -1.0, 0.0, 0.0, 0.0),
    (0.0, 0.0, 0.0, 0.0, 0.0, -1.0),
    (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
)
"""What a level adds to the map, for shear_x, shear_y, translate_x, translate_y and rotate."""


def _brightness(pixels: Tensor, levels: Tensor) -> Tensor:
    return _blended(torch.zeros_like(pixels), pixels, levels)


def _color(pixels: Tensor, levels: Tensor) -> Tensor:
    return _blended(_grey(pixels), pixels, levels)


def _contrast(pixels: Tensor, levels: Tensor) -> Tensor:
    return _blended((_grey(pixels).mean((1, 2, 3), keepdim=True) + 0.5).floor(), pixels, levels)


def _sharpness(pixels: Tensor, levels: Tensor) -> Tensor:
    """Away from, or towards, the mean of nine neighbours in which a pixel counts five times; borders stay."""
    if min(pixels.shape[2:]) < 3:
        return pixels
    smooth = pixels.clone()
    inner = pixels[:, :, 1:-1, 1:-1]
    # Thirteenths of whole numbers are never halves, so that the order of the sum does not matter.
    smooth[:, :, 1:-1, 1:-1] = ((9 * F.avg_pool2d(pixels, 3, stride=1) + 4 * inner) / 13).round()
    return _blended(smooth, pixels, levels)


def _grey(pixels: Tensor) -> Float[Tensor, "n 1 h w"]:
    """Luma of three channels, else their mean, which of one channel is the channel itself."""
    if pixels.shape[1] != len(_LUMA):
        return (pixels.mean(1, keepdim=True) + 0.5).floor()
    red, green, blue = pixels.split(1, 1)  # below 2²⁴, so that float32 holds all of it exactly
    return ((_LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue + 32768) / 65536).floor()


def _blended(dull: Tensor, pixels: Tensor, levels: Tensor) -> Tensor:
    """`dull` at level -1, the pixels at 0, and further from `dull` above; rounded towards zero."""
    return (dull + (1 + levels) * (pixels - dull)).clamp(0, 255).floor()


def _posterize(pixels: Tensor, levels: Tensor) -> Tensor:
    """Keeps as many of the highest bits as the level says."""
    step = 2 ** (8 - levels)
    return (pixels / step).floor() * step


def _solarize(pixels: Tensor, levels: Tensor) -> Tensor:
    """Turns values from the level up into their negative."""
    return torch.where(pixels < levels, pixels, 255 - pixels)


def _autocontrast(pixels: Tensor, levels: Tensor) -> Tensor:
    """Stretches each channel to 0..255, unless it has one value only."""
    lowest, highest = pixels.amin((2, 3), keepdim=True), pixels.amax((2, 3), keepdim=True)
    stretched = (255 * (pixels - lowest) / (highest - lowest).clamp_min(1)).floor()
    return torch.where(highest > lowest, stretched, pixels)


def _equalize(pixels: Tensor, levels: Tensor) -> Tensor:
    """Makes the values of each channel about equally frequent; too few pixels stay as they are, as 8x8 of them do.

    A value becomes the number of pixels below it, divided by a 255th of those below the largest value.
    """
    values = pixels.flatten(0, 1).flatten(1).long()  # n·c h·w
    counts = _histogram(values)
    largest = values.amax(1, keepdim=True)
    step = (values.shape[1] - counts.gather(1, largest)) // 255  # n·c 1
    below = counts.cumsum(1) - counts
    table = ((below + step // 2) // step.clamp_min(1)).clamp_max(255)
    return torch.where(step > 0, table.gather(1, values), values).view(pixels.shape).to(pixels)


def _histogram(values: Int64[Tensor, "m p"]) -> Int64[Tensor, "m 256"]:
    counts = torch.zeros(len(values), 256, dtype=torch.int64, device=values.device)
    return counts.scatter_add_(1, values, torch.ones_like(values))


_CHANGES: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    _brightness,
    _color,
    _contrast,
    _sharpness,
    _posterize,
    _solarize,
    _autocontrast,
    _equalize,
)
"""In the order of RAND_OPERATIONS, of which they are the last; levels come as (n, 1, 1, 1)."""
