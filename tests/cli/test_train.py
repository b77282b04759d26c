"""`distail train`: a network in a file, from a set or from real images."""

from pathlib import Path

import pytest
import torch

from distail.models.saved import load_network
from tests.cli.calling import NETWORK, call, pets, succeed, write_npz
from tests.data.sources.builders import pixels, write_folder

FAST = ("--arch", NETWORK, "--lr", 0.05, "--augmentation", "none")

_TEST = pets((6, 6, 6), 2)


def right(file) -> float:
    """Share of the test images that a saved network classifies correctly."""
    predicted = load_network(file).predict_logits(_TEST.images).argmax(dim=1)
    return float((predicted == _TEST.labels).double().mean())


def weights_in(name: str) -> torch.Tensor:
    return load_network(Path(name)).network.classifier.weight


@pytest.mark.parametrize("target", ["run", "source"])
def test_a_network_that_classifies_raw_images(request, tmp_path, target):
    given = request.getfixturevalue(target)
    file = tmp_path / "network.safetensors"
    shown = succeed("train", given, "--out", file, *FAST, "--epochs", 20)
    assert f"Trained {NETWORK} for 21 epochs, last training loss " in shown.out
    assert f"saved in {file}" in shown.out
    saved = load_network(file)
    assert saved.class_names == ("ant", "bee", "cow")
    assert saved.provenance["trained on"] == str(given)
    assert right(file) > 0.7


def test_json_is_one_object_and_nothing_else(source):
    outcome = call("train", source, "--out", "n.safetensors", *FAST, "--epochs", 2, "--schedule", "constant", "--json")
    assert outcome.err == ""
    assert outcome.json["network"] == "n.safetensors"
    assert outcome.json["epochs"] == 2
    assert outcome.json["loss"] > 0


def test_the_seed_decides(source):
    weights = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        succeed("train", source, "--out", f"{name}.safetensors", *FAST, "--epochs", 1, "--seed", seed)
        weights.append(weights_in(f"{name}.safetensors"))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_the_long_tail_and_the_images_set_aside_are_respected(tmp_path):
    path = write_npz(tmp_path / "all.npz", images=pets((12, 12, 12), 1))
    weights = []
    for number, flags in enumerate(((), ("--imbalance", 4), ("--holdout", 0.25))):
        succeed("train", path, "--out", f"{number}.safetensors", *FAST, "--epochs", 1, *flags)
        weights.append(weights_in(f"{number}.safetensors"))
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_images_of_different_sizes_are_resized_if_asked(tmp_path):
    folder = write_folder(tmp_path / "birds", {"jay": pixels(3, (9, 12, 3)), "owl": pixels(3, (10, 10, 3))})
    succeed("train", folder, "--out", "n.safetensors", *FAST, "--epochs", 1, "--image-size", 8)
    assert load_network(tmp_path / "n.safetensors").image_shape == (3, 8, 8)


def test_a_teacher_teaches_a_network_too(run, teacher, tmp_path):
    flags = ("--labels", "teacher", "--teacher", teacher, *FAST, "--epochs", 20)
    succeed("train", run, "--out", "taught.safetensors", *flags)
    succeed("train", run, "--out", "hard.safetensors", *FAST, "--epochs", 20, "--labels", "hard")
    assert right(tmp_path / "taught.safetensors") > 0.6
    assert not torch.equal(weights_in("taught.safetensors"), weights_in("hard.safetensors"))
