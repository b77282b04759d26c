"""Whole baselines that are kept: found when everything that decides them is equal, trained when anything differs."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from distail.artifact import TensorFile, read_tensors, write_tensors
from distail.baselines import _task, glmc
from distail.baselines._fitting import fit, fit_key
from distail.baselines._registry import baseline_names, build_baseline
from distail.baselines._task import Fitted, Task
from distail.data.preprocess import fit_preprocessing
from distail.errors import DistailError
from distail.learn import student
from distail.learn.kept import KeptNetworks
from distail.runtime import Runtime
from tests.baselines.tiny import assert_same_bits, cheap, tiny_task
from tests.methods.tiny import tiny_images

IMAGES = tiny_images((3, 3, 3), seed=5).images


@pytest.fixture
def kept(tmp_path) -> KeptNetworks:
    return KeptNetworks(tmp_path / "networks")


@pytest.fixture
def trained(monkeypatch) -> list[str]:
    """The titles of all trainings, of first and second stages."""
    titles: list[str] = []

    def watched(original: Callable[..., Any]) -> Callable[..., Any]:
        def train(*arguments: Any, **keywords: Any) -> Any:
            titles.append(keywords["title"])
            return original(*arguments, **keywords)

        return train

    for module, name in ((student, "train_network"), (_task, "train_network"), (glmc, "train_by_mixture")):
        monkeypatch.setattr(module, name, watched(getattr(module, name)))
    return titles


def by_name(name: str, task: Task, kept: KeptNetworks | None, **settings: Any) -> Fitted:
    return fit(name, cheap(name, **settings), task, kept)


@pytest.mark.parametrize("architecture", ["convnet2-w8", "convnet2-w8-batch"])
@pytest.mark.parametrize("name", baseline_names())
def test_every_baseline_is_found_as_it_was_kept(name, architecture, kept, trained):
    task = tiny_task(architecture=architecture, kept=kept)
    first = by_name(name, task, kept)
    assert trained
    trained.clear()
    again = by_name(name, replace(task), kept)
    assert trained == []
    assert_same_bits(first, again)
    assert torch.equal(first.saved.predict_logits(IMAGES), again.saved.predict_logits(IMAGES))
    for part in ("num_images", "chosen", "second_stage", "seconds"):
        assert getattr(again, part) == getattr(first, part), part
    assert asdict(again.history) == asdict(first.history)
    assert again.reused_seconds == first.seconds > 0
    assert_same_use(first, again)


def assert_same_use(first: Fitted, again: Fitted) -> None:
    ours, theirs = again.saved, first.saved
    for part in ("architecture", "image_shape", "class_names", "provenance"):
        assert getattr(ours, part) == getattr(theirs, part), part
    assert ours.preprocessing.header() == theirs.preprocessing.header()
    for name, tensor in theirs.preprocessing.to_tensors().items():
        assert torch.equal(ours.preprocessing.to_tensors()[name], tensor)
    assert not ours.network.training
    assert not ours.network.fused
    for own, other in zip(ours.network.parameters(), theirs.network.parameters(), strict=True):
        assert own.requires_grad == other.requires_grad
        assert own.device == other.device
    assert ours.network.backbone[0].weight.stride() == theirs.network.backbone[0].weight.stride()


@pytest.mark.parametrize("settings", [{}, {"refit": True}, {"tau": 0.5}])
def test_choosing_on_validation_images(settings, kept, trained):
    """The preprocessing is the one of the images that the network learned from, wherever it comes from."""
    task = tiny_task(counts=(30, 20, 10))
    first, again = (by_name("tau_norm", task, kept, **settings) for _ in range(2))
    assert len(trained) == (2 if "refit" in settings else 1)
    assert again.num_images == (60 if settings else 54)
    assert set(again.chosen) == (set() if "tau" in settings else {"tau"})
    assert again.chosen == first.chosen
    assert_same_use(first, again)


def others() -> dict[str, tuple[str, Task, dict[str, Any]]]:
    """What differs in one thing each from `focal` on `tiny_task()`."""
    task, images = tiny_task(), tiny_images((12, 5, 2))
    given = fit_preprocessing(images, "normalize")
    relabelled, renamed = replace(images, labels=images.labels.roll(1)), replace(images, class_names=("a", "b", "c"))
    return {
        "nothing": ("focal", task, {}),
        "baseline": ("balanced_softmax", task, {}),
        "baseline of the same settings": ("cross_entropy", task, {}),
        "setting": ("focal", task, {"gamma": 1.0}),
        "recipe": ("focal", tiny_task(epochs=3), {}),
        "seed": ("focal", tiny_task(seed=4), {}),
        "labels": ("focal", tiny_task(relabelled), {}),
        "class names": ("focal", tiny_task(renamed), {}),
        "architecture": ("focal", tiny_task(architecture="convnet2-w8-group"), {}),
        "preprocessing": ("focal", tiny_task(preprocessing_kind="zca"), {}),
        "given preprocessing": ("focal", replace(task, given_preprocessing=given), {}),
        "its tensors": ("focal", replace(task, given_preprocessing=replace(given, mean=given.mean + 0.1)), {}),
        "precision": ("focal", tiny_task(runtime=Runtime("cpu", "bf16")), {}),
    }


def test_whatever_decides_a_network_tells_it_from_others(kept, trained):
    for name, task, settings in others().values():
        assert by_name(name, task, kept, **settings).reused_seconds == 0
    assert len(trained) == len(others()) == len(list(kept.folder.glob("*.safetensors")))
    for what, (name, task, settings) in others().items():
        found = by_name(name, task, kept, **settings)
        assert found.reused_seconds > 0, what
        assert found.saved.class_names == task.train.class_names
    assert len(trained) == len(others())


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("distail.baselines._fitting.FORMAT", -1),
        ("distail.learn.kept.FORMAT", -1),
        ("distail.baselines._fitting.source_hash", lambda name: "another file"),
        ("distail.learn.kept.architecture_source", lambda name: "another file"),
        ("torch.__version__", "0"),
    ],
)
def test_what_lies_outside_of_a_task_tells_networks_apart_too(place, value, monkeypatch):
    own = fit_key("focal", cheap("focal"), tiny_task())
    monkeypatch.setattr(place, value)
    assert fit_key("focal", cheap("focal"), tiny_task()) != own
    monkeypatch.undo()
    assert fit_key("focal", build_baseline("focal", {"gamma": 2.0}), tiny_task()) == own  # its default
    assert fit_key("focal", cheap("focal"), tiny_task(runtime=Runtime("cuda"))) != own


def test_where_the_images_lie_is_told_anew(kept):
    by_name("focal", tiny_task(), kept)
    moved = tiny_task(replace(tiny_images((12, 5, 2)), origin="elsewhere"))
    found = by_name("focal", moved, kept)
    assert found.reused_seconds > 0
    assert found.saved.provenance["trained on"] == "elsewhere"
    (path,) = kept.folder.glob("*.safetensors")
    assert read_tensors(path, "network").header["provenance"]["baseline"] == "focal"


def test_plain_networks_lie_beside_whole_ones(kept, trained):
    """A second stage trains the network in place; what others begin with stays as it was."""
    task = tiny_task(kept=kept)
    alone = {name: by_name(name, tiny_task(), None) for name in ("cross_entropy", "crt", "lws")}
    trained.clear()
    for _ in range(2):
        for name, expected in alone.items():
            assert_same_bits(by_name(name, task, kept), expected)
    assert len(trained) == 3  # one plain network, and two classifiers
    assert len(list(kept.folder.glob("*.safetensors"))) == 4


def test_times_are_counted_once(kept):
    task = tiny_task(kept=kept)
    by_name("cross_entropy", task, kept)
    for path in kept.folder.glob("*.safetensors"):
        change(path, lambda provenance: provenance["training"].update(seconds=1000.0))
    crt = by_name("crt", task, kept)
    assert crt.reused_seconds == 1000
    assert 1000 < crt.seconds < 1900
    again = by_name("crt", task, kept)
    assert again.reused_seconds == again.seconds == crt.seconds


def change(path: Path, how: Callable[[dict[str, Any]], Any]) -> None:
    """Writes a kept network anew with another provenance."""
    content = read_tensors(path, "network")
    how(content.header["provenance"])
    write_tensors(path, TensorFile("network", content.tensors, content.header))


@pytest.mark.parametrize("fact", ["training", "num_images", "chosen", "second_stage"])
def test_a_file_that_does_not_say_all_is_refused(fact, kept):
    by_name("focal", tiny_task(), kept)
    (path,) = kept.folder.glob("*.safetensors")
    change(path, lambda provenance: provenance.pop(fact))
    with pytest.raises(DistailError, match=rf"does not say how its network was trained .*{fact}.*Remove it"):
        by_name("focal", tiny_task(), kept)


def test_a_damaged_file_is_refused(kept):
    by_name("focal", tiny_task(), kept)
    (path,) = kept.folder.glob("*.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DistailError, match="altered"):
        by_name("focal", tiny_task(), kept)


def test_without_a_folder_it_is_trained_every_time(trained):
    for _ in range(2):
        fitted = by_name("focal", tiny_task(), None)
        assert fitted.reused_seconds == 0 < fitted.seconds
    assert len(trained) == 2


def test_a_class_of_one_image_is_refused_wherever_networks_are_kept(kept):
    with pytest.raises(DistailError, match="--set tau=1"):
        by_name("tau_norm", tiny_task(counts=(5, 3, 1)), kept)
    assert list(kept.folder.rglob("*.*")) == []
