"""DSA's operations written out for one float64 image (channels, height, width), mostly pixel by pixel.

Parameters are the drawn numbers, not the ratios they come from. Zhao & Bilen, ICML 2021, arXiv:2102.08259.
"""

import torch
from torch import Tensor


def color(image: Tensor, brightness: float, saturation: float, contrast: float) -> Tensor:
    image = image + brightness
    grey = image.mean(0, keepdim=True)
    image = (image - grey) * saturation + grey
    mean = image.mean()
    return (image - mean) * contrast + mean


def crop(image: Tensor, down: int, right: int) -> Tensor:
    _, height, width = image.shape
    result = torch.zeros_like(image)
    for row in range(height):
        for column in range(width):
            if 0 <= row + down < height and 0 <= column + right < width:
                result[:, row, column] = image[:, row + down, column + right]
    return result


def cutout(image: Tensor, top: int, left: int, tall: int, wide: int) -> Tensor:
    # Rows and columns outside the image are moved to its border, as the authors' code does.
    _, height, width = image.shape
    result = image.clone()
    for row in range(top, top + tall):
        for column in range(left, left + wide):
            result[:, min(max(row, 0), height - 1), min(max(column, 0), width - 1)] = 0
    return result


def flip(image: Tensor, flipped: bool) -> Tensor:
    return torch.stack(list(image.unbind(2))[::-1], 2) if flipped else image
