"""Exact statistics of byte images, in bounded memory: what preprocessing is fitted by."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor

_CHUNK_VALUES = 1 << 24  # values transformed at once: 64 MiB in float32
_EXACT_TERMS = 1024  # 128² · 1024 = 2^24, the largest count to which float32 adds integers without rounding


class ChannelStatistics(NamedTuple):
    """Of pixels scaled to [0, 1]."""

    mean: Float64[Tensor, " c"]
    std: Float64[Tensor, " c"]


class Directions(NamedTuple):
    """Mean image, orthonormal directions, and the variance along each; pixels scaled to [0, 1]."""

    mean: Float64[Tensor, " d"]
    components: Float[Tensor, "k d"]
    variances: Float64[Tensor, " k"]


def channel_statistics(images: UInt8[Tensor, "n c h w"]) -> ChannelStatistics:
    """Population mean and standard deviation of each channel; 1 for the deviation of a constant channel."""
    # The 256 counts of byte values hold everything: exact, and no float copy of the images.
    values = torch.arange(256, dtype=torch.float64) / 255
    means, deviations = [], []
    for channel in images.cpu().unbind(1):
        counts = torch.zeros(256, dtype=torch.int64)
        for part in channel.split(images_per_chunk(channel)):
            counts += torch.bincount(part.flatten(), minlength=256)
        share = counts.double() / counts.sum()
        mean = (share * values).sum()
        constant = int((counts > 0).sum()) == 1
        means.append(mean)
        deviations.append(torch.ones_like(mean) if constant else (share * (values - mean) ** 2).sum().sqrt())
    return ChannelStatistics(torch.stack(means), torch.stack(deviations))


def principal_directions(flat: UInt8[Tensor, "n d"], floor: float) -> Directions:
    """Mean, and the directions whose (unbiased) variance exceeds `floor`, largest first; pixels scaled to [0, 1]."""
    num_images, dim = flat.shape
    mean = _column_sums(flat) / num_images - 128  # d; bytes are shifted by 128 throughout
    degrees = max(num_images - 1, 1) * 255.0**2  # one image has no variance rather than an undefined one
    if num_images >= dim:
        covariance = _exact_gram(flat.T).sub_(torch.outer(mean, mean).mul_(num_images)).div_(degrees)
        variances, vectors = torch.linalg.eigh(covariance)  # ascending
        keep = variances > floor
        components = vectors[:, keep].T
    else:
        # XXᵀ has the nonzero eigenvalues of XᵀX; Xᵀv, scaled to length 1, is the matching eigenvector.
        gram = _exact_gram(flat)
        row_mean = gram.mean(1)
        gram.sub_(row_mean).sub_(row_mean[:, None]).add_(row_mean.mean()).div_(degrees)
        variances, vectors = torch.linalg.eigh(gram)
        keep = variances > floor
        scaled = vectors[:, keep] / (variances[keep] * degrees).sqrt()  # n k
        components = -torch.outer(scaled.sum(0), mean)  # k d; the part of the mean, taken off before the sum
        for start in range(0, num_images, _EXACT_TERMS):
            rows = slice(start, start + _EXACT_TERMS)
            components += scaled[rows].T @ (flat[rows].double() - 128)
    return Directions((mean + 128) / 255, components.flip(0).contiguous(), variances[keep].flip(0))


def _column_sums(flat: UInt8[Tensor, "n d"]) -> Float64[Tensor, " d"]:
    total = torch.zeros(flat.shape[1], dtype=torch.int64)
    for part in flat.split(images_per_chunk(flat)):
        total += part.sum(0)
    return total.double()


def _exact_gram(matrix: UInt8[Tensor, "r s"]) -> Float64[Tensor, "r r"]:
    """(matrix - 128)(matrix - 128)ᵀ without any rounding, at the speed of float32.

    Products of two bytes shifted by 128 are integers up to 2^14; 1024 of them add up to at most 2^24, up to
    which float32 holds every integer. Longer sums go on in float64.
    """
    rows, columns = matrix.shape
    total = torch.zeros(rows, rows, dtype=torch.float64)
    for start in range(0, columns, _EXACT_TERMS):
        part = matrix[:, start : start + _EXACT_TERMS].float() - 128
        total += part @ part.T
    return total


def images_per_chunk(images: Tensor) -> int:
    """How many images to transform at once, so that memory stays bounded."""
    return max(1, _CHUNK_VALUES // max(1, math.prod(images.shape[1:])))
