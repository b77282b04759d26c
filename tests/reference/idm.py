"""IDM's loss of one class, image by image: Zhao et al., CVPR 2023, arXiv:2307.09742.

‖mean φ(real) − mean φ(synthetic)‖² + weight · accuracy · mean CE(synthetic, label), with the accuracy in percent.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def class_loss(
    features: Callable[[Tensor], Tensor],
    classifier: Callable[[Tensor], Tensor],
    real: Sequence[Tensor],
    synthetic: Sequence[Tensor],
    label: int,
    weight: float,
    accuracy: float,
) -> Tensor:
    """`real`, `synthetic`: (channels, height, width) each."""
    real_mean = sum(features(image[None])[0].detach() for image in real) / len(real)
    mean = sum(features(image[None])[0] for image in synthetic) / len(synthetic)
    entropy = torch.zeros((), dtype=torch.float64)
    for image in synthetic:
        logits = classifier(features(image[None]))[0]
        entropy = entropy + (logits.exp().sum().log() - logits[label]) / len(synthetic)
    return ((real_mean - mean) ** 2).sum() + weight * accuracy * entropy
