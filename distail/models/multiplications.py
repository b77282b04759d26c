"""How much a network computes for one image, to compare networks by."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from distail.models.architecture import build_network


@cache
def multiplications(architecture: str, image_shape: tuple[int, int, int], num_classes: int) -> int:
    """Those of convolutions and linear layers; arguments as for `build_network`.

    Networks with depthwise convolutions (MobileNetV2, ShuffleNetV2) wait for memory more than others, and so take
    longer than their multiplications say.
    """
    network = build_network(architecture, image_shape, num_classes, seed=0).eval().to("meta")  # shapes are enough
    total = 0

    def count(module: nn.Module, inputs: object, output: Tensor) -> None:
        nonlocal total
        weight = module.weight
        assert isinstance(weight, Tensor)
        total += output.numel() * weight[0].numel()

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    with torch.no_grad():
        network(torch.zeros(1, *image_shape, device="meta"))
    return total
