"""The protocol: what is trained on what, by which labels, and what a result says of it."""

import json
import math
from dataclasses import replace

import pytest
import torch

from distail.data.image_set import ImageSet
from distail.data.preprocess import fit_preprocessing
from distail.errors import DistailError
from distail.evaluation.protocol import Scoring, evaluate
from distail.evaluation.result import load_evaluation, parse_evaluation
from distail.learn.student import Classroom, train_student
from distail.runtime import Runtime
from tests.evaluation.separable import (
    ARCHITECTURE,
    NAMES,
    TEST,
    TRAIN,
    Said,
    make_set,
    quick,
    scores_of,
    soft_labels,
)

# Scores


def test_an_easy_problem_is_learned():
    evaluation = evaluate(Scoring(make_set(), TEST, quick(epochs=30, seeds=2)))
    for student in evaluation.students:
        assert student.scores.accuracy > 0.8  # chance is a third
    assert evaluation.summary()["accuracy"].n == 2
    assert evaluation.class_names == NAMES


def test_a_hopeless_set_scores_like_chance():
    """The other end: where the labels say nothing, so does the score."""
    whole = make_set()
    empty = replace(whole, images=torch.zeros_like(whole.images))
    assert evaluate(Scoring(empty, TEST, quick(seeds=3))).summary()["accuracy"].mean < 0.6


def test_same_seeds_same_scores():
    first = evaluate(Scoring(make_set(), TEST, quick(seeds=2)))
    torch.manual_seed(321)
    state = torch.get_rng_state()
    second = evaluate(Scoring(make_set(), TEST, quick(seeds=2)))
    assert torch.equal(torch.get_rng_state(), state)
    assert scores_of(first) == scores_of(second)
    assert [student.seed for student in first.students] == [0, 1]
    assert first.students[0].scores.ece != first.students[1].scores.ece


def test_students_do_not_depend_on_each_other():
    alone = evaluate(Scoring(make_set(), TEST, quick()))
    among = evaluate(Scoring(make_set(), TEST, quick(seeds=2, references=("random",)), TRAIN))
    ours, theirs = alone.students[0].scores, among.of("distilled")[0].scores
    assert (ours.accuracy, ours.ece, ours.confusion) == (theirs.accuracy, theirs.ece, theirs.confusion)


def test_everything_asked_for_is_scored_and_told():
    architectures = (ARCHITECTURE, "convnet1-w8")
    said = Said()
    recipe = quick(architectures=architectures, seeds=2, references=("random", "full"), full_epochs=3, epochs=4)
    evaluation = evaluate(Scoring(make_set(), TEST, recipe, TRAIN, progress=said))
    expected = [(s, a, n) for a in architectures for s in ("distilled", "random", "full") for n in range(2)]
    assert [(s.subject, s.architecture, s.seed) for s in evaluation.students] == expected
    assert len(said.titles) == len(said.messages) == 12
    assert said.messages[0].startswith(f"distilled, {ARCHITECTURE}, seed 0: ")
    for student in evaluation.students:
        assert student.labels == "hard"
        assert student.num_images == (len(TRAIN) if student.subject == "full" else 6)
        assert student.epochs == (3 if student.subject == "full" else 4)
        assert student.kept_epoch == student.epochs - 1
        assert student.train_seconds > 0
    assert set(evaluation.fairness) == set(architectures)


def test_the_step_schedule_runs_one_epoch_more():
    recipe = quick()
    recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"epochs": 3, "schedule": "step"})})
    (student,) = evaluate(Scoring(make_set(), TEST, recipe)).students
    assert (student.epochs, student.kept_epoch) == (4, 3)


def test_predictions_are_those_of_the_student():
    """Trains the same student by hand and counts its right answers."""
    whole, recipe = make_set(), quick(epochs=5)
    (scored,) = evaluate(Scoring(whole, TEST, recipe)).students
    classroom = Classroom.of_distilled(whole, "static", Runtime())
    student = train_student(classroom, ARCHITECTURE, recipe.train, 0, Runtime())
    with torch.no_grad():
        logits = student.saved.network(whole.preprocessing.apply(TEST.images))
    right = sum(int(guess == truth) for guess, truth in zip(logits.argmax(1), TEST.labels, strict=True))
    assert scored.scores.accuracy == right / len(TEST)


# Labels


@pytest.mark.parametrize("labels", ["hard", "static"])
def test_static_without_soft_labels_is_called_hard(labels):
    evaluation = evaluate(Scoring(make_set(), TEST, quick(labels=labels, epochs=2)))
    assert [student.labels for student in evaluation.students] == ["hard"]


