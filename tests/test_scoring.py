"""Scoring from the outside: what is opened, what is found again, and what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from distail.api.sets import evaluate as evaluate_in_one_call
from distail.data.image_set import ImageSet
from distail.data.preprocess import fit_preprocessing
from distail.distilled import load_distilled
from distail.errors import DistailError
from distail.export import export_set
from distail.learn.student import Classroom, train_student
from distail.models.saved import save_network
from distail.pipeline import distill
from distail.progress import SilentProgress
from distail.recipe import DataRecipe, Recipe
from distail.runtime import Runtime
from distail.scoring import TrainingSource, open_classroom, open_set, score, with_teacher
from distail.scoring import teacher_file as found_teacher
from distail.training.recipe import TrainRecipe
from tests.evaluation.separable import ARCHITECTURE, NAMES, TEST, TRAIN, images_of, make_set, quick, scores_of
from tests.methods.with_teacher import TRAINING
from tests.pipeline.small_runs import write_source

EVERYTHING = images_of((20, 20, 20), 1)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return write_source(tmp_path_factory.mktemp("source") / "images.npz", EVERYTHING, TEST)


@pytest.fixture(scope="module")
def run(tmp_path_factory, source) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    distill(recipe_for(source), out=folder)
    return folder


def recipe_for(source: Path, **changes) -> Recipe:
    data = DataRecipe(source=str(source), imbalance=4.0, **changes.pop("data", {}))
    return Recipe(data=data, method="random", images_per_class=3, device="cpu", precision="fp32", **changes)


@pytest.fixture(scope="module")
def teacher_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    classroom = Classroom.of_images(TRAIN, fit_preprocessing(TRAIN, "zca"), Runtime())
    save_network(path, train_student(classroom, ARCHITECTURE, quick(epochs=3).train, 0, Runtime()).saved)
    return path


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


# Opening


def test_a_set_is_opened_from_run_or_file(run):
    for target in (run, str(run), run / "distilled.safetensors"):
        assert torch.equal(open_set(target).images, load_distilled(run).images)


def test_an_unfinished_run_is_no_source(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(DistailError, match="no finished distilled set"):
        open_set(tmp_path)


@pytest.mark.parametrize("format", ["npz", "parquet", "folder"])
def test_an_exported_set_comes_back_with_like(tmp_path, run, format):
    whole = load_distilled(run)
    path = tmp_path / ("set" if format == "folder" else f"set.{format}")
    export_set(whole, path, format)
    opened = open_set(path, like=run)
    assert opened.labels.tolist() == whole.labels.tolist()
    torch.testing.assert_close(opened.images, whole.images, atol=1e-5, rtol=1e-5)  # real images: nothing is rounded
    assert opened.preprocessing.header() == whole.preprocessing.header()
    assert opened.provenance == {**whole.provenance, "exported_to": str(path)}
    assert opened.soft_labels is None
    assert scores_of(score(opened, quick())) == scores_of(score(whole, quick()))
    alone = open_set(path)
    assert set(alone.provenance) == {"source", "data_sha256"}
    assert alone.provenance["source"] == str(path)
    with pytest.raises(DistailError, match="very data"):
        score(alone, quick(), test=path)
    own = fit_preprocessing(ImageSet(whole.to_pixels(), whole.labels, NAMES), "normalize")
    assert torch.equal(alone.preprocessing.mean, own.mean)
    with pytest.raises(DistailError, match="--test SOURCE"):
        score(alone, quick())


def test_an_export_keeps_the_step_size_but_no_soft_labels(tmp_path):
    whole = make_set(soft_labels=torch.zeros(6, 3), learning_rate=0.25)
    whole.save(tmp_path / "set.safetensors")
    export_set(whole, tmp_path / "set.npz", "npz")
    opened = open_set(tmp_path / "set.npz", like=tmp_path / "set.safetensors")
    assert (opened.learning_rate, opened.soft_labels) == (0.25, None)


def test_exported_mosaics_come_back_as_the_images_that_they_hold(tmp_path):
    whole = replace(make_set(), mosaic=2)
    whole.save(tmp_path / "set.safetensors")
    export_set(whole, tmp_path / "set.npz", "npz")
    opened = open_set(tmp_path / "set.npz", like=tmp_path / "set.safetensors")
    assert (opened.mosaic, len(opened)) == (1, 4 * len(whole))
    torch.testing.assert_close(opened.images, whole.decoded().images, atol=0.05, rtol=0)


def test_like_must_have_the_same_classes(tmp_path, run):
    other = make_set()
    export_set(replace(other, class_names=("bee", "ant", "cow")), tmp_path / "set.npz", "npz")
    with pytest.raises(DistailError, match="orders them"):
        open_set(tmp_path / "set.npz", like=run)


def test_what_is_nothing_is_a_clear_error(tmp_path):
    with pytest.raises(DistailError, match="There is no source"):
        open_set(tmp_path / "nothing")
    with pytest.raises(DistailError, match="does not exist"):
        open_set(tmp_path / "nothing.safetensors")


# Lessons


def test_a_classroom_of_a_set_or_of_images(run, source):
    everything = open_classroom(source, Runtime())
    assert len(everything.data) == 60
    assert len(open_classroom(source, Runtime(), imbalance=4.0).data) == 35
    assert len(open_classroom(source, Runtime(), holdout=0.5).data) == 30
    small = open_classroom(run, Runtime())
    assert len(small.data) == 9
    assert torch.equal(small.data.images(torch.arange(9)), load_distilled(run).images)
    with pytest.raises(DistailError, match="--imbalance, --holdout and --image-size are for image sources"):
        open_classroom(run, Runtime(), imbalance=4.0)
    with pytest.raises(DistailError, match="--imbalance, --holdout and --image-size are for image sources"):
        open_classroom(run, Runtime(), holdout=0.5)


def test_a_classroom_with_a_teacher(run, source, teacher_file):
    lessons = open_classroom(run, Runtime(), labels="teacher", teacher=teacher_file)
    targets = lessons.data.targets(torch.arange(9), lessons.data.images(torch.arange(9))).logits
    assert targets.shape == (9, 3)
    with pytest.raises(DistailError, match="go together"):
        open_classroom(run, Runtime(), labels="static", teacher=teacher_file)
    with pytest.raises(DistailError, match="bring their own labels"):
        open_classroom(source, Runtime(), labels="teacher", teacher=teacher_file)


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


@pytest.fixture(scope="module")
def taught(tmp_path_factory, source) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "taught"
    distill(recipe_for(source).model_copy(update={"method": "tests.methods.with_teacher"}), out=folder)
    return folder


def test_the_teacher_of_a_run_is_found(taught, teacher_file):
    own = taught / "teacher.safetensors"
    for target in (taught, taught / "distilled.safetensors", taught / "snapshots" / "iteration-000010.safetensors"):
        assert found_teacher(target, "teacher") == own
        assert found_teacher(target, "teacher", teacher_file) == teacher_file
        assert found_teacher(target, "static") is None
    assert found_teacher(load_distilled(taught), "teacher") is None
    assert with_teacher(quick(labels="teacher"), taught).teacher == str(own)
    assert with_teacher(quick(), taught) == quick()


def test_a_run_without_a_teacher_says_so(run):
    with pytest.raises(DistailError, match=r"has no teacher of its own.*--teacher FILE"):
        found_teacher(run, "teacher")
    with pytest.raises(DistailError, match="has no teacher of its own"):
        evaluate_in_one_call(run, labels="teacher")
    with pytest.raises(DistailError, match="has no teacher of its own"):
        open_classroom(run, Runtime(), labels="teacher")


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


def test_a_classroom_says_how_to_train(taught, run):
    assert open_classroom(taught, Runtime(), labels="teacher").training == TRAINING
    assert open_classroom(taught, Runtime()).training == TRAINING.on_hard_labels
    assert open_classroom(run, Runtime()).training == TrainRecipe()
