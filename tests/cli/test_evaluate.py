"""`distail evaluate`: which scores are shown, against what, and that no earlier result is lost."""

import re
from pathlib import Path

import pytest

from distail.artifact import read_json
from distail.evaluation.result import load_evaluation
from tests.cli.calling import NETWORK, QUICK, Outcome, assert_clear_refusal, call, contents, pets, succeed, write_npz
from tests.data.sources.builders import encoded, hugging_face_table, pixels, write_folder, write_parquet
from tests.evaluation.separable import images_of


def scores(outcome: Outcome) -> list[object]:
    """All that does not depend on the clock."""
    return [student["scores"] for student in outcome.json["students"]]


def test_scores_notes_and_files(run):
    shown = succeed("evaluate", run, "--arch", NETWORK, "--epochs", 3, "--seeds", 2)
    for words in (
        "distilled (random)",
        NETWORK,
        "hard",
        "Stored bytes:",
        "which no student was trained on and no epoch selected by.",
        "all classes have fewer than 10 test images, 'ant' the fewest: 6.",
    ):
        assert words in shown.flat
    assert "n = 2 · percent, mean ± std over n networks" in shown.flat
    for name in ("ant", "bee", "cow"):
        assert re.search(rf"{name} +\d+\.\d ±\d+\.\d", shown.out), shown.out
    (saved,) = re.findall(r"Saved in (\S+evaluation-\d+\.json), and as text beside it", shown.out)
    assert load_evaluation(Path(saved)).class_names == ("ant", "bee", "cow")
    assert "distilled (random)" in Path(saved).with_suffix(".txt").read_text()
    assert f"{NETWORK}, seed 0: " in shown.err  # progress


def test_evaluating_again_keeps_the_first_result(run):
    first = run / "evaluation.json"
    before = contents(run)
    succeed("evaluate", run, *QUICK, "--quiet")
    after = contents(run)
    assert {path: after[path] for path in before} == before
    new = sorted(Path(path).name for path in after.keys() - before.keys())
    assert [Path(name).suffix for name in new] == [".json", ".txt"]
    assert load_evaluation(run / new[0]).summary()["accuracy"] == load_evaluation(first).summary()["accuracy"]


def test_json_is_one_object_and_nothing_else(run):
    outcome = call("evaluate", run, *QUICK, "--json")
    assert outcome.err == ""
    assert outcome.out.count("\n") == 1
    (summary,) = outcome.json["summaries"]
    assert (summary["subject"], summary["architecture"]) == ("distilled", NETWORK)
    assert summary["scores"]["accuracy"]["n"] == 1
    assert outcome.json["provenance"]["test"]["images"] == 18
    assert outcome.json["train_counts"] == [12, 6, 3]


def test_quiet_is_silent_on_standard_error(run):
    outcome = succeed("evaluate", run, *QUICK, "--quiet")
    assert outcome.err == ""
    assert "distilled (random)" in outcome.out


def test_out_takes_the_result_elsewhere(run, shared, tmp_path):
    before = contents(shared)
    told = scores(succeed("evaluate", run, *QUICK, "--out", "results/mine.json", "--json"))
    assert contents(shared) == before
    assert {path.name for path in (tmp_path / "results").iterdir()} == {"mine.json", "mine.txt"}
    assert [student["scores"] for student in read_json(tmp_path / "results" / "mine.json")["students"]] == told


@pytest.mark.parametrize("name", ["mine.json", "mine.txt"])
def test_out_replaces_nothing(run, tmp_path, name):
    (tmp_path / name).write_text("precious")
    refused = call("evaluate", run, *QUICK, "--out", "mine.json")
    assert_clear_refusal(refused, name, "exists", "nothing was touched")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: "precious"}


def test_architectures_seeds_and_references_are_rows(run):
    flags = ("--arch", NETWORK, "--arch", "convnet1-w8", "--seeds", 2, "--epochs", 1, "--full-epochs", 2)
    outcome = succeed("evaluate", run, *flags, "--reference", "random", "--reference", "full", "--json")
    rows = {(s["subject"], s["architecture"]): s["scores"]["accuracy"]["n"] for s in outcome.json["summaries"]}
    subjects, networks = ("distilled", "random", "full"), (NETWORK, "convnet1-w8")
    assert rows == {(subject, network): 2 for subject in subjects for network in networks}
    by_subject = {student["subject"]: student for student in outcome.json["students"]}
    assert {subject: student["num_images"] for subject, student in by_subject.items()} == {
        "distilled": 6,
        "random": 6,
        "full": 21,
    }
    assert by_subject["full"]["epochs"] == by_subject["distilled"]["epochs"] + 1
    assert outcome.json["fairness"].keys() == set(networks)


def test_readable_references(run):
    shown = succeed("evaluate", run, *QUICK, "--reference", "random", "--reference", "full")
    assert "random images" in shown.out
    assert "whole training set" in shown.out
    assert "random images with hard labels" in shown.flat
    assert "a difference of" in shown.flat


