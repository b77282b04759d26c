"""`distail export`: files that other tools read, and that score as the set they came from."""

import pytest
import torch

from distail.data.sources import load
from distail.distilled import load_distilled
from distail.opening import open_set
from tests.cli.calling import NETWORK, QUICK, assert_clear_refusal, call, contents, succeed, write_npz
from tests.report.page.runs import images_of

FORMATS = {"parquet": "set.parquet", "folder": "set", "npz": "set.npz"}


def accuracy(*arguments: object) -> float:
    (student,) = succeed("evaluate", *arguments, *QUICK, "--json").json["students"]
    return student["scores"]["accuracy"]


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_of_real_images_scores_exactly_like_the_set(run, format):
    exported = FORMATS[format]
    told = succeed("export", run, "--out", exported, "--format", format)
    assert f"Wrote {exported} (" in told.out
    assert "The written pixels are the images" in told.out
    (first,) = succeed("evaluate", run, *QUICK, "--json").json["students"]
    (again,) = succeed("evaluate", exported, "--like", run, *QUICK, "--json").json["students"]
    assert again["scores"] == first["scores"]


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_of_learned_images_scores_like_the_set_up_to_rounding(dm_run, format):
    exported = FORMATS[format]
    told = succeed("export", dm_run, "--out", exported, "--format", format)
    assert "differ from the exact images by" in told.flat
    assert "from rounding" in told.flat
    assert accuracy(exported, "--like", dm_run) == pytest.approx(
        accuracy(dm_run), abs=1.5 / 18
    )  # at most one test image


@pytest.mark.parametrize("format", FORMATS)
def test_other_tools_need_nothing_but_the_files(run, format):
    succeed("export", run, "--out", FORMATS[format], "--format", format)
    images = load(FORMATS[format])
    whole = load_distilled(run)
    assert images.class_names == whole.class_names
    assert images.labels.tolist() == whole.labels.tolist()
    assert (images.images == whole.to_pixels()).all()


def test_scoring_an_export_without_its_run_needs_test_images(run, source):
    succeed("export", run, "--out", "set.npz", "--format", "npz")
    assert 0 <= accuracy("set.npz", "--test", source) <= 1


def test_an_export_without_its_run_is_told_of_both_ways(run):
    succeed("export", run, "--out", "set", "--format", "folder")
    assert_clear_refusal(call("evaluate", "set", *QUICK), "--test SOURCE", "--like RUN")


def test_folders_whose_names_had_to_change_are_the_set_s_classes_again(tmp_path):
    odd = ("<b>five", "_b_five", "zebra/ape", "ape")
    write_npz(tmp_path / "odd.npz", train=images_of(odd, 1), test=images_of(odd, 2))
    succeed("distill", "odd.npz", "--method", "random", "--ipc", 2, "--arch", NETWORK, "--out", "odd")
    succeed("export", "odd", "--out", "set", "--format", "folder")
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == ["_b_five", "_b_five~2", "ape", "zebra_ape"]
    made, again = load_distilled("odd"), open_set("set", like="odd")
    assert again.class_names == made.class_names
    for label in range(4):
        torch.testing.assert_close(again.images[again.labels == label], made.images[made.labels == label])
    assert 0 <= accuracy("set", "--like", "odd") <= 1
    (tmp_path / "set" / "ape").rename(tmp_path / "set" / "gorilla")
    assert_clear_refusal(call("evaluate", "set", "--like", "odd", *QUICK), "gorilla")


def test_parquet_is_the_default(run, tmp_path):
    succeed("export", run, "--out", "set.parquet")
    assert (tmp_path / "set.parquet").read_bytes().startswith(b"PAR1")


def test_json_is_one_object_and_nothing_else(run):
    outcome = call("export", run, "--out", "set.npz", "--format", "npz", "--json")
    assert outcome.err == ""
    assert outcome.json["out"] == "set.npz"
    assert outcome.json["pixels"]["max"] < 0.01
    assert "preprocessing" in outcome.json["dropped"]


def test_the_run_is_not_touched(run):
    before = contents(run)
    succeed("export", run / "distilled.safetensors", "--out", "set.npz", "--format", "npz")
    assert contents(run) == before
