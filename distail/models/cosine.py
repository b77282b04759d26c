"""A classifier that compares directions alone: logits are 30 times the cosine of features and class weights.

Source: Cao et al., NeurIPS 2019, arXiv:1906.07413, released code (features and weights of length 1, scale 30).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

SCALE = 30.0
"""Factor of the cosine, so that softmax can become certain."""


class CosineClassifier(nn.Linear):
    """In place of a network's linear layer, with a weight of the same shape.

    The bias stays at zero, is not trained and has no effect: it keeps weight and bias the last two parameters.

    Args:
        in_features: numbers in one feature vector.
        out_features: classes.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        nn.init.zeros_(self.bias)
        self.bias.requires_grad_(False)

    def forward(self, input: Float[Tensor, "n f"]) -> Float[Tensor, "n k"]:
        """Logits between -30 and 30, in float32 at least: bf16 would round them to steps of 0.1."""
        with torch.autocast(input.device.type, enabled=False):
            features = input if input.dtype == torch.float64 else input.float()
            return SCALE * F.linear(F.normalize(features), F.normalize(self.weight.to(features.dtype)))
