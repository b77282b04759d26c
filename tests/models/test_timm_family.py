"""`timm:NAME`, on a stand-in that behaves like timm in what we call, and on timm itself where installed."""

import fnmatch
import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from distail.errors import DistailError
from distail.models.architecture import build_network, check_architecture


class Extractor(nn.Module):
    """Averages pixels and widens them; announces other features than it gives, as some timm families do."""

    def __init__(self, in_chans: int, patch: int = 1) -> None:
        super().__init__()
        self.num_features = 4
        self.norm = nn.BatchNorm2d(in_chans)
        self.stem = nn.Conv2d(in_chans, 6, kernel_size=patch)

    def forward(self, images: Tensor) -> Tensor:
        return self.stem(self.norm(images)).mean((2, 3))


class Unpooled(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """Installs the stand-in; returns the arguments of each model that it made."""
    made: list[dict] = []
    models = {"smallnet": False, "widevit": True, "unpooled": False}
    tags = {"smallnet.a1_in1k": "smallnet", "smallnet.a2_in1k": "smallnet"}

    def list_models(pattern: str = "*", include_tags: bool = False) -> list[str]:
        return fnmatch.filter([*tags] if include_tags else [*models], pattern)

    def get_pretrained_cfg(name: str, allow_unregistered: bool = True) -> SimpleNamespace | None:
        base = name.split(".")[0]
        return None if base == "unpooled" else SimpleNamespace(fixed_input_size=models[base])

    def create_model(name: str, pretrained: bool, in_chans: int, num_classes: int, **rest: object) -> nn.Module:
        made.append({"name": name, "pretrained": pretrained, "num_classes": num_classes, **rest})
        if name == "unpooled":
            return Unpooled()
        return Extractor(in_chans, patch=16 if name == "widevit" else 1)

    fake = ModuleType("timm")
    fake.list_models = list_models  # type: ignore[attr-defined]
    fake.get_pretrained_cfg = get_pretrained_cfg  # type: ignore[attr-defined]
    fake.create_model = create_model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "timm", fake)
    return made


def test_wraps_the_extractor_with_a_classifier_of_the_measured_size(calls: list[dict]) -> None:
    network = build_network("timm:smallnet.a1_in1k", (5, 12, 9), num_classes=3, seed=0)
    assert network.feature_size == 6
    images = torch.rand(2, 5, 12, 9)
    assert network.features(images).shape == (2, 6)
    assert network(images).shape == (2, 3)
    assert [name for name, _ in network.named_parameters()][-2:] == ["classifier.weight", "classifier.bias"]
    assert calls == [{"name": "smallnet.a1_in1k", "pretrained": False, "num_classes": 0}]


def test_measuring_leaves_training_mode_and_statistics_alone(calls: list[dict]) -> None:
    network = build_network("timm:smallnet", (3, 8, 8), num_classes=3, seed=0)
    assert all(module.training for module in network.modules())
    assert network.backbone.norm.num_batches_tracked == 0


def test_models_of_one_size_are_told_the_size(calls: list[dict]) -> None:
    build_network("timm:widevit", (3, 32, 48), num_classes=3, seed=0)
    assert calls[0]["img_size"] == (32, 48)


def test_too_small_an_image_is_a_clear_error(calls: list[dict]) -> None:
    with pytest.raises(DistailError, match=r"timm:widevit does not take 8x8 images of 3 channels"):
        build_network("timm:widevit", (3, 8, 8), num_classes=3, seed=0)


def test_features_that_are_no_vector_are_refused(calls: list[dict]) -> None:
    with pytest.raises(DistailError, match="instead of one vector an image"):
        build_network("timm:unpooled", (3, 8, 8), num_classes=3, seed=0)


def test_weights_are_a_function_of_the_seed(calls: list[dict]) -> None:
    def stem(seed: int) -> Tensor:
        return build_network("timm:smallnet", (3, 8, 8), num_classes=3, seed=seed).backbone.stem.weight

    before = torch.random.get_rng_state()
    assert torch.equal(stem(1), stem(1))
    assert not torch.equal(stem(1), stem(2))
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm:smalnet", "no model 'smalnet'. Did you mean 'smallnet'"),
        (
            "timm:smallnet.a9_in1k",
            r"no variant 'smallnet.a9_in1k' of 'smallnet'. Did you mean 'smallnet.a._in1k'",
        ),
        ("timm:hf-hub:some/where", "no model 'hf-hub:some/where'"),
        ("timm:", "no model ''"),
        ("timm:zzzz", r"timm.list_models\(\) lists"),
    ],
)
def test_unknown_names_are_refused_before_anything_is_made(calls: list[dict], name: str, message: str) -> None:
    with pytest.raises(DistailError, match=message):
        check_architecture(name)
    assert calls == []


def test_without_timm_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(DistailError, match=r"pip install 'distail\[timm\]'"):
        check_architecture("timm:resnet18")


def test_a_broken_timm_is_reported_like_a_missing_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "timm.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    with pytest.raises(DistailError, match=r"nms does not exist\). Run: pip install 'distail\[timm\]'"):
        check_architecture("timm:resnet18")


@pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is an optional extra")
@pytest.mark.parametrize(
    ("name", "shape", "feature_size"),
    [
        ("resnet18.a1_in1k", (3, 32, 32), 512),
        ("mobilenetv3_small_100", (5, 33, 20), 1024),
        ("test_vit", (1, 32, 48), 64),
    ],
)
def test_real_timm_models(name: str, shape: tuple[int, int, int], feature_size: int) -> None:
    network = build_network(f"timm:{name}", shape, num_classes=4, seed=0).eval()
    again = build_network(f"timm:{name}", shape, num_classes=4, seed=0).eval()
    images = torch.rand(2, *shape)
    with torch.no_grad():
        assert network.features(images).shape == (2, feature_size)
        assert torch.equal(network(images), again(images))
