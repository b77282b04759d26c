"""Scoring from the outside: what is found again, and what is refused."""

import numpy as np
import pytest
import torch

from distail.api.sets import evaluate as evaluate_in_one_call
from distail.distilled import load_distilled
from distail.errors import DistailError
from distail.pipeline import distill
from distail.progress import SilentProgress
from distail.scoring import TrainingSource, score
from tests.evaluation.separable import ARCHITECTURE, NAMES, TEST, TRAIN, images_of, make_set, quick, scores_of
from tests.methods.with_teacher import TRAINING
from tests.scoring.recipes import EVERYTHING, recipe_for

# Test images


def test_the_source_of_the_set_is_found_again(run):
    evaluation = score(load_distilled(run), quick(epochs=25))
    assert evaluation.provenance["test"]["sha256"] == TEST.content_hash
    assert evaluation.summary()["accuracy"].mean > 0.7
    assert evaluation.train_counts == (20, 10, 5)
    assert evaluation.stored == load_distilled(run).stored_bytes()


def test_test_images_can_be_named_or_given(run, source, tmp_path):
    whole = load_distilled(run)
    found = scores_of(score(whole, quick()))
    assert scores_of(score(whole, quick(), test=str(source))) == found
    assert scores_of(score(whole, quick(), test=TEST)) == found
    only = tmp_path / "only.npz"
    np.savez(only, images=TEST.images.permute(0, 2, 3, 1).numpy(), labels=TEST.labels.numpy(), class_names=NAMES)
    assert scores_of(score(whole, quick(), test=only)) == found


def test_the_recipe_may_name_the_test_images(tmp_path, source):
    other = images_of((2, 3, 4), 9)
    np.savez(
        tmp_path / "other.npz",
        images=other.images.permute(0, 2, 3, 1).numpy(),
        labels=other.labels.numpy(),
        class_names=NAMES,
    )
    made = distill(recipe_for(source, test=str(tmp_path / "other.npz")))
    assert score(made, quick(epochs=1)).provenance["test"]["sha256"] == other.content_hash


def test_a_set_of_unknown_origin_needs_test_images():
    with pytest.raises(DistailError, match=r"does not say where its data came from.*--test SOURCE"):
        score(make_set(), quick())
    assert score(make_set(), quick(epochs=1), test=TEST).students


@pytest.mark.parametrize("tail", [True, False])
def test_the_training_data_are_no_test_data(run, source, tail):
    whole = load_distilled(run)
    test = TrainingSource().images(whole, SilentProgress()) if tail else f"{source}#train"
    with pytest.raises(DistailError, match=r"very data the set was made from.*--test"):
        score(whole, quick(), test=test)


def test_a_source_without_a_test_split_says_so(tmp_path):
    path = tmp_path / "images.npz"
    np.savez(path, images=TRAIN.images.permute(0, 2, 3, 1).numpy(), labels=TRAIN.labels.numpy(), class_names=NAMES)
    with pytest.raises(DistailError, match="test"):
        score(distill(recipe_for(path)), quick())


def test_images_set_aside_are_the_test_images(tmp_path):
    path = tmp_path / "images.npz"
    np.savez(path, images=EVERYTHING.images.permute(0, 2, 3, 1).numpy(), labels=EVERYTHING.labels.numpy())
    made = distill(recipe_for(path, data={"holdout": 0.25}))
    evaluation = score(made, quick(epochs=25))
    assert evaluation.provenance["test"]["images"] == 15
    assert evaluation.train_counts == (15, 7, 3)
    assert evaluation.summary()["accuracy"].mean > 0.7


def test_images_set_aside_from_changed_data_are_refused(tmp_path):
    """They might be images that the set was made from."""
    path = tmp_path / "images.npz"
    np.savez(path, images=EVERYTHING.images.permute(0, 2, 3, 1).numpy(), labels=EVERYTHING.labels.numpy())
    made = distill(recipe_for(path, data={"holdout": 0.25}))
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    np.savez(path, images=EVERYTHING.images[order].permute(0, 2, 3, 1).numpy(), labels=EVERYTHING.labels[order].numpy())
    with pytest.raises(DistailError, match="changed since the set was made"):
        score(made, quick(epochs=1))


# Training data


def test_training_data_are_read_only_where_needed(run, monkeypatch):
    asked = []
    original = TrainingSource.images
    monkeypatch.setattr(TrainingSource, "images", lambda *args: asked.append(1) or original(*args))
    whole = load_distilled(run)
    score(whole, quick(epochs=1))
    assert asked == []
    for needed in ({"references": ("random",)}, {"select": "validation"}):
        score(whole, quick(epochs=1, **needed))
    assert asked == [1, 1]


