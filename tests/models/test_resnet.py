"""ResNet-18 against known parameter counts and a plain rendering of its forward pass."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from distail.models import build_network


@pytest.mark.parametrize("architecture", ["resnet18", "resnet18-batch", "resnet18-group"])
def test_parameters_of_the_small_image_variant(architecture: str) -> None:
    network = build_network(architecture, (3, 32, 32), num_classes=10, seed=0)
    assert sum(parameter.numel() for parameter in network.parameters()) == 11_173_962


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 28, 28), (5, 33, 20), (3, 64, 64)], ids=str)
def test_features_are_512_at_every_size(shape: tuple[int, int, int]) -> None:
    assert build_network("resnet18", shape, num_classes=10, seed=0).feature_size == 512


def plain_resnet18(parameters: list[Tensor], images: Tensor) -> Tensor:
    remaining = iter(parameters)

    def conv_norm(maps: Tensor, stride: int, padding: int) -> Tensor:
        maps = F.conv2d(maps, next(remaining), stride=stride, padding=padding)
        return F.instance_norm(maps, weight=next(remaining), bias=next(remaining))

    maps = F.relu(conv_norm(images, stride=1, padding=1))
    for stage in range(4):
        for block in range(2):
            stride = 2 if stage > 0 and block == 0 else 1
            residual = F.relu(conv_norm(maps, stride, padding=1))
            residual = conv_norm(residual, 1, padding=1)
            shortcut = conv_norm(maps, stride, padding=0) if stride == 2 else maps
            maps = F.relu(residual + shortcut)
    assert maps.shape[1:] == (512, 4, 4)
    features = F.avg_pool2d(maps, 4).flatten(1)
    return F.linear(features, next(remaining), next(remaining))


def test_resnet18_is_the_published_chain_of_blocks() -> None:
    network = build_network("resnet18", (3, 32, 32), num_classes=6, seed=4).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        images = torch.randn(2, 3, 32, 32, generator=generator, dtype=torch.float64)
        expected = plain_resnet18(list(network.parameters()), images)
        torch.testing.assert_close(network(images), expected, rtol=0, atol=1e-10)


def test_without_norm_the_convolutions_have_a_bias() -> None:
    network = build_network("resnet18-none", (3, 16, 16), num_classes=2, seed=0)
    convolutions = [layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert len(convolutions) == 20
    assert all(layer.bias is not None for layer in convolutions)
