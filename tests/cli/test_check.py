"""`distail check`: every fact a user must know before distilling, and no surprise afterwards."""

import pytest

from distail.data.image_set import ImageSet
from tests.cli.calling import NETWORK, call, contents, succeed, write_npz
from tests.data.sources.builders import pixels, write_folder
from tests.evaluation.separable import images_of

FAST = ("--arch", NETWORK, "--set", "iterations=3")


def test_the_facts_are_shown(source):
    shown = succeed("check", source, *FAST, "--ipc", 2)
    assert "36 images, 3 classes, 8x8 pixels, RGB" in shown.flat
    for name in ("ant", "bee", "cow"):
        (line,) = [line for line in shown.out.splitlines() if name in line]
        assert "12" in line
    assert "Imbalance factor 1 " in shown.flat
    assert "0, 0, 3" in shown.flat  # many, medium, few
    assert "Every file is readable." in shown.out
    assert "Images that also stand in the test split: 0." in shown.out
    assert "Distilling (tailor, 2 per class) takes about" in shown.flat
    assert shown.err == ""


def test_the_long_tail_is_shown_as_distilling_would_make_it(source):
    shown = succeed("check", source, *FAST, "--imbalance", 4)
    assert "36 images" in shown.out
    assert "Made long-tailed: 21 images kept." in shown.out
    assert "Imbalance factor 4 " in shown.flat
    counts = succeed("check", source, *FAST, "--imbalance", 4, "--json").json["long_tailed"]
    assert counts == {"num_images": 21, "class_counts": [12, 6, 3], "imbalance_factor": 4.0}
    assert succeed("check", source, *FAST, "--imbalance", 0.25, "--json").json["long_tailed"] == counts


def test_json_is_one_object_and_nothing_else(source):
    outcome = call("check", source, *FAST, "--json")
    assert outcome.err == ""
    assert outcome.out.count("\n") == 1
    found = outcome.json
    assert [entry["count"] for entry in found["classes"]] == [12, 12, 12]
    assert found["image_shape"] == [3, 8, 8]
    assert found["estimate"]["method"] == "tailor"
    assert found["estimate"]["memory_bytes"] > 2**20
    assert "long_tailed" not in found


def test_nothing_is_written(source, shared, tmp_path):
    before = contents(shared, tmp_path)
    succeed("check", source, *FAST)
    assert contents(shared, tmp_path) == before


def test_damage_and_empty_classes_are_named_without_failing(tmp_path):
    folder = write_folder(tmp_path / "birds", {"jay": pixels(3), "owl": pixels(3, seed=1), "void": []})
    (folder / "owl" / "broken.png").write_bytes(b"no image")
    shown = succeed("check", folder, *FAST)
    assert "EMPTY CLASSES, to be filled or removed: void." in shown.out
    assert "1 unreadable file is left out:" in shown.out
    assert f"{folder / 'owl' / 'broken.png'}: it is not an image" in shown.out
    assert "There is no test split; use --holdout" in shown.out
    assert "takes about" not in shown.out  # there is no distilling such data
    found = succeed("check", folder, *FAST, "--json").json
    assert found["empty_classes"] == ["void"]
    assert found["imbalance_factor"] is None
    assert found["estimate"] is None


def test_different_sizes_are_listed_once_resized(tmp_path):
    folder = write_folder(tmp_path / "birds", {"jay": pixels(3, (9, 12, 3)), "owl": pixels(2, (10, 10, 3))})
    shown = succeed("check", folder, *FAST, "--image-size", 8)
    assert "2 image sizes, most often 9x12 (3), 10x10 (2)" in shown.flat
    assert "5 images, 2 classes, 8x8 pixels" in shown.flat


def test_different_sizes_are_looked_at_in_one(tmp_path):
    folder = write_folder(tmp_path / "birds", {"jay": pixels(3, (9, 12, 3)), "owl": pixels(2, (10, 10, 3))})
    shown = succeed("check", folder, *FAST)
    assert "2 image sizes, most often 9x12 (3), 10x10 (2)" in shown.flat
    assert "5 images, 2 classes, 9x9 pixels" in shown.flat
    assert "looked at as 9x9 pixels. Choose a size for distilling with --image-size" in " ".join(shown.err.split())
    large = write_folder(tmp_path / "larger", {"jay": pixels(3, (40, 50, 3)), "owl": pixels(2, (60, 40, 3))})
    assert "5 images, 2 classes, 32x32 pixels" in succeed("check", large, *FAST).flat


def test_duplicates_and_leaks_are_counted(tmp_path):
    train, test = images_of((4, 4, 4), 1), images_of((2, 2, 2), 2)
    train.images[1] = train.images[0]
    train.images[5] = train.images[0]  # of another class
    test.images[0] = train.images[7]
    apart = write_npz(tmp_path / "test.npz", images=test)
    whole = write_npz(tmp_path / "train.npz", images=train)
    shown = succeed("check", whole, "--test", apart, *FAST)
    assert "Exact duplicates inside the split: 1 group, 1 of them with different labels." in shown.flat
    assert "Images that also stand in the test split: 1; remove them from training" in shown.flat


@pytest.mark.parametrize("channels", [1, 3])
def test_grayscale_is_told_from_colour(tmp_path, channels):
    images = images_of((4, 4), 1, (channels, 9, 9))
    path = write_npz(tmp_path / "x.npz", images=ImageSet(images.images, images.labels, ("a", "b")))
    assert f"9x9 pixels, {'grayscale' if channels == 1 else 'RGB'}" in succeed("check", path, *FAST).flat


def test_more_to_compute_is_estimated_longer(source):
    few, many = (
        succeed("check", source, "--method", "dm", "--arch", NETWORK, "--set", f"iterations={count}", "--json").json[
            "estimate"
        ]
        for count in (1, 100_000)
    )
    assert many["seconds"] > 100 * few["seconds"]
    free = succeed("check", source, "--method", "random", "--json").json["estimate"]
    assert free["seconds"] == 0
