"""Images as data in the page: strips of several, and whole pictures."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

SHOWN_SIDE = 56
"""Side in pixels at which an image is shown, at least: smaller ones are enlarged by a whole factor."""

COLUMNS = 10
"""Images beside each other in a strip."""

MAX_PICTURE_SIDE = 1600
"""Longer side in pixels above which a picture of a file is reduced."""

MAX_PLAIN_BYTES = 500_000
"""Size of a PNG above which a picture of a file is reduced to 256 colours."""

_BASE64 = 4 / 3
_SMALLEST_SIDE = 24
"""Pixels a side below which images are not reduced, since nothing could be told from them."""


@dataclass(frozen=True)
class Picture:
    """A picture in the page.

    Attributes:
        uri: the PNG itself, as a data URI.
        width, height: pixels at which it is shown where there is room.
        alt: what it shows, in words.
    """

    uri: str
    width: int
    height: int
    alt: str


@dataclass(frozen=True)
class Reduction:
    """How many images of each class are shown, and how much smaller.

    Attributes:
        per_class: at most so many; 0 where there are so many classes that none can be shown.
        step: a pixel shown for so many a side.
    """

    per_class: int
    step: int = 1

    def apply(self, pixels: UInt8[Tensor, "n c h w"]) -> UInt8[Tensor, "m c h2 w2"]:
        """The first images of a class, reduced."""
        shown = pixels[: self.per_class]
        if self.step == 1:
            return shown
        return torch.nn.functional.avg_pool2d(shown.float(), self.step).round().to(torch.uint8)


def reduction_for(
    num_classes: int, per_class: int, image_shape: tuple[int, int, int], max_bytes: int, wanted: int = 50
) -> Reduction:
    """How much of the images fits into a page: at full size down to five of each class, then smaller ones.

    Args:
        num_classes: how many classes there are.
        per_class: images of the largest.
        image_shape: (channels, height, width).
        max_bytes: of the page, reckoned as if PNG compressed nothing, as is nearly so with noise.
        wanted: of each class, at most.
    """
    channels, height, width = image_shape
    steps = [step for step in (1, 2, 4, 8) if step == 1 or min(height, width) // step >= _SMALLEST_SIDE]
    numbers = [number for number in (50, 20, 10, 5, 3, 2, 1) if number <= wanted]
    tries = [(number, 1) for number in numbers if number >= 5]
    tries += [(number, step) for step in steps[1:] for number in numbers if number >= 3]
    tries += [(number, steps[-1]) for number in numbers]
    for number, step in tries:
        size = num_classes * min(number, per_class) * min(channels, 3) * (height // step) * (width // step) * _BASE64
        if size <= max_bytes:
            return Reduction(number, step)
    return Reduction(0)


def strip(pixels: UInt8[Tensor, "n c h w"], alt: str) -> Picture:
    """Images side by side, ten a line, with a transparent gap; colours other than grey and RGB as their mean.

    Raises:
        ValueError: no image.
    """
    if len(pixels) == 0:
        raise ValueError("a strip needs an image")
    values = _displayable(pixels)
    count, height, width, _ = values.shape
    columns = min(count, COLUMNS)
    rows = math.ceil(count / columns)
    gap = max(1, max(height, width) // 32)
    unused = _unused_grey(values)
    shape = (rows * (height + gap) - gap, columns * (width + gap) - gap, values.shape[3])
    sheet = np.full(shape, 128 if unused is None else unused, dtype=np.uint8)
    for place, image in enumerate(values):
        top, left = place // columns * (height + gap), place % columns * (width + gap)
        sheet[top : top + height, left : left + width] = image
    factor = max(1, math.ceil(SHOWN_SIDE / max(height, width)))
    grey = shape[2] == 1
    picture = Image.fromarray(sheet[..., 0] if grey else sheet)
    see_through = None if unused is None else unused if grey else (unused, unused, unused)
    return Picture(_png(picture, see_through), factor * shape[1], factor * shape[0], alt)


def shares_picture(shares: Float[Tensor, "k k"], alt: str) -> Picture:
    """A matrix of fractions of one as a picture, a pixel a number: see-through at 0, full at 1."""
    alpha = (shares.sqrt() * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    ink = np.zeros((*alpha.shape, 4), dtype=np.uint8)
    ink[..., :3] = (47, 125, 209)
    ink[..., 3] = alpha
    factor = max(1, round(480 / len(alpha)))
    return Picture(_png(Image.fromarray(ink)), factor * len(alpha), factor * len(alpha), alt)


def file_picture(path: Path, alt: str) -> Picture:
    """A picture from a file: with fewer pixels if it is very large, and in fewer colours if it takes many bytes.

    Raises:
        OSError: it is not there or no picture.
    """
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((MAX_PICTURE_SIDE, MAX_PICTURE_SIDE))
    uri = _png(picture)
    if len(uri) > MAX_PLAIN_BYTES * _BASE64:
        # An octree keeps colours that are rare but far from all others, as of a class among many. A median cut, which
        # is the default, spends its colours on what is frequent, and two classes may become one.
        uri = _png(picture.quantize(256, method=Image.Quantize.FASTOCTREE))
    return Picture(uri, picture.width, picture.height, alt)


def _displayable(pixels: UInt8[Tensor, "n c h w"]) -> UInt8[np.ndarray, "n h w c2"]:
    if pixels.shape[1] not in (1, 3):
        pixels = pixels.float().mean(1, keepdim=True).round().to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def _unused_grey(values: UInt8[np.ndarray, "n h w c"]) -> int | None:
    """A shade of grey that no pixel has, so that it can stand for transparency; None where all occur."""
    first = values[..., 0]
    greys = first[(values == first[..., None]).all(axis=-1)]
    free = np.setdiff1d(np.arange(256), np.unique(greys))
    return int(free[len(free) // 2]) if len(free) else None


def _png(picture: Image.Image, see_through: int | tuple[int, int, int] | None = None) -> str:
    file = io.BytesIO()
    if see_through is None:
        picture.save(file, format="PNG")
    else:
        picture.save(file, format="PNG", transparency=see_through)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
