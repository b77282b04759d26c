"""Mosaics: stored images that hold several small ones, each enlarged to full size before a network sees it.

A mosaic of 2 cells a side stores four images, at half their side, in the place of one.

Source: Kim et al., IDC, ICML 2022, arXiv:2205.14959 (multi-formation); used by DREAM, and by IDM as partitioning and
expansion.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from distail.data.preprocess import Preprocessing
from distail.errors import DistailError


def require_divisible(image_shape: tuple[int, int, int], cells: int, setting: str = "mosaic") -> None:
    """Refuses mosaics that do not come out even.

    Args:
        image_shape: (channels, height, width).
        cells: a side; 1 is no mosaic.
        setting: the hyper-parameter that says how many cells there are.

    Raises:
        DistailError: a side of the images is not a multiple of `cells`.
    """
    _, height, width = image_shape
    if height % cells or width % cells:
        raise DistailError(
            f"A mosaic of {cells}x{cells} cells needs sides that {cells} divides, but the images are {height}x{width} "
            f"pixels. Use other ones with --image-size {max(height // cells, 1) * cells}, or no mosaics with --set "
            f"{setting}=1."
        )


def compose(images: Float[Tensor, "m c h w"], cells: int) -> Float[Tensor, "n c h w"]:
    """Mosaics of images, each of them reduced by the mean of cells x cells pixels; m = n * cells * cells.

    Args:
        images: those of a mosaic stand one after the other, row by row.
        cells: a side; the sides of the images are multiples of it.
    """
    _, channels, height, width = images.shape
    small = F.avg_pool2d(images, cells).view(-1, cells, cells, channels, height // cells, width // cells)
    return small.permute(0, 3, 1, 4, 2, 5).reshape(-1, channels, height, width)


def decode(images: Float[Tensor, "n c h w"], cells: int) -> Float[Tensor, "m c h w"]:
    """The cells of mosaics, each enlarged to full size by bilinear interpolation; m = n * cells². Differentiable.

    Args:
        images: as pixels, or in a space in which every pixel of a channel is treated alike.
        cells: a side; the sides of the images are multiples of it. 1 returns `images` themselves.
    """
    if cells == 1:
        return images
    _, channels, height, width = images.shape
    split = images.view(-1, channels, cells, height // cells, cells, width // cells)
    small = split.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels, height // cells, width // cells)
    return F.interpolate(small, size=(height, width), mode="bilinear", align_corners=False)


def decode_preprocessed(
    images: Float[Tensor, "n c h w"], cells: int, preprocessing: Preprocessing
) -> Float[Tensor, "m c h w"]:
    """`decode` of mosaics in preprocessed space, to images in preprocessed space. Differentiable.

    ZCA mixes the pixels of a whole image, and a cell of a whitened mosaic is no whitened image: there the cells are cut
    and enlarged as pixels.
    """
    if cells == 1 or preprocessing.kind != "zca":
        return decode(images, cells)
    return preprocessing.apply(decode(preprocessing.invert(images), cells))
