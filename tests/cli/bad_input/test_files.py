"""Damaged and foreign files: sets, runs and recipes."""

import pickle

import pytest
import torch

from tests.cli.bad_input.commands import NETWORK_FILE, RANDOM
from tests.cli.bad_input.inputs import Harmful
from tests.cli.calling import QUICK, pets, succeed, write_npz


@pytest.mark.parametrize("command", ["evaluate", "train", "export"])
@pytest.mark.parametrize("damage", ["cut", "changed", "a pickle", "a torch file", "empty", "a network"])
def test_a_set_that_is_not_what_it_was(refused, run, teacher, tmp_path, command, damage):
    file, mark = tmp_path / "distilled.safetensors", tmp_path / "harm done"
    whole = (run / "distilled.safetensors").read_bytes()
    changed = whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:]
    content = {
        "cut": whole[: len(whole) // 2],
        "changed": changed,
        "a pickle": pickle.dumps(Harmful(mark)),
        "empty": b"",
        "a network": teacher.read_bytes(),
    }
    if damage == "a torch file":
        torch.save({"images": Harmful(mark)}, file)
    else:
        file.write_bytes(content[damage])
    calls = {
        "evaluate": ("evaluate", file, *QUICK),
        "train": ("train", file, "--out", NETWORK_FILE),
        "export": ("export", file, "--out", "set.parquet"),
    }
    refused(*calls[command], names=(str(file),))
    assert not mark.exists()


@pytest.mark.parametrize("command", ["evaluate", "train", "export"])
def test_a_run_that_is_not_finished(refused, run, tmp_path, command):
    folder = tmp_path / "begun"
    folder.mkdir()
    for name in ("recipe.yaml", "manifest.json"):
        (folder / name).write_text((run / name).read_text().replace('"complete"', '"running"'))
    calls = {
        "evaluate": ("evaluate", folder, *QUICK),
        "train": ("train", folder, "--out", NETWORK_FILE),
        "export": ("export", folder, "--out", "set.parquet"),
    }
    refused(*calls[command], names=(str(folder), "no finished distilled set", "--resume"))


def test_a_set_whose_data_are_gone(refused, tmp_path):
    path = write_npz(tmp_path / "pets.npz", train=pets((4, 4, 4), 1), test=pets((2, 2, 2), 2))
    succeed("distill", path, *RANDOM, "--out", "run")
    path.unlink()
    refused("evaluate", "run", *QUICK, names=("pets.npz",))


def test_a_set_whose_data_have_changed(refused, tmp_path):
    path = write_npz(tmp_path / "pets.npz", train=pets((4, 4, 4), 1), test=pets((2, 2, 2), 2))
    succeed("distill", path, *RANDOM, "--out", "run")
    write_npz(path, train=pets((5, 4, 4), 1), test=pets((2, 2, 2), 2))
    refused("evaluate", "run", *QUICK, "--reference", "full", names=("pets.npz", "has changed", "--train"))


def test_a_missing_recipe(refused, tmp_path):
    refused("run", "recipes/nothing.yaml", names=("recipes/nothing.yaml",))
    refused("run", tmp_path, names=(str(tmp_path), "Is a directory"))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("data: [", ("not valid YAML",)),
        ("\x00\x01", ("not valid YAML",)),
        ("data: !!python/object/apply:os.getcwd []", ("not valid YAML",)),
        ("", ("holds no settings",)),
        ("- dm", ("holds no settings",)),
        ("data: {source: digits}\nmethd: dm", ("methd", "Did you mean 'method'?")),
        ("data: {source: digits, imbalence: 3}", ("imbalence", "Did you mean 'imbalance'?")),
        ("data: {source: digits}\nmethod: random\nsettings: {lr: 1}", ("'lr'", "method random")),
        ("data: {source: digits}\nmethod: dm\nsettings: {iteration: 1}", ("iteration", "Did you mean 'iterations'?")),
        ("data: {source: digits}\nimages_per_class: 0", ("images_per_class", "not 0")),
        ("data: {source: digits}\narchitecture: convnet33", ("convnet33", "Did you mean 'convnet3'?")),
    ],
)
def test_a_bad_recipe(refused, tmp_path, text, names):
    (tmp_path / "recipe.yaml").write_text(text)
    refused("run", "recipe.yaml", names=names)