def test_soft_labels_that_are_certain_teach_like_hard_ones():
    hard = evaluate(Scoring(make_set(), TEST, quick())).students[0].scores
    certain = evaluate(Scoring(make_set(soft_labels=soft_labels(60.0)), TEST, quick())).students[0]
    vague = evaluate(Scoring(make_set(soft_labels=soft_labels(0.5)), TEST, quick())).students[0]
    assert certain.labels == vague.labels == "static"
    assert certain.scores.confusion == hard.confusion
    assert certain.scores.ece == pytest.approx(hard.ece, abs=1e-4)
    assert abs(vague.scores.ece - hard.ece) > 0.05


def test_hard_ignores_soft_labels():
    whole = make_set(soft_labels=soft_labels(-9.0))
    ignored = evaluate(Scoring(whole, TEST, quick(labels="hard"))).students[0]
    assert ignored.labels == "hard"
    assert ignored.scores == evaluate(Scoring(make_set(), TEST, quick())).students[0].scores


def make_teacher(train: ImageSet = TRAIN):
    classroom = Classroom.of_images(train, fit_preprocessing(train, "zca"), Runtime())
    return train_student(classroom, ARCHITECTURE, quick(epochs=30).train, 7, Runtime()).saved


def test_a_teacher_is_asked_and_its_bytes_are_counted():
    teacher = make_teacher()
    evaluation = evaluate(Scoring(make_set(), TEST, quick(labels="teacher", references=("random",)), TRAIN, teacher))
    assert [student.labels for student in evaluation.students] == ["teacher", "teacher"]
    assert evaluation.stored.teacher == teacher.num_bytes > 0
    assert evaluation.stored.images == make_set().stored_bytes().images
    assert all(student.scores.accuracy > 0.4 for student in evaluation.students)


def test_a_teacher_is_scored_on_the_same_test_images():
    teacher = make_teacher()
    evaluation = evaluate(Scoring(make_set(), TEST, quick(labels="teacher", epochs=2), teacher=teacher))
    right = teacher.predict_logits(TEST.images).argmax(dim=1) == TEST.labels
    assert evaluation.teacher.accuracy == pytest.approx(right.float().mean().item())
    assert evaluate(Scoring(make_set(), TEST, quick(epochs=2))).teacher is None


@pytest.mark.parametrize("labels", ["hard", "static"])
def test_a_teacher_goes_with_its_protocol(labels):
    with pytest.raises(DistailError, match="go together: pass both"):
        Scoring(make_set(), TEST, quick(labels=labels), teacher=make_teacher())
    with pytest.raises(DistailError, match="go together: pass both"):
        Scoring(make_set(), TEST, quick(labels="teacher"))


# Records


def test_the_result_is_json_and_comes_back(tmp_path):
    whole = make_set(soft_labels=soft_labels(2.0), provenance={"recipe": {"a": [1]}, "class_counts": [30, 12, 4]})
    evaluation = evaluate(Scoring(whole, TEST, quick(references=("random", "full"), epochs=2), TRAIN))
    evaluation.save(tmp_path / "evaluation.json")
    assert load_evaluation(tmp_path / "evaluation.json") == evaluation
    json.dumps(evaluation.to_json(), allow_nan=False)
    asked = evaluate(Scoring(make_set(), TEST, quick(labels="teacher", epochs=2), teacher=make_teacher()))
    asked.save(tmp_path / "asked.json")
    assert load_evaluation(tmp_path / "asked.json") == asked


def test_a_result_from_before_teachers_were_scored_is_read():
    values = json.loads(json.dumps(evaluate(Scoring(make_set(), TEST, quick(epochs=2))).to_json()))
    del values["teacher"]
    assert parse_evaluation(values, "here").teacher is None


def test_provenance_says_how_the_score_came_about():
    recipe = quick(epochs=1)
    whole = make_set(provenance={"recipe": {"method": "dm"}})
    found = evaluate(Scoring(whole, TEST, recipe, TRAIN)).provenance
    assert found["recipe"] == recipe.model_dump(mode="json")
    assert found["test"] == {"origin": "test images", "images": 18, "leaked": 0, "sha256": TEST.content_hash}
    assert found["train_sha256"] == TRAIN.content_hash
    assert found["set"] == whole.provenance
    assert found["hardware"]
    assert found["versions"]["distail"]
    assert evaluate(Scoring(whole, TEST, recipe)).provenance["train_sha256"] is None


def test_bfloat16_scores_about_the_same():
    single = evaluate(Scoring(make_set(), TEST, quick(epochs=20))).students[0].scores
    half = evaluate(Scoring(make_set(), TEST, quick(epochs=20), runtime=Runtime("cpu", "bf16"))).students[0].scores
    assert half.accuracy == pytest.approx(single.accuracy, abs=0.2)
    assert math.isfinite(half.ece)