def test_validation_images_come_from_training_data(run):
    (student,) = succeed("evaluate", run, *QUICK, "--select", "validation", "--json").json["students"]
    assert 1 <= student["kept_epoch"] <= student["epochs"]
    assert "best epoch on validation images" in succeed("evaluate", run, *QUICK, "--select", "validation").flat


def test_a_teacher_labels_every_view(run, teacher):
    outcome = succeed("evaluate", run, *QUICK, "--labels", "teacher", "--teacher", teacher, "--json")
    (student,) = outcome.json["students"]
    assert student["labels"] == "teacher"
    assert outcome.json["stored"]["teacher"] > 0
    assert scores(outcome) != scores(succeed("evaluate", run, *QUICK, "--json"))
    shown = succeed("evaluate", run, *QUICK, "--labels", "teacher", "--teacher", teacher)
    assert "teacher" in shown.out
    assert "preprocessing" in shown.out
    own = outcome.json["teacher"]["accuracy"]
    assert f"The network that students asked gets {own:.1%} of the test images right itself" in shown.flat


def test_hard_and_static_are_one_without_soft_labels(run):
    hard, static = (succeed("evaluate", run, *QUICK, "--labels", labels, "--json") for labels in ("hard", "static"))
    assert scores(hard) == scores(static)
    assert "'static' means its hard labels" in succeed("evaluate", run, *QUICK).flat


# Test images


def test_a_split_of_a_source_can_be_named(run, source, tmp_path):
    test = pets((6, 6, 6), 2)  # the source's own
    both = write_npz(tmp_path / "both.npz", validation=test, test=pets((2, 2, 2), 7))
    own = succeed("evaluate", run, *QUICK, "--json")
    named = succeed("evaluate", run, *QUICK, "--test", f"{both}#validation", "--json")
    assert scores(named) == scores(own)
    assert named.json["provenance"]["test"]["origin"] == f"{both}#validation"
    other = succeed("evaluate", run, *QUICK, "--test", both, "--json")  # its test split
    assert other.json["provenance"]["test"]["images"] == 6
    assert scores(succeed("evaluate", run, *QUICK, "--test", f"{source}#test", "--json")) == scores(own)


@pytest.mark.parametrize("kind", ["folder", "parquet", "npz"])
def test_test_images_in_any_form(run, tmp_path, kind):
    test = pets((6, 6, 6), 2)
    raw = test.images.permute(0, 2, 3, 1).numpy()
    if kind == "folder":
        named = {name: raw[test.indices_of(label)] for label, name in enumerate(test.class_names)}
        path = write_folder(tmp_path / "pets", named)
    elif kind == "parquet":
        table = hugging_face_table([encoded(image) for image in raw], test.labels.tolist(), test.class_names)
        path = write_parquet(tmp_path / "pets.parquet", table)
    else:
        path = write_npz(tmp_path / "pets.npz", images=test)
    assert scores(succeed("evaluate", run, *QUICK, "--test", path, "--json")) == scores(
        succeed("evaluate", run, *QUICK, "--json")
    )


def test_test_images_are_resized_exactly_when_training_images_were(source, tmp_path):
    large = write_npz(tmp_path / "large.npz", images=images_of((2, 2, 2), 3, (3, 12, 12)))
    succeed("distill", source, "--method", "random", "--ipc", 1, "--image-size", 9, "--out", "resized")
    scored = succeed("evaluate", "resized", *QUICK, "--test", large, "--json")
    assert scored.json["provenance"]["test"]["images"] == 6


def test_unreadable_test_images_are_named(run, tmp_path):
    folder = write_folder(tmp_path / "pets", {"ant": pixels(2), "bee": pixels(2, seed=1), "cow": pixels(2, seed=2)})
    (folder / "bee" / "broken.png").write_bytes(b"no image")
    outcome = succeed("evaluate", run, *QUICK, "--test", folder)
    assert f"left out, unreadable: {folder / 'bee' / 'broken.png'}" in outcome.err


def test_training_data_can_be_named(run, tmp_path):
    archive = write_npz(tmp_path / "train.npz", images=pets((12, 12, 12), 5))
    flags = ("--train", archive, "--imbalance", 4, "--reference", "full")
    students = succeed("evaluate", run, *QUICK, *flags, "--json").json["students"]
    counts = {student["subject"]: student["num_images"] for student in students}
    assert counts == {"distilled": 6, "full": 21}


def test_a_folder_of_real_images_can_be_scored(source, tmp_path):
    """So that sets of other tools can be compared."""
    path = write_npz(tmp_path / "few.npz", images=pets((3, 3, 3), 8))
    outcome = succeed("evaluate", path, *QUICK, "--test", source, "--json")
    assert outcome.json["students"][0]["num_images"] == 9