def test_references_come_from_the_long_tailed_data(run):
    evaluation = score(load_distilled(run), quick(references=("random", "full"), epochs=2))
    (full,), (drawn,) = evaluation.of("full"), evaluation.of("random")
    assert full.num_images == 35
    assert drawn.num_images == 9
    assert evaluation.provenance["train_sha256"] == load_distilled(run).provenance["data_sha256"]
    assert set(evaluation.fairness) == {ARCHITECTURE}


def test_training_data_can_be_named_or_given(source):
    whole = make_set()
    recipe = quick(references=("full",), epochs=1)
    named = score(whole, recipe, test=TEST, training=TrainingSource(str(source), 4.0))
    assert named.of("full")[0].num_images == 35
    assert named.train_counts == (20, 10, 5)
    assert score(whole, recipe, test=TEST, training=EVERYTHING).of("full")[0].num_images == 60
    with pytest.raises(DistailError, match="does not say which data"):
        score(whole, recipe, test=TEST)


# Teachers from files


def test_a_teacher_is_read_from_its_file(run, teacher_file):
    evaluation = score(load_distilled(run), quick(labels="teacher", teacher=str(teacher_file)))
    assert [student.labels for student in evaluation.students] == ["teacher"]
    assert evaluation.stored.teacher > 0


@pytest.mark.parametrize("labels", ["hard", "static"])
def test_teacher_and_protocol_go_together(run, teacher_file, labels):
    with pytest.raises(DistailError, match="go together"):
        score(load_distilled(run), quick(labels=labels, teacher=str(teacher_file)))
    with pytest.raises(DistailError, match="go together"):
        score(load_distilled(run), quick(labels="teacher"))


def test_a_set_is_no_teacher(run):
    with pytest.raises(DistailError, match="holds a distilled set, but a network is needed"):
        score(load_distilled(run), quick(labels="teacher", teacher=str(run / "distilled.safetensors")))


# In one call


def test_evaluation_in_one_call(run):
    whole = load_distilled(run)
    settings = {"architectures": [ARCHITECTURE], "seeds": 1, "epochs": 4, "device": "cpu", "precision": "fp32"}
    found = scores_of(evaluate_in_one_call(whole, **settings))
    assert found == scores_of(evaluate_in_one_call(run, **settings))
    assert found == scores_of(evaluate_in_one_call(whole, test=TEST, **settings))
    given = evaluate_in_one_call(make_set(), test=TEST, train=TRAIN, references=["random"], **settings)
    assert given.train_counts == (30, 12, 4)
    assert len(given.of("random")) == 1


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"seeds": 0}, "distail.evaluate: 'seeds'"),
        ({"epochs": 0}, "'train.epochs'"),
        ({"labels": "softt"}, "'labels': input should be 'hard', 'static' or 'teacher'"),
        ({"architectures": []}, "'architectures'"),
        ({"references": ["all"]}, r"'references\.0': input should be 'random' or 'full'"),
        ({"select": "test"}, "'select': input should be 'last' or 'validation'"),
    ],
)
def test_bad_arguments_are_clear_errors(arguments, match):
    with pytest.raises(DistailError, match=match):
        evaluate_in_one_call(make_set(), test=TEST, **arguments)


def test_scoring_changes_nothing(run):
    whole = load_distilled(run)
    images = whole.images.clone()
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    score(whole, quick(epochs=1, references=("random",)))
    assert torch.equal(whole.images, images)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


# Teachers of runs


def test_one_call_uses_the_runs_teacher_and_recipe(taught):
    parts = {"architectures": [ARCHITECTURE], "seeds": 1, "labels": "teacher", "device": "cpu"}
    found = evaluate_in_one_call(taught, **parts)
    assert found.provenance["train"] == TRAINING.model_dump(mode="json")
    assert found.students[0].labels == "teacher"
    assert found.stored.teacher > 0
    changed = evaluate_in_one_call(taught, epochs=2, train_recipe={"mixing": "none"}, **parts)
    assert changed.provenance["train"] == {**TRAINING.model_dump(mode="json"), "epochs": 2, "mixing": "none"}
    with pytest.raises(DistailError, match=r"unknown key 'train\.optimiser'.*'optimizer'"):
        evaluate_in_one_call(taught, train_recipe={"optimiser": "adamw"}, **parts)
    with pytest.raises(DistailError, match="go together"):
        evaluate_in_one_call(load_distilled(taught), **parts)
    with pytest.raises(DistailError, match="epochs=2, but train_recipe says 3"):
        evaluate_in_one_call(taught, epochs=2, train_recipe={"epochs": 3}, **parts)
