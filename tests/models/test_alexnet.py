"""AlexNet's small-image variant against its sizes and a plain rendering of its forward pass."""

import pytest
import torch
from torch.nn import functional as F

from distail.models import build_network


def test_parameters_of_the_small_image_variant() -> None:
    network = build_network("alexnet", (3, 32, 32), num_classes=10, seed=0)
    convolutions = 9_728 + 614_592 + 442_624 + 442_560 + 331_968
    assert sum(parameter.numel() for parameter in network.backbone.parameters()) == convolutions


@pytest.mark.parametrize(
    ("shape", "feature_size"),
    [((3, 32, 32), 192 * 16), ((3, 64, 64), 192 * 64), ((1, 8, 8), 192), ((5, 33, 20), 1536)],
)
def test_features_are_the_flat_last_map(shape: tuple[int, int, int], feature_size: int) -> None:
    assert build_network("alexnet", shape, num_classes=10, seed=0).feature_size == feature_size


def test_alexnet_is_five_convolutions_with_three_poolings() -> None:
    network = build_network("alexnet", (3, 32, 32), num_classes=4, seed=1).double()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        remaining = iter(list(network.parameters()))
        maps = images
        for padding, pooled in ((2, True), (2, True), (1, False), (1, False), (1, True)):
            maps = F.relu(F.conv2d(maps, next(remaining), next(remaining), padding=padding))
            maps = F.max_pool2d(maps, 2) if pooled else maps
        expected = F.linear(maps.flatten(1), next(remaining), next(remaining))
        torch.testing.assert_close(network(images), expected, rtol=0, atol=1e-10)
