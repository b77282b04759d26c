"""`distail group`: groups of similar classes, why, and how stable they are."""

import json

import numpy as np
import pytest
from PIL import Image

import distail
from distail.artifact import read_json
from distail.distilled import DistilledSet, load_distilled
from distail.errors import DistailError
from tests.cli.calling import NETWORK, assert_clear_refusal, call, contents, pets, succeed, write_npz

QUICK = ("--arch", NETWORK, "--epochs", 2)


@pytest.fixture(scope="session")
def digits(shared):
    """The whole command once, on digits."""
    flags = ("--imbalance", 50, "--arch", "convnet1-w8", "--epochs", 2, "--seeds", 2, "--compare", "balanced")
    return succeed("group", "digits", *flags, "--set", "max_images=20", "--out", shared / "groups")


def test_digits_are_grouped_compared_and_kept(digits, shared):
    folder = shared / "groups"
    assert {path.name for path in folder.iterdir()} == {
        "grouping.json",
        "manifest.json",
        "features.png",
        "distances.png",
        "compared.png",
    }
    for words in ("members", "nearest class", "adjusted Rand index", "imbalance 50", "balanced", "training images"):
        assert words in digits.flat
    for picture in folder.glob("*.png"):
        with Image.open(picture) as image:
            assert (np.asarray(image.convert("RGB")) < 250).any(-1).mean() > 0.01, picture
    grouping = distail.load_grouping(folder / "grouping.json")
    assert grouping.class_names == tuple("0123456789")
    manifest = read_json(folder / "manifest.json")
    assert manifest["groups"] == [[grouping.class_names[label] for label in grouping.members(g)] for g in (0, 1)]
    assert manifest["recipe"]["data"]["imbalance"] == 50
    assert {"versions", "hardware", "seconds"} <= manifest["provenance"].keys()
    by_pair = {(pair["first"], pair["second"]): pair for pair in manifest["agreement"]}
    assert by_pair["imbalance 50", "balanced"]["n"] == 4
    assert "another group than in the first grouping" in digits.flat
    assert by_pair["balanced", "balanced"]["n"] == 1
    assert [one["seed"] for one in manifest["found"]["balanced"]] == [0, 1]


def test_json_is_one_object_and_nothing_else(source):
    outcome = call("group", source, *QUICK, "--json")
    assert outcome.err == ""
    assert outcome.out.count("\n") == 1
    found = outcome.json
    assert sorted(name for group in found["groups"] for name in group) == ["ant", "bee", "cow"]
    assert np.array(found["distances"]).shape == (3, 3)
    assert found["cut"]["exact"] is True
    assert found["agreement"] is None


def test_without_out_nothing_is_written(source, shared, tmp_path):
    before = contents(shared, tmp_path)
    succeed("group", source, *QUICK)
    assert contents(shared, tmp_path) == before


def test_the_same_command_finds_the_same_as_python(source):
    told = succeed("group", source, *QUICK, "--seed", 3, "--json").json
    again = distail.find_groups(source, architecture=NETWORK, epochs=2, seed=3)
    assert again.to_json()["groups"] == told["groups"]
    assert again.main.distances.tolist() == told["distances"]


def test_images_in_memory():
    images = pets((9, 9, 9), 1)
    study = distail.find_groups(images, architecture=NETWORK, epochs=1, features="test", test=pets((4, 4, 4), 2))
    assert study.main.grouping.provenance["num_images"] == 12
    assert distail.find_groups(images, architecture=NETWORK, epochs=1, compare=[3]).agreement is not None


def test_distilled_sets_can_be_compared_and_looked_through(source, run):
    told = succeed("group", source, *QUICK, "--imbalance", 4, "--compare", run, "--compare", 2, "--json").json
    assert list(told["found"]) == ["imbalance 4", str(run), "imbalance 2"]
    through = succeed("group", run, *QUICK, "--compare", "balanced", "--json").json
    assert list(through["found"]) == [str(run), "balanced"]
    (first,) = through["found"][str(run)]
    assert first["trained_on"] == {"kind": "distilled set", "num_images": 6, "method": "random"}
    assert first == {**told["found"][str(run)][0], "cut": first["cut"]}


def test_auto_tells_what_it_tried(source):
    shown = succeed("group", source, *QUICK, "--groups", "auto", "--set", "max_groups=2")
    assert "balanced accuracy on held-out images" in shown.flat
    assert "chosen" in shown.out


