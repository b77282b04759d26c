"""`distail relabel`: a set with other soft labels, which other commands open like any other."""

import json

import pytest

from distail.distilled import load_distilled
from tests.cli.calling import QUICK, assert_clear_refusal, call, contents, succeed


def test_a_teachers_labels_corrected_for_the_long_tail(run, teacher, tmp_path):
    before = contents(run, teacher.parent)
    shown = succeed("relabel", run, "--teacher", teacher, "--adsa", "--out", "soft").flat
    assert contents(run, teacher.parent) == before
    for words in ("τ* = ", "teacher: confidence ", "ADSA: confidence ", "agree with the hard ones", "ant"):
        assert words in shown
    assert "The new set is in soft." in shown
    facts = json.loads((tmp_path / "soft" / "manifest.json").read_text())["relabelled"]
    assert facts["from"] == str(run)
    assert facts["teacher"]["file"] == str(teacher)
    assert facts["adsa"]["class_counts"] == [12, 6, 3]


def test_other_commands_open_it(run, teacher, tmp_path):
    succeed("relabel", run, "--teacher", teacher, "--out", "soft")
    (student,) = succeed("evaluate", "soft", *QUICK, "--json").json["students"]
    assert student["labels"] == "static"
    assert (tmp_path / "soft" / "evaluation.json").exists()
    assert "distilled (random, relabelled)" in succeed("evaluate", "soft", *QUICK, "--out", "again.json").flat
    succeed("export", "soft", "--out", "soft.npz", "--format", "npz")
    succeed("train", "soft", "--epochs", 1, "--arch", "convnet2-w8", "--out", "student.safetensors")
    again = succeed("relabel", "soft", "--adsa", "--out", "fair", "--json").json
    assert [step["labels"] for step in again["steps"]] == ["stored", "adsa"]
    assert again["tau"] == load_distilled("fair").provenance["relabelled"]["adsa"]["tau"]


def test_json_is_one_object_and_nothing_else(run, teacher):
    outcome = call("relabel", run, "--teacher", teacher, "--adsa", "--out", "soft", "--json")
    assert outcome.err == ""
    first, second = outcome.json["steps"]
    assert (first["labels"], second["labels"]) == ("teacher", "adsa")
    assert second["deviation"] <= first["deviation"]
    assert len(second["confidence"]) == 3


def test_training_data_may_be_named(run, teacher, source):
    flags = ("--teacher", teacher, "--adsa", "--json")
    own = succeed("relabel", run, *flags, "--out", "own").json
    named = succeed("relabel", run, *flags, "--train", source, "--imbalance", 4, "--out", "named").json
    assert named["tau"] == own["tau"]
    balanced = succeed("relabel", run, *flags, "--train", source, "--out", "balanced").json
    assert balanced["tau"] == 0


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ((), "--teacher"),
        (("--adsa",), "--teacher"),
        (("--teacher", "missing.safetensors"), "missing.safetensors"),
        (("--teacher", "RUN"), "distilled"),
        (("--teacher", "TEACHER", "--train", "digits"), "--adsa"),
        (("--teacher", "TEACHER", "--adsa", "--imbalance", 5), "--train"),
        (("--teacher", "TEACHER", "--adsa", "--train", "digits"), "classes"),
    ],
)
def test_bad_input_is_refused(run, teacher, tmp_path, flags, named):
    places = {"RUN": run / "distilled.safetensors", "TEACHER": teacher}
    before = contents(tmp_path, run)
    assert_clear_refusal(call("relabel", run, *(places.get(flag, flag) for flag in flags), "--out", "new"), named)
    assert contents(tmp_path, run) == before


def test_a_teacher_of_other_classes_or_images(run, tmp_path):
    flags = ("--arch", "convnet1-w8", "--epochs", 1, "--augmentation", "none")
    succeed("train", "digits", "--out", "digits.safetensors", *flags)
    assert_clear_refusal(call("relabel", run, "--teacher", "digits.safetensors", "--out", "new"), "classes")


def test_the_run_itself_is_no_place_for_the_new_set(run, teacher):
    before = contents(run)
    assert_clear_refusal(call("relabel", run, "--teacher", teacher, "--out", run), "Choose another name")
    assert contents(run) == before
