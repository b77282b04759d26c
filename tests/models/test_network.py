"""What every architecture promises, checked on each one that `architecture_names` knows and on odd ones."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad

from distail.models import build_network
from distail.models.architecture import architecture_names
from distail.models.network import Network

CHEAP = ("convnet3-w8", "convnet4-w8-batch", "convnet9-w8-group", "convnet5-w8-none")
FAMILIES = (
    *("convnet3", "convnet5", "resnet18", "resnet18-batch", "vgg11", "vgg11-group", "alexnet"),
    *("mobilenetv2", "shufflenetv2-group", "wrn16-2", "wrn16-2-batch"),
)
SHAPES = ((3, 8, 8), (1, 28, 28), (3, 32, 32), (5, 33, 20), (1, 64, 64), (3, 8, 40))


def images_of(shape: tuple[int, int, int], count: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("architecture", FAMILIES + CHEAP)
def test_every_shape_gives_features_and_logits(architecture: str, shape: tuple[int, int, int]) -> None:
    network = build_network(architecture, shape, num_classes=7, seed=0)
    images = images_of(shape)
    features = network.features(images)
    assert features.shape == (2, network.feature_size)
    assert network(images).shape == (2, 7)
    assert network.classifier.in_features == network.feature_size


@pytest.mark.parametrize("architecture", architecture_names())
def test_common_names_build_and_end_with_the_classifier(architecture: str) -> None:
    network = build_network(architecture, (3, 32, 32), num_classes=5, seed=1)
    assert isinstance(network, Network)
    weight, bias = list(network.parameters())[-2:]
    assert weight is network.classifier.weight
    assert weight.shape == (5, network.feature_size)
    assert bias is network.classifier.bias


@pytest.mark.parametrize("architecture", FAMILIES + CHEAP)
def test_logits_are_the_classifier_of_the_features(architecture: str) -> None:
    network = build_network(architecture, (3, 16, 16), num_classes=4, seed=2).eval()
    images = images_of((3, 16, 16))
    expected = network.features(images) @ network.classifier.weight.T + network.classifier.bias
    torch.testing.assert_close(network(images), expected)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 33, 20)], ids=str)
@pytest.mark.parametrize("architecture", FAMILIES + CHEAP)
def test_gradients_are_finite_and_reach_every_parameter_and_pixel_plane(
    architecture: str, shape: tuple[int, int, int]
) -> None:
    network = build_network(architecture, shape, num_classes=3, seed=3)
    images = images_of(shape, count=4).requires_grad_()
    nn.functional.cross_entropy(network(images), torch.tensor([0, 1, 2, 0])).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert network.classifier.weight.grad.abs().sum() > 0
    assert images.grad is not None
    assert images.grad.isfinite().all()
    assert (images.grad.abs().amax((2, 3)) > 0).all()


@pytest.mark.parametrize(
    "architecture",
    [
        *("convnet5", "convnet9", "resnet18", "vgg11", "convnet9-group"),
        *("mobilenetv2", "shufflenetv2", "wrn16-2"),
    ],
)
def test_tiny_images_are_still_told_apart(architecture: str) -> None:
    # Instance normalisation of a 1x1 map would give the same logits for every image.
    # In float64, because default initialisation shrinks differences at every layer without normalisation.
    network = build_network(architecture, (3, 8, 8), num_classes=3, seed=0).double().eval()
    with torch.no_grad():
        first, second = network(images_of((3, 8, 8)).double())
    assert (first - second).abs().max() > 1e-9


@pytest.mark.parametrize("architecture", ["convnet3-w8", "convnet9-w8", "convnet3-w8-batch", "shufflenetv2"])
def test_second_order_gradients_flow_through_functional_calls(architecture: str) -> None:
    network = build_network(architecture, (3, 8, 8), num_classes=3, seed=0)
    parameters = dict(network.named_parameters())
    labels = torch.tensor([0, 1, 2])

    def loss(weights: dict[str, torch.Tensor], images: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(functional_call(network, weights, (images,)), labels)

    def gradient_norm(images: torch.Tensor) -> torch.Tensor:
        gradients = grad(loss)(parameters, images)
        return torch.stack([gradient.square().sum() for gradient in gradients.values()]).sum()

    network.eval()  # batch statistics written in place cannot pass through torch.func
    second = grad(gradient_norm)(images_of((3, 8, 8), count=3))
    assert second.isfinite().all()
    assert second.abs().max() > 0


def test_network_is_abstract() -> None:
    with pytest.raises(TypeError, match="features"):
        Network()  # type: ignore[abstract]


@pytest.mark.parametrize(
    ("architecture", "large"),
    [("convnet3", False), ("convnet5", False), ("shufflenetv2", False), ("alexnet", True), ("vgg11", True)],
)
def test_large_networks_are_told_by_their_weights(architecture: str, large: bool) -> None:
    network = build_network(architecture, (3, 32, 32), num_classes=1000, seed=0)
    assert network.is_large == large
