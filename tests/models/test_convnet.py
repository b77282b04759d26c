"""ConvNet-D against the field's parameter counts and a plain rendering of its forward pass.

Its functional forms and fused blocks are checked against the plain modules and torch's own derivatives.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, jvp
from torch.nn import functional as F

from distail.models import build_network, fused
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


# Functional forms and fused blocks

CASES = (
    ("convnet3-w8", (3, 16, 16)),
    ("convnet3-w8", (1, 28, 28)),  # 7x7 in the third block, which is not fused
    ("convnet2-w8", (2, 9, 12)),
    ("convnet5-w8", (3, 8, 8)),  # ends without pooling, and without a normalisation
    ("convnet5-w8", (3, 8, 16)),
    ("convnet2-w8-group", (3, 8, 8)),
    ("convnet2-w8-none", (3, 8, 8)),
)
each_case = pytest.mark.parametrize(("architecture", "shape"), CASES, ids=str)


def spread(architecture: str, shape: tuple[int, int, int], dtype: torch.dtype = torch.float64) -> ConvNet:
    """A network whose scales and shifts are not ones and zeros."""
    network = build_network(architecture, shape, num_classes=3, seed=5).to(dtype)
    assert isinstance(network, ConvNet)
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(dtype)
    return network


def directions(network: ConvNet) -> list[Tensor]:
    generator = torch.Generator().manual_seed(7)
    return [torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.dtype) for p in network.parameters()]


def images_for(shape: tuple[int, int, int], count: int = 3, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(8), dtype=torch.float64).to(dtype)


def weighted(features: Tensor) -> Tensor:
    weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    return (features.double() * weights).sum()


@each_case
def test_fused_network_equals_the_plain_one(architecture: str, shape: tuple[int, int, int]) -> None:
    plain, fast = spread(architecture, shape), spread(architecture, shape)
    fast.fused = True
    assert list(fast.state_dict()) == list(plain.state_dict())
    images = images_for(shape).requires_grad_()
    torch.testing.assert_close(fast(images), plain(images), rtol=0, atol=1e-10)
    mine = torch.autograd.grad(weighted(fast(images)), [images, *fast.parameters()])
    right = torch.autograd.grad(weighted(plain(images)), [images, *plain.parameters()])
    for one, other in zip(mine, right, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


def count_fused(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The sizes of the maps that `fused.block` is called with from now on."""
    seen: list[tuple[int, ...]] = []
    block = fused.block

    def counted(u: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> Tensor:
        seen.append(tuple(u.shape[2:]))
        return block(u, gamma, beta, eps)

    monkeypatch.setattr(fused, "block", counted)
    return seen


def test_blocks_are_fused_where_they_can_be_and_only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = count_fused(monkeypatch)
    network = spread("convnet3-w8", (1, 28, 28))
    assert network.fused is False
    network(images_for((1, 28, 28)))
    assert seen == []
    network.fused = True
    network(images_for((1, 28, 28)))
    assert seen == [(28, 28), (14, 14)]
    for name in ("convnet2-w8-batch", "convnet2-w8-group", "convnet2-w8-none"):
        other = spread(name, (3, 8, 8))
        other.fused = True
        other(images_for((3, 8, 8)))
    assert len(seen) == 2


def test_fused_batch_normalisation_still_updates_its_statistics() -> None:
    plain, fast = (spread("convnet2-w8-batch", (3, 8, 8)) for _ in range(2))
    fast.fused = True
    images = images_for((3, 8, 8))
    torch.testing.assert_close(fast(images), plain(images), rtol=0, atol=0)
    for name, tensor in plain.state_dict().items():
        assert torch.equal(fast.state_dict()[name], tensor), name


def test_only_batch_normalisation_mixes_images() -> None:
    for name in ("convnet2-w8", "convnet2-w8-group", "convnet2-w8-none", "resnet18"):
        assert not build_network(name, (3, 8, 8), num_classes=2, seed=0).mixes_images, name
    for name in ("convnet2-w8-batch", "resnet18-batch"):
        assert build_network(name, (3, 8, 8), num_classes=2, seed=0).mixes_images, name


@each_case
@pytest.mark.parametrize("fast", [False, True])
def test_features_with_other_parameters(architecture: str, shape: tuple[int, int, int], fast: bool) -> None:
    network, other = spread(architecture, shape), build_network(architecture, shape, num_classes=3, seed=0).double()
    network.fused = fast
    before = [tensor.clone() for tensor in network.state_dict().values()]
    images = images_for(shape)
    found = network.features_with(tuple(other.parameters()), images)
    torch.testing.assert_close(found, other.features(images), rtol=0, atol=1e-10)
    assert all(torch.equal(tensor, old) for tensor, old in zip(network.state_dict().values(), before, strict=True))


@pytest.mark.parametrize("training", [True, False])
def test_features_with_batch_normalisation_leave_its_statistics_alone(training: bool) -> None:
    network, images = spread("convnet2-w8-batch", (3, 8, 8)), images_for((3, 8, 8))
    network(images)
    network.train(training)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    found = network.features_with(tuple(network.parameters()), images)
    for name, tensor in network.state_dict().items():
        assert torch.equal(before[name], tensor), name
    torch.testing.assert_close(found, network.features(images), rtol=0, atol=1e-12)


@each_case
def test_fused_features_follow_a_functional_call(architecture: str, shape: tuple[int, int, int]) -> None:
    network, images = spread(architecture, shape), images_for(shape)
    swapped = {name: 2 * tensor.detach() for name, tensor in network.named_parameters()}
    expected = functional_call(network, swapped, (images,))
    network.fused = True
    torch.testing.assert_close(functional_call(network, swapped, (images,)), expected, rtol=0, atol=1e-9)


def plain_tangent(
    network: ConvNet, parameters: list[Tensor], direction: list[Tensor], images: Tensor
) -> tuple[Tensor, Tensor]:
    """By torch's forward mode through the network's own modules."""
    names = [name for name, _ in network.named_parameters()]

    class Features(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: Tensor) -> Tensor:
            return self.network.features(images)

    def features(*tensors: Tensor) -> Tensor:
        weights = {f"network.{name}": tensor for name, tensor in zip(names, tensors, strict=True)}
        return functional_call(Features(), weights, (images,))

    value, derivative = jvp(features, tuple(parameters), tuple(direction))
    return value, derivative


@each_case
def test_tangent_is_that_of_forward_mode_and_its_gradient_that_of_double_backward(
    architecture: str, shape: tuple[int, int, int]
) -> None:
    network = spread(architecture, shape)
    parameters = [parameter.detach().requires_grad_() for parameter in network.parameters()]
    direction = [tensor.requires_grad_() for tensor in directions(network)]
    images = images_for(shape).requires_grad_()
    found = network.tangent_features(parameters, direction, images)
    expected = plain_tangent(network, parameters, direction, images)
    for mine, right in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-10, atol=1e-10)
    leaves = [images, *parameters[:-2], *direction[:-2]]
    mine_all = torch.autograd.grad(weighted(found[0]) + 2 * weighted(found[1].flip(0)), leaves)
    right_all = torch.autograd.grad(
        weighted(expected[0]) + 2 * weighted(expected[1].flip(0)), leaves, materialize_grads=True
    )
    for mine, right in zip(mine_all, right_all, strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-8, atol=1e-8 * float(right.abs().max().clamp(min=1)))


