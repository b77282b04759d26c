"""Training images that cannot be used: each command that reads them says why."""

from pathlib import Path

import numpy as np
import pytest

from tests.cli.bad_input.commands import RANDOM, READERS, reading
from tests.cli.bad_input.inputs import Harmful
from tests.cli.calling import QUICK, succeed
from tests.data.sources.builders import encoded, hugging_face_table, pixels, write_folder, write_parquet


@pytest.mark.parametrize("command", READERS)
def test_no_such_source(refused, command):
    refused(*reading("digitz")[command], names=("digitz", "Did you mean 'digits'?", "A source is one of"))


def test_no_such_set(refused):
    refused("evaluate", "rums/first", *QUICK, names=("rums/first", "There is no run or set", "Name a run folder"))


def test_no_such_test_source(refused, run):
    refused("evaluate", run, *QUICK, "--test", "nowhere/birds", names=("nowhere/birds",))
    refused("check", "digits", "--test", "nowhere/birds", names=("nowhere/birds",))


def test_no_such_split(refused, run, source):
    refused("evaluate", run, *QUICK, "--test", f"{source}#holiday", names=("holiday", "train, test"))
    refused("distill", f"{source}#holiday", *RANDOM, names=("holiday", "train, test"))


def test_no_such_run(refused):
    refused("export", "runs/nothing", "--out", "set.parquet", names=("runs/nothing",))
    refused("evaluate", "runs/nothing", names=("runs/nothing",))


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("inside", ["nothing", "a text", "images", "empty class folders"])
def test_a_folder_without_classes(refused, tmp_path, command, inside):
    folder = tmp_path / "birds"
    folder.mkdir()
    if inside == "a text":
        (folder / "notes.txt").write_text("to do")
    if inside == "images":
        (folder / "1.png").write_bytes(encoded(pixels(1)[0]))
    if inside == "empty class folders":
        write_folder(folder, {"jay": [], "owl": []})
    refused(*reading(folder)[command], names=(str(folder),))


@pytest.mark.parametrize("command", READERS)
def test_one_class_only(refused, tmp_path, command):
    folder = write_folder(tmp_path / "birds", {"jay": pixels(3)})
    refused(*reading(folder)[command], names=(str(folder), "only one class", "jay"))


@pytest.mark.parametrize("command", ["distill", "train"])
def test_an_empty_class(refused, tmp_path, command):
    folder = write_folder(tmp_path / "birds", {"jay": pixels(3), "owl": pixels(3, seed=1), "void": []})
    refused(*reading(folder)[command], names=(str(folder), "no image in class void"))


def test_an_empty_class_in_test_data(refused, run, tmp_path):
    folder = write_folder(tmp_path / "pets", {"ant": pixels(2), "bee": pixels(2, seed=1), "cow": []})
    refused("evaluate", run, *QUICK, "--test", folder, names=(str(folder), "no image in class cow"))


def damaged(folder: Path, *, all_of_them: bool = False) -> Path:
    images = pixels(8)
    write_folder(folder, {"jay": images[:4], "owl": images[4:]})
    files = sorted(folder.rglob("*.png"))
    for file in files if all_of_them else files[:1]:
        file.write_bytes(file.read_bytes()[:60])
    (folder / "owl" / "note.jpg").write_text("no image at all")
    return folder


def test_unreadable_images_are_named_and_left_out(refused, tmp_path):
    folder = damaged(tmp_path / "birds")
    told = succeed("distill", folder, *RANDOM, "--out", "run")
    for name in ("jay/000.png", "owl/note.jpg"):
        assert f"left out, unreadable: {folder / name}" in told.err
    assert "7 real images" in told.out


@pytest.mark.parametrize("command", ["check", "distill"])
def test_unreadable_images_are_refused_if_strict(refused, tmp_path, command):
    folder = damaged(tmp_path / "birds")
    refused(*reading(folder)[command], "--strict", names=(str(folder / "jay/000.png"), str(folder / "owl/note.jpg")))


@pytest.mark.parametrize("command", READERS)
def test_no_readable_image(refused, tmp_path, command):
    folder = damaged(tmp_path / "birds", all_of_them=True)
    refused(*reading(folder)[command], names=(str(folder), "none of the 9 images can be read"))


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize(
    ("label", "reason"),
    [(2, "beyond the 2 class names in row 3"), (-1, "negative in row 3"), (None, "no label in row 3")],
)
def test_impossible_labels(refused, tmp_path, command, label, reason):
    images = [encoded(image) for image in pixels(4)]
    path = write_parquet(tmp_path / "birds.parquet", hugging_face_table(images, [0, 1, 0, label], ("jay", "owl")))
    refused(*reading(path)[command], names=(str(path), reason))


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize(("value", "reason"), [(float("nan"), "NaN"), (float("inf"), "infinite"), (300.0, "300")])
def test_impossible_pixels(refused, tmp_path, command, value, reason):
    images = np.random.default_rng(0).random((4, 8, 8, 3), dtype=np.float32)
    images[2, 1, 1, 0] = value
    np.savez(tmp_path / "birds.npz", images=images, labels=np.array([0, 1, 0, 1]))
    refused(*reading(tmp_path / "birds.npz")[command], names=("birds.npz", reason))


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("name", ["birds.npz", "birds.parquet", "birds.txt"])
def test_a_file_of_another_kind(refused, tmp_path, command, name):
    (tmp_path / name).write_bytes(b"\x00\x01 something else")
    refused(*reading(tmp_path / name)[command], names=(name,))


def test_an_archive_of_python_objects_is_never_loaded(refused, tmp_path):
    mark = tmp_path / "harm done"
    objects = np.array([Harmful(mark)] * 4, dtype=object)
    np.savez(tmp_path / "birds.npz", images=objects, labels=np.array([0, 1, 0, 1]))
    refused(*reading(tmp_path / "birds.npz")["distill"], names=("birds.npz", "could run code"))
    assert not mark.exists()


@pytest.mark.parametrize("command", ["distill", "train"])
def test_images_of_different_sizes(refused, tmp_path, command):
    folder = write_folder(tmp_path / "birds", {"jay": pixels(3, (9, 12, 3)), "owl": pixels(3, (10, 10, 3))})
    refused(*reading(folder)[command], names=(str(folder), "9x12", "10x10", "--image-size 9"))


@pytest.mark.parametrize("command", READERS)
def test_images_that_are_too_small(refused, tmp_path, command):
    folder = write_folder(tmp_path / "birds", {"jay": pixels(3, (4, 4, 3)), "owl": pixels(3, (4, 4, 3))})
    refused(*reading(folder)[command], names=(str(folder), "4x4", "--image-size 8"))
