"""Regularised ZCA whitening with the whole matrix, float64: W = U diag(1/sqrt(S + eps)) Uᵀ.

As used by Cazenavette et al., CVPR 2022, arXiv:2203.11932; covariance divided by n - 1.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Whitening(NamedTuple):
    mean: Tensor  # d
    forward: Tensor  # d d
    inverse: Tensor  # d d


def fit(pixels: Tensor, eps: float = 0.1) -> Whitening:
    """`pixels`: (n, ...) in [0, 1]."""
    flat = pixels.double().flatten(1)
    mean = flat.mean(0)
    covariance = torch.zeros(flat.shape[1], flat.shape[1], dtype=torch.float64)
    for row in flat:
        covariance += torch.outer(row - mean, row - mean)
    variances, vectors = torch.linalg.eigh(covariance / max(len(flat) - 1, 1))
    deviation = (variances.clamp(min=0) + eps).sqrt()
    return Whitening(mean, vectors @ torch.diag(1 / deviation) @ vectors.T, vectors @ torch.diag(deviation) @ vectors.T)


def whiten(image: Tensor, whitening: Whitening) -> Tensor:
    return (whitening.forward @ (image.double().flatten() - whitening.mean)).view(image.shape)