def test_test_images_only_on_demand_and_with_a_word(source):
    assert "CAUTION" not in succeed("group", source, *QUICK).out
    told = succeed("group", source, *QUICK, "--features", "test")
    assert "CAUTION: these groups have seen the test images" in told.flat
    assert "18 TEST images" in told.flat


def test_a_source_without_test_images_needs_some_named(tmp_path):
    path = write_npz(tmp_path / "single.npz", images=pets((4, 4, 4), 1))
    assert_clear_refusal(call("group", path, *QUICK, "--features", "test"), "no test split", "--test")
    other = write_npz(tmp_path / "other.npz", images=pets((2, 2, 2), 2))
    assert "6 TEST images" in succeed("group", path, *QUICK, "--features", "test", "--test", other).flat


def test_a_source_that_is_long_tailed_has_no_balanced_data(tmp_path):
    path = write_npz(tmp_path / "tail.npz", images=pets((40, 3, 2), 1))
    refused = call("group", path, *QUICK, "--compare", "balanced")
    assert_clear_refusal(refused, "balanced", "imbalance factor 20")


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (("--groups", 4), ("4 groups", "3 classes")),
        (("--groups", 1), ("into 1 group.",)),
        (("--groups", "many"), ("--groups many", "auto")),
        (("--compare", "balancd"), ("balancd", "'balanced'")),
        (("--compare", "balanced", "--compare", 4, "--imbalance", 4), ("imbalance 4", "twice")),
        (("--set", "centroid=3"), ("centroid",)),
        (("--seeds", 0), ("seeds",)),
        (("--test", "digits"), ("--features test",)),
        (("--arch", "convnet3x"), ("convnet3x",)),
        (("--features", "train", "--imbalance", 1000), ("1000",)),
    ],
)
def test_bad_flags_are_refused(source, flags, names):
    assert_clear_refusal(call("group", source, *QUICK[2:], *flags), *names)


def test_a_folder_in_use_is_left_alone(source, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("precious")
    refused = call("group", source, *QUICK, "--out", "mine")
    assert_clear_refusal(refused, "mine", "nothing was touched")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_a_set_without_a_class_is_refused_by_its_name(source, run, tmp_path):
    whole = load_distilled(run)
    kept = whole.labels != 1
    DistilledSet(
        images=whole.images[kept],
        labels=whole.labels[kept],
        class_names=whole.class_names,
        preprocessing=whole.preprocessing,
        provenance=whole.provenance,
    ).save(tmp_path / "without.safetensors")
    refused = call("group", source, *QUICK, "--compare", tmp_path / "without.safetensors")
    assert_clear_refusal(refused, "no image of class 'bee'")


def test_flags_of_sources_do_not_fit_distilled_sets(run):
    assert_clear_refusal(call("group", run, *QUICK, "--imbalance", 3), "--imbalance", str(run))


def test_damaged_groupings_are_refused(digits, shared, tmp_path):
    whole = json.loads((shared / "groups" / "grouping.json").read_text())
    whole["groups"][0].pop()
    (tmp_path / "grouping.json").write_text(json.dumps(whole))
    with pytest.raises(DistailError, match="exactly one group"):
        distail.load_grouping(tmp_path / "grouping.json")


def test_groupings_with_an_empty_group_are_refused(digits, shared, tmp_path):
    whole = json.loads((shared / "groups" / "grouping.json").read_text())
    whole["groups"].append([])
    (tmp_path / "grouping.json").write_text(json.dumps(whole))
    with pytest.raises(DistailError, match="a group holds no class"):
        distail.load_grouping(tmp_path / "grouping.json")


def test_settings_that_have_a_flag_are_set_by_it(source):
    assert_clear_refusal(call("group", source, *QUICK, "--set", "epochs=3"), "--set epochs", "--epochs")


def test_a_chosen_number_of_groups_is_compared_on_alike_networks(source):
    """Images that are held out to choose the number by are held out of every network."""
    flags = ("--groups", "auto", "--seeds", 3, "--set", "max_groups=3")
    found = succeed("group", source, *QUICK, *flags, "--json").json["found"]
    sizes = {one["trained_on"]["num_images"] for several in found.values() for one in several}
    assert len(sizes) == 1


def test_balanced_data_are_not_compared_with_themselves(tmp_path):
    refused = call("group", "digits", *QUICK, "--compare", "balanced")
    assert_clear_refusal(refused, "--compare balanced", "--imbalance")


def test_the_folder_of_a_grouping_names_it(digits, shared):
    assert distail.load_grouping(shared / "groups").class_names == tuple("0123456789")
