"""An `Evaluation` is plain values: it goes to JSON and comes back equal."""

import json
from dataclasses import replace

import pytest
import torch

from distail.distilled import StoredBytes
from distail.errors import DistailError
from distail.evaluation.fairness import Fairness
from distail.evaluation.metrics import SCALAR_SCORES, score_logits
from distail.evaluation.result import Evaluation, StudentScore, load_evaluation

COUNTS = (200, 20, 3)


def student(subject: str, architecture: str, seed: int, counts: tuple[int, ...] | None = COUNTS) -> StudentScore:
    generator = torch.Generator().manual_seed(seed + 10 * len(subject) + 100 * len(architecture))
    labels = torch.arange(12) % 3
    logits = torch.randn(12, 3, generator=generator)
    scores = score_logits(logits, labels, counts)
    return StudentScore(subject, architecture, seed, "hard", 6, 10, 9, 0.1 + seed / 7, scores)


def make(counts: tuple[int, ...] | None = COUNTS) -> Evaluation:
    return Evaluation(
        students=tuple(
            student(subject, architecture, seed, counts)
            for architecture in ("convnet3", "alexnet")
            for subject in ("distilled", "random")
            for seed in range(3)
        ),
        class_names=("ant", "bée", "cow"),
        train_counts=counts,
        stored=StoredBytes(1, 2, 3, 4),
        fairness={"convnet3": Fairness(0.1, -0.2, 1 / 3)},
        provenance={"recipe": {"seeds": 3, "architectures": ["convnet3"]}, "nested": [1, None, {"a": 0.1}]},
    )


@pytest.mark.parametrize("counts", [COUNTS, None])
def test_to_json_and_back(tmp_path, counts):
    whole = make(counts)
    whole.save(tmp_path / "evaluation.json")
    assert load_evaluation(tmp_path / "evaluation.json") == whole
    text = (tmp_path / "evaluation.json").read_text(encoding="utf-8")
    assert json.loads(text) == json.loads(json.dumps(whole.to_json(), allow_nan=False))


def test_a_difference_is_a_difference(tmp_path):
    whole = make()
    first = replace(whole.students[0], kept_epoch=8)
    replace(whole, students=(first, *whole.students[1:])).save(tmp_path / "evaluation.json")
    assert load_evaluation(tmp_path / "evaluation.json") != whole


def test_subjects_and_groups():
    whole = make()
    assert whole.groups == (
        ("distilled", "convnet3"),
        ("random", "convnet3"),
        ("distilled", "alexnet"),
        ("random", "alexnet"),
    )
    assert [s.seed for s in whole.of("random", "alexnet")] == [0, 1, 2]
    assert len(whole.of("random")) == 6
    assert whole.of("full") == ()


def test_summaries_are_over_seeds():
    whole = make()
    values = [s.scores.accuracy for s in whole.of("random", "alexnet")]
    found = whole.summary("random", "alexnet")
    assert tuple(found) == SCALAR_SCORES
    assert found["accuracy"].n == 3
    assert found["accuracy"].mean == pytest.approx(sum(values) / 3)
    assert found["accuracy"].std == pytest.approx(float(torch.tensor(values, dtype=torch.float64).std()))
    assert whole.summary()["accuracy"].n == 6  # both architectures
    per_class = whole.per_class("random", "alexnet")
    assert len(per_class) == 3
    column = [s.scores.per_class[1] for s in whole.of("random", "alexnet")]
    assert per_class[1].mean == pytest.approx(sum(column) / 3)


def test_scores_that_do_not_apply_are_left_out():
    assert not {"many", "medium", "few"} & set(make(None).summary())
    balanced = make((5, 5, 5)).summary()
    assert "few" in balanced
    assert not {"many", "medium"} & set(balanced)


def test_a_subject_without_students_is_a_clear_error():
    with pytest.raises(DistailError, match="Nothing was scored on 'full' with any architecture"):
        make().summary("full")
    with pytest.raises(DistailError, match="Nothing was scored on 'random' with vgg"):
        make().summary("random", "vgg")


def test_json_has_the_summaries_beside_the_students():
    whole = make()
    values = whole.to_json()
    assert [(s["subject"], s["architecture"]) for s in values["summaries"]] == list(whole.groups)
    first = values["summaries"][0]
    expected = whole.summary("distilled", "convnet3")["macro_f1"]
    assert first["scores"]["macro_f1"] == {"n": 3, "mean": expected.mean, "std": expected.std}
    assert [row["n"] for row in first["per_class"]] == [3, 3, 3]
    assert len(values["students"]) == 12


@pytest.mark.parametrize("value", [{}, [], 3, {"students": 3}, {"students": [{"scores": {}}]}, {"students": [[]]}])
def test_what_is_no_evaluation_is_a_clear_error(tmp_path, value):
    (tmp_path / "value.json").write_text(json.dumps(value))
    with pytest.raises(DistailError, match=r"value\.json is no evaluation of distail.*Score the run again"):
        load_evaluation(tmp_path / "value.json")


@pytest.mark.parametrize(
    "change", [{"fairness": []}, {"stored": {"images": 1}}, {"class_names": None}, {"train_counts": 3}]
)
def test_a_spoilt_evaluation_is_a_clear_error(tmp_path, change):
    (tmp_path / "value.json").write_text(json.dumps({**make().to_json(), **change}))
    with pytest.raises(DistailError, match="is no evaluation"):
        load_evaluation(tmp_path / "value.json")


def test_files_from_before_there_were_two_stages_still_load(tmp_path):
    whole = make()
    values = whole.to_json()
    for student in values["students"]:
        del student["group_accuracy"], student["stages"]
    (tmp_path / "old.json").write_text(json.dumps(values))
    assert load_evaluation(tmp_path / "old.json") == whole


def test_files_from_before_bins_of_confidence_were_kept_still_load(tmp_path):
    values = make().to_json()
    for student in values["students"]:
        del student["scores"]["calibration"]
    (tmp_path / "old.json").write_text(json.dumps(values))
    old = load_evaluation(tmp_path / "old.json")
    assert all(student.scores.calibration is None for student in old.students)
    assert old.summary() == make().summary()
