"""Names, seeds and refusals of `build_network`."""

import sys

import pytest
import torch

from distail.errors import DistailError
from distail.models.alexnet import AlexNet
from distail.models.architecture import architecture_names, build_network, check_architecture, with_batch_norm
from distail.models.convnet import ConvNet
from distail.models.mobilenet import MobileNetV2
from distail.models.network import Network
from distail.models.resnet import ResNet18
from distail.models.shufflenet import ShuffleNetV2
from distail.models.vgg import VGG11
from distail.models.wide_resnet import WideResNet16x2

SHAPE = (3, 16, 16)


def same_weights(first: Network, second: Network) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize(
    ("name", "family"),
    [
        *[("convnet2", ConvNet), ("resnet18", ResNet18), ("vgg11", VGG11), ("alexnet", AlexNet)],
        *[("mobilenetv2", MobileNetV2), ("shufflenetv2", ShuffleNetV2), ("wrn16-2", WideResNet16x2)],
    ],
)
def test_names_choose_the_family(name: str, family: type[Network]) -> None:
    assert type(build_network(name, SHAPE, 3, seed=0)) is family


def test_names_choose_depth_width_and_norm() -> None:
    network = build_network("convnet2-w12-batch", SHAPE, 3, seed=0)
    kinds = [type(layer).__name__ for layer in network.backbone]
    assert kinds == ["Conv2d", "BatchNorm2d", "ReLU", "AvgPool2d"] * 2
    assert network.backbone[0].out_channels == 12
    none = build_network("convnet2-w12-none", SHAPE, 3, seed=0)
    assert [type(layer).__name__ for layer in none.backbone] == [
        "Conv2d",
        "Identity",
        "ReLU",
        "AvgPool2d",
    ] * 2
    assert build_network("convnet1", SHAPE, 3, seed=0).backbone[0].out_channels == 128


@pytest.mark.parametrize(
    "name", ["resnet18-batch", "vgg11-batch", "mobilenetv2-batch", "shufflenetv2-batch", "wrn16-2-batch"]
)
def test_norm_suffix_reaches_the_deep_families(name: str) -> None:
    kinds = {type(layer).__name__ for layer in build_network(name, SHAPE, 3, seed=0).modules()}
    assert "BatchNorm2d" in kinds
    assert "GroupNorm" not in kinds


@pytest.mark.parametrize("name", ["convnet3-w8", "resnet18", "vgg11", "alexnet", "mobilenetv2-none"])
def test_weights_are_a_function_of_the_seed(name: str) -> None:
    first = build_network(name, SHAPE, 3, seed=5)
    torch.rand(3)
    assert same_weights(first, build_network(name, SHAPE, 3, seed=5))
    assert not same_weights(first, build_network(name, SHAPE, 3, seed=6))


def test_weights_do_not_depend_on_the_global_seed() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        first = build_network("convnet2-w8", SHAPE, 3, seed=0)
        torch.manual_seed(2)
        assert same_weights(first, build_network("convnet2-w8", SHAPE, 3, seed=0))


def test_global_random_state_is_untouched() -> None:
    before = torch.random.get_rng_state()
    build_network("convnet2-w8", SHAPE, 3, seed=0)
    assert torch.equal(before, torch.random.get_rng_state())


def test_weights_are_drawn_on_the_cpu_under_any_default_device() -> None:
    expected = build_network("convnet2-w8", SHAPE, 3, seed=0)
    with torch.device("meta"):
        assert same_weights(expected, build_network("convnet2-w8", SHAPE, 3, seed=0))


