import os

import pytest

from distail.data.sources import load, load_test, read_source, read_test_source, source_splits
from distail.errors import DistailError
from distail.progress import SilentProgress
from distail.recipe import DataRecipe
from distail.training_images import held_out_images, load_training_images
from tests.data.sources.builders import pixels, write_folder


@pytest.fixture
def flat(tmp_path):
    return write_folder(tmp_path / "birds", {"jay": pixels(2), "owl": pixels(3)})


@pytest.fixture
def split(tmp_path):
    write_folder(tmp_path / "fish" / "train", {"cod": pixels(2), "eel": pixels(3), "ray": pixels(1)})
    write_folder(tmp_path / "fish" / "test", {"cod": pixels(1), "eel": pixels(1)})
    return tmp_path / "fish"


def test_a_source_without_splits_answers_to_train_only(flat):
    assert source_splits(flat) == ("train",)
    contents = read_source(flat)
    assert contents.split == "train"
    with pytest.raises(DistailError, match=r"birds has no test split. Set some .*--holdout .*separate source .*--test"):
        read_source(flat, "test")


def test_a_split_may_be_written_behind_the_source(split):
    assert load(f"{split}#test").class_counts == load(split, "test").class_counts == (1, 1, 0)
    assert read_source(f"{split}#test", "train").split == "test"
    assert read_source(f"{split}#TRAIN", "test").split == "train"
    assert source_splits(f"{split}#test") == ("test",)
    with pytest.raises(DistailError, match=r"no validation split. It has train, test: .*#train"):
        load(f"{split}#val")


def test_a_name_with_a_hash_that_exists_is_a_name(tmp_path):
    write_folder(tmp_path / "set#1", {"a": pixels(1), "b": pixels(1)})
    assert load(tmp_path / "set#1").class_counts == (1, 1)
    assert load(f"{tmp_path / 'set#1'}#train").class_counts == (1, 1)


@pytest.mark.parametrize("source", ["#test", "digits#"])
def test_half_an_address_is_an_error(source):
    with pytest.raises(DistailError, match="write SOURCE#SPLIT"):
        load(source)


def test_the_origin_says_which_split(split):
    assert load(split).origin == str(split)
    assert load(split, "test").origin == f"{split}#test"


def test_a_test_source_gives_its_test_split_or_its_only_one(flat, split):
    assert read_test_source(flat).split == "train"
    assert read_test_source(split).split == "test"
    assert read_test_source(f"{split}#train").split == "train"
    assert load_test("digits").content_hash == load("digits", "test").content_hash


def test_a_test_source_with_several_splits_but_no_test_is_an_error(split):
    (split / "test").rename(split / "val")
    with pytest.raises(DistailError, match=r"no test split\. It has train, validation"):
        load_test(split)


def test_images_that_may_have_been_trained_on_are_no_test_images(flat):
    with pytest.raises(DistailError, match=r"birds has no test split.* holdout=0.2.* distail.load"):
        load_test(flat)
    assert load_test(f"{flat}#train").content_hash == load(flat).content_hash


def test_images_set_aside_are_those_that_a_run_is_scored_on(tmp_path):
    folder = write_folder(tmp_path / "birds", {"jay": pixels(9), "owl": pixels(12, seed=1)})
    recipe = DataRecipe(source=str(folder), holdout=0.25)
    found = load_test(folder, holdout=0.25)
    assert found.class_counts == (2, 3)
    assert found.content_hash == held_out_images(recipe, found.image_shape[1:]).content_hash
    trained_on = set(load_training_images(recipe).images.fingerprints.tolist())
    assert not trained_on & set(found.fingerprints.tolist())


def test_a_separate_test_source_follows_the_training_names(flat):
    names = ("dodo", "jay", "kiwi", "owl")
    assert read_test_source(flat, class_names=names).images.labels.tolist() == [1, 1, 3, 3, 3]
    assert read_test_source(flat, class_names=names).images.class_names == names
    assert read_test_source(flat, class_names=("emu", "owl")).images.class_names == ("jay", "owl")
    # Another order is for the caller to refuse.
    assert read_test_source(flat, class_names=("owl", "jay")).images.class_names == ("jay", "owl")


def test_paths_and_strings_are_the_same(flat):
    assert load(flat).content_hash == load(str(flat)).content_hash
    assert load(f"{flat}{os.sep}").content_hash == load(flat).content_hash


def test_a_home_folder_is_found(flat, monkeypatch):
    monkeypatch.setenv("HOME", str(flat.parent))
    assert load("~/birds").class_counts == (2, 3)


def test_a_missing_source_lists_the_forms_and_the_nearest_name(flat, monkeypatch):
    with pytest.raises(DistailError, match=r"no source .*Did you mean 'birds'\? A source is one of: digits.*hf:"):
        load(flat.with_name("brids"))
    with pytest.raises(DistailError, match=r"no source .*/nowhere/at/all'. A source is one of"):
        load(flat / "nowhere" / "at" / "all")
    monkeypatch.chdir(flat)
    with pytest.raises(DistailError, match="Did you mean 'digits'"):
        load("digit")


@pytest.mark.parametrize("name", ["a.csv", "a.zip", "a.png", "a.npy", "a"])
def test_a_file_of_another_kind_is_an_error(tmp_path, name):
    (tmp_path / name).write_bytes(b"content")
    with pytest.raises(DistailError, match=r"not a file that images can be read from.*\.parquet"):
        load(tmp_path / name)


@pytest.mark.parametrize("size", [7, 0, -8, (8, 7)])
def test_a_size_that_networks_cannot_take_is_an_error(flat, size):
    with pytest.raises(DistailError, match="too small"):
        load(flat, image_size=size)


def test_progress_counts_every_image(flat):
    class Counting(SilentProgress):
        counted = 0

        def task(self, title, total, done=0):
            progress, task = self, super().task(title, total, done)

            class Task:
                def __enter__(self):
                    task.__enter__()
                    return lambda steps=1, **figures: setattr(progress, "counted", progress.counted + steps)

                def __exit__(self, *details):
                    return task.__exit__(*details)

            return Task()

    progress = Counting()
    read_source(flat, progress=progress)
    assert progress.counted == 5
