"""What each operation of `DSA` does to images, given the values that were drawn for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


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


def cut_out(images: Tensor, values: Mapping[str, Tensor], sides: tuple[int, int]) -> Tensor:
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


def _resized(images: Tensor, values: Mapping[str, Tensor]) -> Tensor:
    """Enlarges a rectangle to the whole image; as corner pixels map to corner pixels, nothing outside is looked at."""
    tall, wide, top, left = (values[name].to(images) for name in ("tall", "wide", "top", "left"))
    zero = torch.zeros_like(wide)
    # The grid runs from -1 to 1, so a rectangle from `left` to `left + wide` has its centre at 2·left + wide - 1.
    rows = [wide, zero, 2 * left + wide - 1, zero, tall, 2 * top + tall - 1]
    return _resample(images, torch.stack(rows, 1).view(-1, 2, 3))


def _resample(images: Tensor, output_to_input: Float[Tensor, "m 2 3"]) -> Tensor:
    """Bilinear, zeros outside, corner pixels at -1 and 1; one matrix for each image or for all."""
    _, channels, height, width = images.shape
    grid = F.affine_grid(output_to_input, [len(output_to_input), channels, height, width], align_corners=True)
    grid = grid.expand(len(images), -1, -1, -1)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=True)


APPLY: dict[str, Callable[[Tensor, Mapping[str, Tensor]], Tensor]] = {
    "color": _color,
    "crop": _crop,
    "flip": _flip,
    "scale": _scale,
    "rotate": _rotate,
    "resized": _resized,
}
"""What an operation makes of images with the values drawn for it; cutout takes the sides of its rectangle as well."""