@pytest.mark.parametrize("low", [False, True], ids=["float32", "bfloat16"])
def test_lower_precisions_come_close(low: bool) -> None:
    shape = (3, 16, 16)
    exact, single = spread("convnet3-w8", shape), spread("convnet3-w8", shape, torch.float32)
    single.fused = True
    images = images_for(shape)
    right, dright = exact.tangent_features(list(exact.parameters()), directions(exact), images)
    moved = [tensor.float() for tensor in directions(exact)]
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        mine, dmine = single.tangent_features(list(single.parameters()), moved, images.float())
        alone = single.features(images.float())
    assert mine.dtype == dmine.dtype == alone.dtype == (torch.bfloat16 if low else torch.float32)
    limit = 0.05 if low else 1e-4
    for found, expected in ((mine, right), (alone, right), (dmine, dright)):
        assert (found - expected).norm() < limit * expected.norm()


def test_threads_share_a_network() -> None:
    network = spread("convnet3-w8", (3, 16, 16), torch.float32)
    network.fused = True
    sets = [[(1 + 0.1 * k) * p.detach() for p in network.parameters()] for k in range(6)]
    images, moved = images_for((3, 16, 16), dtype=torch.float32), directions(network)

    def work(parameters: list[Tensor]) -> list[Tensor]:
        with torch.no_grad():
            found = network.tangent_features(parameters, moved, images)
            return [network.features_with(parameters, images), *found]

    expected = [work(parameters) for parameters in sets]
    with ThreadPoolExecutor(3) as pool:
        for mine, right in zip(pool.map(work, sets), expected, strict=True):
            assert all(torch.equal(one, other) for one, other in zip(mine, right, strict=True))


def test_functional_forms_refuse_what_they_cannot_do() -> None:
    network, images = spread("convnet2-w8", (3, 8, 8)), images_for((3, 8, 8))
    parameters = list(network.parameters())
    with pytest.raises(ValueError, match="9 tensors for a network that has 10"):
        network.features_with(parameters[:-1], images)
    with pytest.raises(ValueError, match="11 tensors"):
        network.tangent_features(parameters, [*parameters, parameters[0]], images)
    batch = spread("convnet2-w8-batch", (3, 8, 8))
    with pytest.raises(ValueError, match="mixes images"):
        batch.tangent_features(list(batch.parameters()), directions(batch), images)
