"""Mosaics written out, one float64 image (channels, height, width) at a time: IDC, arXiv:2205.14959."""

import torch
from torch import Tensor


def cell(image: Tensor, cells: int, row: int, column: int) -> Tensor:
    _, height, width = image.shape
    tall, wide = height // cells, width // cells
    return image[:, row * tall : (row + 1) * tall, column * wide : (column + 1) * wide]


def enlarged(image: Tensor, height: int, width: int) -> Tensor:
    """Bilinear between the centres of pixels, clamped at the borders."""
    _, tall, wide = image.shape
    result = torch.empty(len(image), height, width, dtype=image.dtype)
    for y in range(height):
        for x in range(width):
            v = min(max((y + 0.5) * tall / height - 0.5, 0), tall - 1)
            u = min(max((x + 0.5) * wide / width - 0.5, 0), wide - 1)
            top, left = int(v), int(u)
            bottom, right = min(top + 1, tall - 1), min(left + 1, wide - 1)
            a, b = v - top, u - left
            result[:, y, x] = (1 - a) * ((1 - b) * image[:, top, left] + b * image[:, top, right]) + a * (
                (1 - b) * image[:, bottom, left] + b * image[:, bottom, right]
            )
    return result


def decode(image: Tensor, cells: int) -> list[Tensor]:
    _, height, width = image.shape
    places = [(row, column) for row in range(cells) for column in range(cells)]
    return [enlarged(cell(image, cells, row, column), height, width) for row, column in places]
