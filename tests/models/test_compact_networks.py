"""MobileNetV2, ShuffleNetV2 and WRN-16-2 against counts by hand, the papers' figures and plain renderings."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from distail.models import build_network
from distail.synthetic.layer_inputs import layers_of_kind, watched
from distail.synthetic.statistics import arranged
from tests.reference.networks import plain_mobilenetv2, plain_shufflenetv2, plain_wrn16_2

FAMILIES = ("mobilenetv2", "shufflenetv2", "wrn16-2")
NORM_LAYERS = {"instance": nn.GroupNorm, "batch": nn.BatchNorm2d, "group": nn.GroupNorm}


def num_parameters(architecture: str, num_classes: int) -> int:
    network = build_network(architecture, (3, 32, 32), num_classes, seed=0)
    return sum(parameter.numel() for parameter in network.parameters())


# By hand, a norm being two numbers a channel. WRN-16-2, 10 classes:
#   stem 3·16·9 = 432
#   group 1: 32 + 16·32·9 + 64 + 32·32·9 + 16·32 = 14,432, then 2·64 + 2·32·32·9 = 18,560
#   group 2: 64 + 32·64·9 + 128 + 64·64·9 + 32·64 = 57,536, then 2·128 + 2·64·64·9 = 73,984
#   group 3: 128 + 64·128·9 + 256 + 128·128·9 + 64·128 = 229,760, then 2·256 + 2·128·128·9 = 295,424
#   last norm 256, classifier 128·10 + 10 = 1,290; in all 691,674 (the paper's 0.7M)
# ShuffleNetV2, where a unit of width 2h costs h(2h + 9 + 6), one that halves maps c(9 + 2h + 2) + h(9 + h + 8):
#   stem 3·24·9 + 48 = 696
#   stage 2: h = 24, c = 24: 24·59 + 24·41 = 2,400, and 3 units of 24·63 = 1,512
#   stage 3: h = 48, c = 48: 48·107 + 48·65 = 8,256, and 7 units of 48·111 = 5,328
#   stage 4: h = 96, c = 96: 96·203 + 96·113 = 30,336, and 3 units of 96·207 = 19,872
#   last 192·1024 + 2048 = 198,656, classifier 1024·k + k; 341,792 + 10,250 = 352,042 with 10 classes
#   and 341,792 + 1,025,000 = 1,366,792 with 1,000 (the paper's 1.4M)
# MobileNetV2, where a block from c to d with t times c = m channels inside costs m(c + 9 + d + 4) + 2d:
#   stem 3·32·9 + 64 = 928
#   32 to 16: 32·61 + 32 = 1,984
#   16 to 24: 96·53 + 48 = 5,136; 24 to 24: 144·61 + 48 = 8,832
#   24 to 32: 144·69 + 64 = 10,000; 2 of 32 to 32: 192·77 + 64 = 14,848
#   32 to 64: 192·109 + 128 = 21,056; 3 of 64 to 64: 384·141 + 128 = 54,272
#   64 to 96: 384·173 + 192 = 66,624; 2 of 96 to 96: 576·205 + 192 = 118,272
#   96 to 160: 576·269 + 320 = 155,264; 2 of 160 to 160: 960·333 + 320 = 320,000
#   160 to 320: 960·493 + 640 = 473,920
#   last 320·1280 + 2560 = 412,160, classifier 1280·k + k; 2,224,960 + 12,810 = 2,237,770 with 10 classes
#   and 3,505,960 with 1,000, of which the paper, at 3.4M, has 1,088 less in its first block
@pytest.mark.parametrize(
    ("architecture", "of_ten", "of_thousand"),
    [
        ("wrn16-2-batch", 691_674, 691_674 + 129 * 990),
        ("shufflenetv2-batch", 352_042, 1_366_792),
        ("mobilenetv2-batch", 2_237_770, 3_505_960),
    ],
)
def test_parameters_counted_by_hand(architecture: str, of_ten: int, of_thousand: int) -> None:
    assert num_parameters(architecture, 10) == of_ten
    assert num_parameters(architecture, 1000) == of_thousand
    assert num_parameters(architecture.removesuffix("-batch"), 10) == of_ten
    assert num_parameters(architecture.replace("batch", "group"), 10) == of_ten


@pytest.mark.parametrize(
    ("architecture", "plain"),
    [("mobilenetv2", plain_mobilenetv2), ("shufflenetv2", plain_shufflenetv2), ("wrn16-2", plain_wrn16_2)],
)
def test_networks_are_the_papers_chain_of_layers(
    architecture: str, plain: Callable[[list[Tensor], Tensor], Tensor]
) -> None:
    network = build_network(architecture, (3, 16, 16), num_classes=6, seed=4).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        images = torch.randn(2, 3, 16, 16, generator=generator, dtype=torch.float64)
        expected = plain(list(network.parameters()), images)
        torch.testing.assert_close(network(images), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("architecture", "features", "last_map"),
    [("mobilenetv2", 1280, (4, 4)), ("shufflenetv2", 1024, (4, 4)), ("wrn16-2", 128, (8, 8))],
)
def test_features_and_the_last_map(architecture: str, features: int, last_map: tuple[int, int]) -> None:
    network = build_network(architecture, (3, 32, 32), num_classes=10, seed=0)
    with torch.no_grad():
        maps = network.backbone[:-1](torch.zeros(1, 3, 32, 32))
    assert maps.shape == (1, features, *last_map)
    for shape in ((1, 8, 8), (5, 33, 20), (3, 64, 64)):
        assert build_network(architecture, shape, num_classes=10, seed=0).feature_size == features


@pytest.mark.parametrize("norm", ["instance", "batch", "group", "none"])
@pytest.mark.parametrize("architecture", FAMILIES)
def test_every_parameter_learns_whatever_the_norm(architecture: str, norm: str) -> None:
    network = build_network(f"{architecture}-{norm}", (3, 8, 8), num_classes=3, seed=3)
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    nn.functional.cross_entropy(network(images), torch.tensor([0, 1, 2, 0])).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        # What the bias of a norm adds is taken off by the next norm where there is only a 1x1 convolution in between.
        assert name.endswith(".bias") or parameter.grad.abs().max() > 1e-9, name
    assert images.grad is not None
    assert images.grad.abs().max() > 1e-7  # weights as torch draws them, without a norm, leave 6e-11 in MobileNetV2
    layers = list(network.modules())
    kinds = {type(layer) for layer in layers if isinstance(layer, nn.GroupNorm | nn.BatchNorm2d)}
    assert kinds == ({NORM_LAYERS[norm]} if norm != "none" else set())
    assert network.mixes_images == (norm == "batch")
    assert all((layer.bias is None) == (norm != "none") for layer in layers if isinstance(layer, nn.Conv2d))


@pytest.mark.parametrize("architecture", FAMILIES)
def test_images_are_seen_one_by_one(architecture: str) -> None:
    network = build_network(architecture, (1, 12, 9), num_classes=3, seed=0).double()
    images = torch.randn(3, 1, 12, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        alone = torch.cat([network(image[None]) for image in images])
        torch.testing.assert_close(network(images), alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("architecture", "convolutions", "norms"),
    # Stem, 17 blocks of 3, last; stem, 13 units of 3, 3 of 5, last; stem, 6 blocks of 2, 3 shortcuts.
    [("mobilenetv2-batch", 53, 53), ("shufflenetv2-batch", 56, 56), ("wrn16-2-batch", 16, 13)],
)
def test_statistics_are_taken_of_every_convolution_and_norm(architecture: str, convolutions: int, norms: int) -> None:
    network = build_network(architecture, (3, 8, 8), num_classes=3, seed=0).eval()
    layers = layers_of_kind(network, ("convolution", "batch_norm"))
    assert [*layers.values()].count("convolution") == convolutions
    assert [*layers.values()].count("batch_norm") == norms
    assert next(iter(layers)) == "backbone.0"  # the one that EDC weighs ten times
    seen: dict[str, int] = {}

    def see(name: str, inputs: Tensor) -> None:
        seen[name] = seen.get(name, 0) + 1
        for _, numbers in arranged(name, layers[name], inputs):
            assert numbers.shape[0] == 2
            assert numbers.isfinite().all()

    with torch.no_grad(), watched(network, layers, see):
        network(torch.rand(2, 3, 8, 8))
    assert seen == dict.fromkeys(layers, 1)
