"""`distail export`: files that other tools read, and that score as the set they came from."""

import pytest

from distail.data.sources import load
from distail.distilled import load_distilled
from tests.cli.calling import QUICK, call, contents, succeed

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
