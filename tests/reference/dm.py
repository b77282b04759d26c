"""The loss of distribution matching, image by image: Zhao & Bilen, WACV 2023, arXiv:2110.04181.

Σ_c ‖mean φ(real_c) − mean φ(synthetic_c)‖², for a φ that treats images apart from each other.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def loss(features: Callable[[Tensor], Tensor], real: Sequence[Tensor], synthetic: Sequence[Tensor]) -> Tensor:
    """`real`, `synthetic`: (n, channels, height, width) of each class."""
    total = torch.zeros((), dtype=torch.float64)
    for real_of_class, synthetic_of_class in zip(real, synthetic, strict=True):
        real_mean = sum(features(image[None])[0] for image in real_of_class) / len(real_of_class)
        synthetic_mean = sum(features(image[None])[0] for image in synthetic_of_class) / len(synthetic_of_class)
        total = total + ((real_mean - synthetic_mean) ** 2).sum()
    return total
