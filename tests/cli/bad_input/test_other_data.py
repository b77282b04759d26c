"""Test or training images that do not belong to the set."""

import pytest

from tests.cli.bad_input.inputs import renamed
from tests.cli.calling import QUICK, pets, write_npz
from tests.data.sources.builders import pixels, write_folder
from tests.evaluation.separable import images_of


def test_other_classes_in_test_data(refused, run, tmp_path):
    path = write_npz(tmp_path / "others.npz", images=renamed(pets((2, 2, 2), 3), "ant", "bee", "dog"))
    refused("evaluate", run, *QUICK, "--test", path, names=("'cow'", "'dog'"))


def test_another_order_of_the_same_classes_in_test_data(refused, run, tmp_path):
    path = write_npz(tmp_path / "turned.npz", images=renamed(pets((2, 2, 2), 3), "cow", "ant", "bee"))
    refused("evaluate", run, *QUICK, "--test", path, names=("orders them 'cow', 'ant', 'bee'",))


@pytest.mark.parametrize("names", [("cow", "ant", "bee"), ("ant", "bee", "dog")])
def test_another_order_or_other_classes_in_training_data_or_the_run(refused, run, source, tmp_path, names):
    path = write_npz(tmp_path / "turned.npz", images=renamed(pets((9, 9, 9), 3), *names))
    differing = (f"'{names[0]}'",) if names[0] == "cow" else ("'dog'",)
    refused("evaluate", run, *QUICK, "--reference", "full", "--train", path, names=differing)
    refused("evaluate", path, *QUICK, "--like", run, "--test", source, names=differing)


def test_test_images_of_another_size(refused, run, tmp_path):
    path = write_npz(tmp_path / "large.npz", images=images_of((2, 2, 2), 3, (3, 12, 12)))
    refused("evaluate", run, *QUICK, "--test", path, names=(str(path), "12x12", "8x8", "--image-size 8"))


def test_test_images_of_different_sizes(refused, run, tmp_path):
    images = {"ant": pixels(2), "bee": pixels(2, seed=1), "cow": pixels(2, (9, 9, 3))}
    folder = write_folder(tmp_path / "pets", images)
    refused("evaluate", run, *QUICK, "--test", folder, names=(str(folder), "9x9", "8x8"))


def test_test_images_of_other_channels(refused, run, tmp_path):
    path = write_npz(tmp_path / "gray.npz", images=images_of((2, 2, 2), 3, (1, 8, 8)))
    refused("evaluate", run, *QUICK, "--test", path, names=("(1, 8, 8)", "(3, 8, 8)"))


@pytest.mark.parametrize("form", ["split", "copy"])
def test_the_training_data_as_test_data(refused, run, source, tmp_path, form):
    copy = write_npz(tmp_path / "copy.npz", images=pets((12, 12, 12), 1))
    test = f"{source}#train" if form == "split" else copy
    refused("evaluate", run, *QUICK, "--test", test, names=("the very data the set was made from", str(test)[:-6]))