@pytest.mark.parametrize("name", [*architecture_names(), "convnet9-w4-group", "convnet1-w9999-instance"])
def test_check_accepts_what_exists(name: str) -> None:
    check_architecture(name)


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("convnet-3", "convnet3"),
        ("ConvNet3", "convnet3"),
        ("convnet3-bach", "convnet3-batch"),
        ("resnet18-batchnorm", "resnet18-batch"),
        ("vgg", "vgg11"),
        ("conwnet2", "convnet2"),
        ("alexnet-batch", "alexnet"),
        ("mobilenet", "mobilenetv2"),
        ("shufflenetv2-bach", "shufflenetv2-batch"),
        ("wrn-16-2", "wrn16-2"),
        ("wrn16-2-bach", "wrn16-2-batch"),
    ],
)
def test_unknown_names_get_the_closest(name: str, suggestion: str) -> None:
    with pytest.raises(DistailError, match=f"Unknown architecture '{name}'. Did you mean '{suggestion}'"):
        check_architecture(name)
    with pytest.raises(DistailError, match=f"Did you mean '{suggestion}'"):
        build_network(name, SHAPE, 3, seed=0)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "convnet",
        "convnet0",
        "convnet10",
        "convnet3-w0",
        "convnet3-w08",
        "convnet3-w10000",
        "convnet3-batch-w64",
        "convnet3 ",
        "convnet3\n",
        "convnet３",  # a full-width digit
        "convnet3-layer",
        "resnet50",
        "resnet18-w64",
        "mobilenetv2-w64",
        "wrn28-10",
        "wrn16",
        "alexnet-none",
    ],
)
def test_names_outside_the_grammar_are_refused_with_the_grammar(name: str) -> None:
    with pytest.raises(DistailError, match=r"Names follow convnetD\[-wWIDTH\]\[-NORM\]"):
        check_architecture(name)


def test_forms_are_named_and_not_every_name_that_they_make() -> None:
    with pytest.raises(DistailError, match=r"such as convnet2 or convnet3-w64-batch") as refused:
        check_architecture("zzz")
    assert "resnet18[-NORM]" in str(refused.value)
    assert "Did you mean" not in str(refused.value)
    assert "vgg11-group" not in str(refused.value)


def test_group_norm_needs_a_width_of_whole_groups() -> None:
    with pytest.raises(DistailError, match="multiple of 4"):
        check_architecture("convnet3-w6-group")


def test_checking_a_name_does_not_import_timm() -> None:
    before = "timm" in sys.modules
    check_architecture("convnet3")
    assert ("timm" in sys.modules) == before


@pytest.mark.parametrize("shape", [(3, 7, 8), (3, 32, 4)])
def test_too_small_images_are_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(DistailError, match=f"{shape[1]}x{shape[2]} pixels; convnet3 needs at least 8x8"):
        build_network("convnet3", shape, 3, seed=0)


@pytest.mark.parametrize(("channels", "classes"), [(0, 3), (3, 0)])
def test_nothing_to_see_or_to_tell_is_refused(channels: int, classes: int) -> None:
    with pytest.raises(DistailError, match="at least one channel and one class"):
        build_network("convnet3", (channels, 16, 16), classes, seed=0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("convnet3", "convnet3-batch"),
        ("convnet4-w64", "convnet4-w64-batch"),
        ("resnet18", "resnet18-batch"),
        ("vgg11", "vgg11-batch"),
        ("mobilenetv2", "mobilenetv2-batch"),
        ("wrn16-2", "wrn16-2-batch"),
        ("wrn16-2-cosine", "wrn16-2-batch-cosine"),
        ("convnet3-cosine", "convnet3-batch-cosine"),
        ("convnet3-instance", "convnet3-instance"),
        ("convnet3-none", "convnet3-none"),
        ("resnet18-batch", "resnet18-batch"),
        ("alexnet", "alexnet"),
        ("timm:resnet18.a1_in1k", "timm:resnet18.a1_in1k"),
        ("mypackage.mynetwork", "mypackage.mynetwork"),
    ],
)
def test_batch_norm_where_no_norm_is_named(name, expected):
    assert with_batch_norm(name) == expected
    assert with_batch_norm(expected) == expected
