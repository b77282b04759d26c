"""ConvNet-D against the field's parameter counts and a plain rendering of its forward pass."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from distail.models import build_network
from distail.models.convnet import ConvNet


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("architecture", "side", "feature_size", "backbone_parameters"),
    [
        ("convnet3", 32, 2048, 299_520),
        ("convnet3-batch", 32, 2048, 299_520),
        ("convnet3-none", 32, 2048, 299_520 - 3 * 2 * 128),
        ("convnet4", 64, 2048, 447_360),
        ("convnet5", 128, 2048, 595_200),
    ],
)
def test_sizes_of_the_field(architecture: str, side: int, feature_size: int, backbone_parameters: int) -> None:
    network = build_network(architecture, (3, side, side), num_classes=10, seed=0)
    assert network.feature_size == feature_size
    assert count(network) - count(network.classifier) == backbone_parameters


def plain_convnet3(weights: dict[str, Tensor], images: Tensor) -> Tensor:
    maps = images
    for conv, norm in ((0, 1), (4, 5), (8, 9)):
        maps = F.conv2d(maps, weights[f"backbone.{conv}.weight"], weights[f"backbone.{conv}.bias"], stride=1, padding=1)
        mean = maps.mean((2, 3), keepdim=True)
        variance = ((maps - mean) ** 2).mean((2, 3), keepdim=True)
        scale = weights[f"backbone.{norm}.weight"].view(1, -1, 1, 1)
        shift = weights[f"backbone.{norm}.bias"].view(1, -1, 1, 1)
        maps = (maps - mean) / torch.sqrt(variance + 1e-5) * scale + shift
        maps = torch.clamp(maps, min=0)
        n, c, h, w = maps.shape
        maps = maps.view(n, c, h // 2, 2, w // 2, 2).mean((3, 5))
    return maps.reshape(len(images), -1) @ weights["classifier.weight"].T + weights["classifier.bias"]


def test_convnet3_is_three_blocks_of_convolution_norm_relu_and_average() -> None:
    network = build_network("convnet3", (3, 32, 32), num_classes=10, seed=4).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():  # scales and shifts start as ones and zeros, which would hide a swap
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        images = torch.randn(3, 3, 32, 32, generator=generator, dtype=torch.float64)
        expected = plain_convnet3(dict(network.named_parameters()), images)
        torch.testing.assert_close(network(images), expected, rtol=0, atol=1e-10)


def test_width_sets_the_channels_of_every_block() -> None:
    network = ConvNet((3, 16, 16), num_classes=2, depth=2, width=12)
    convolutions = [layer for layer in network.backbone if isinstance(layer, torch.nn.Conv2d)]
    assert [(layer.in_channels, layer.out_channels) for layer in convolutions] == [(3, 12), (12, 12)]


def test_depth_beyond_the_image_keeps_the_last_pixel() -> None:
    assert build_network("convnet9-w8", (3, 8, 8), num_classes=2, seed=0).feature_size == 8
    assert build_network("convnet9-w8", (3, 8, 64), num_classes=2, seed=0).feature_size == 8 * 8
