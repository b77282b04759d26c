"""VGG-11 against known parameter counts and the published order of layers."""

import pytest
import torch
from torch import nn

from distail.models import build_network


@pytest.mark.parametrize("architecture", ["vgg11", "vgg11-batch", "vgg11-group"])
def test_parameters_of_the_small_image_variant(architecture: str) -> None:
    network = build_network(architecture, (3, 32, 32), num_classes=10, seed=0)
    assert sum(parameter.numel() for parameter in network.parameters()) == 9_231_114


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 28, 28), (5, 33, 20), (3, 64, 64)], ids=str)
def test_features_are_512_at_every_size(shape: tuple[int, int, int]) -> None:
    assert build_network("vgg11", shape, num_classes=10, seed=0).feature_size == 512


def test_order_of_layers_at_32_pixels() -> None:
    layers = list(build_network("vgg11", (3, 32, 32), num_classes=10, seed=0).backbone)
    letters = {nn.Conv2d: "c", nn.GroupNorm: "n", nn.ReLU: "r", nn.MaxPool2d: "M", nn.AdaptiveAvgPool2d: "a"}
    assert "".join(letters[type(layer)] for layer in layers) == "cnrM" * 2 + "cnrcnrM" * 3 + "a"
    assert isinstance(layers[0], nn.Conv2d)


def test_the_final_average_does_nothing_at_32_pixels() -> None:
    network = build_network("vgg11", (3, 32, 32), num_classes=10, seed=0)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before_average = network.backbone[:-1](images)
        assert before_average.shape == (2, 512, 1, 1)
        torch.testing.assert_close(network.features(images), before_average.flatten(1), rtol=0, atol=0)
