"""What is opened, and what is refused."""

from dataclasses import replace

import pytest
import torch

from distail.api.sets import evaluate as evaluate_in_one_call
from distail.data.image_set import ImageSet
from distail.data.preprocess import fit_preprocessing
from distail.distilled import load_distilled
from distail.errors import DistailError
from distail.export import export_set
from distail.opening import open_classroom, open_set
from distail.opening import teacher_file as found_teacher
from distail.runtime import Runtime
from distail.scoring import score, with_teacher
from distail.training.recipe import TrainRecipe
from tests.evaluation.separable import NAMES, make_set, quick, scores_of
from tests.methods.with_teacher import TRAINING


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
    with pytest.raises(DistailError, match=r"There is no run or set '.*nothing'\. Name a run folder"):
        open_set(tmp_path / "nothing")
    with pytest.raises(DistailError, match="does not exist"):
        open_set(tmp_path / "nothing.safetensors")


def test_a_run_of_a_similar_name_is_suggested_and_a_source_is_not(run, source, monkeypatch):
    monkeypatch.chdir(run.parent)
    (run.parent / "runs.txt").write_text("no set")
    with pytest.raises(DistailError, match=r"There is no run or set 'runs'\. Did you mean 'run'\?"):
        open_set("runs")
    with pytest.raises(DistailError, match=r"There is no run or set 'images'\. Name"):
        open_set("images")
    with pytest.raises(DistailError, match=r"There is no run or set 'nowhere/run'"):
        open_set("nowhere/run")


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


def test_a_classroom_says_how_to_train(taught, run):
    assert open_classroom(taught, Runtime(), labels="teacher").training == TRAINING
    assert open_classroom(taught, Runtime()).training == TRAINING.on_hard_labels
    assert open_classroom(run, Runtime()).training == TrainRecipe()


# Teachers of runs


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
