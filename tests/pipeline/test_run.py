"""From source to set: what lies in the run folder, and what travels with the set."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from distail.artifact import read_json
from distail.data.long_tail import make_long_tailed
from distail.data.sources import load
from distail.distilled import load_distilled
from distail.models.saved import load_network
from distail.pipeline import distill
from distail.provenance import indices_hash
from distail.recipe import load_recipe
from distail.run_folder import RunFolder
from tests.evaluation.separable import ARCHITECTURE, NAMES
from tests.methods.with_teacher import TRAINING
from tests.pipeline.small_runs import FILES, ITERATIONS, assert_same_set, metrics, recipe_for


def test_what_is_returned_is_what_was_written(tmp_path, source, run):
    returned = distill(recipe_for(source), out=tmp_path / "run")
    on_disk = load_distilled(tmp_path / "run")
    assert_same_set(returned, on_disk)
    assert returned.provenance == on_disk.provenance
    assert_same_set(returned, load_distilled(run))  # and a second run makes the same


def test_the_folder_holds_the_whole_run(run):
    assert {path.name for path in run.iterdir()} == FILES
    with Image.open(run / "images.png") as picture:
        picture.verify()
    rows = metrics(run)
    assert [row["step"] for row in rows] == list(range(ITERATIONS))
    start, made = RunFolder(run).read_start(), load_distilled(run).to_pixels()
    assert start is not None
    assert start.shape == made.shape
    assert not torch.equal(start, made)
    assert all(row["loss"] > 0 for row in rows)


def test_the_manifest_tells_which_images_were_kept(run, source):
    manifest = read_json(run / "manifest.json")
    tail = make_long_tailed(load(source), 4.0)
    data = manifest["data"]
    assert manifest["status"] == "complete"
    assert data["kept_indices"] == tail.indices.tolist()
    assert data["kept_indices_sha256"] == indices_hash(tail.indices.tolist())
    assert data["sha256"] == manifest["data_sha256"] == tail.images.content_hash
    assert data["class_counts"] == manifest["class_counts"] == list(tail.images.class_counts) == [12, 6, 3]
    assert data["num_images"] == 21
    assert (data["source"], data["class_names"]) == (str(source), list(NAMES))
    # The positions are positions in the source.
    with np.load(source) as archive:
        kept = torch.from_numpy(archive["train_images"][data["kept_indices"]]).permute(0, 3, 1, 2)
    assert torch.equal(kept, tail.images.images)


def test_provenance_travels_with_the_set(run):
    manifest, facts = read_json(run / "manifest.json"), load_distilled(run).provenance
    assert {key: manifest[key] for key in facts} == facts
    assert facts["recipe"] == load_recipe(run / "recipe.yaml").model_dump(mode="json")
    assert facts["distill_seconds"] > 0
    assert facts["real_images"] is None
    assert facts["versions"]["distail"] != "not installed"


def test_the_recipe_in_the_folder_makes_the_same_set(tmp_path, run):
    loaded = load_recipe(run / "recipe.yaml")
    again = distill(loaded, out=tmp_path / "again")
    assert_same_set(again, load_distilled(run))
    assert load_recipe(tmp_path / "again" / "recipe.yaml") == loaded
    assert [row["loss"] for row in metrics(tmp_path / "again")] == [row["loss"] for row in metrics(run)]


def test_auto_is_written_as_what_it_became(tmp_path, source):
    distill(recipe_for(source, method="random", settings={}, device="auto", precision="auto"), out=tmp_path / "run")
    written = load_recipe(tmp_path / "run" / "recipe.yaml")
    assert "auto" not in (written.device, written.precision)


def test_real_images_are_traced(tmp_path, source):
    made = distill(recipe_for(source, method="random", settings={}), out=tmp_path / "run")
    train = make_long_tailed(load(source), 4.0).images
    chosen = torch.tensor(made.provenance["real_images"])
    assert torch.equal(train.images[chosen], made.to_pixels())
    assert torch.equal(train.labels[chosen], made.labels)


def test_without_a_folder_nothing_is_written(tmp_path, source, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_same_set(distill(recipe_for(source)), load_distilled(run))
    assert list(tmp_path.iterdir()) == []


def test_all_of_a_source_is_kept_without_imbalance(tmp_path, source):
    distill(recipe_for(source, method="random", settings={}, data={"imbalance": None}), out=tmp_path / "run")
    data = read_json(tmp_path / "run" / "manifest.json")["data"]
    assert data["kept_indices"] is None
    assert data["kept_indices_sha256"] is None
    assert data["num_images"] == 36


@pytest.fixture(scope="module")
def taught(tmp_path_factory, source) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "taught"
    distill(recipe_for(source, method="tests.methods.with_teacher", settings={}), out=folder)
    return folder


def test_teacher_and_training_are_kept_with_the_run(taught, run):
    manifest = read_json(taught / "manifest.json")
    assert manifest["teacher"] == "teacher.safetensors"
    teacher = load_network(taught / "teacher.safetensors")
    assert (teacher.architecture, teacher.class_names) == (ARCHITECTURE, NAMES)
    assert load_distilled(taught).training == TRAINING
    assert read_json(run / "manifest.json")["teacher"] is None
    assert not (run / "teacher.safetensors").exists()
    assert load_distilled(run).training is None


def test_a_run_without_its_teacher_is_not_finished(tmp_path, source):
    recipe = recipe_for(source, method="tests.methods.with_teacher", settings={})
    distill(recipe, out=tmp_path / "run")
    file = tmp_path / "run" / "teacher.safetensors"
    first = load_network(file).network.classifier.weight
    assert RunFolder(tmp_path / "run").is_complete
    file.unlink()
    assert not RunFolder(tmp_path / "run").is_complete
    distill(recipe, out=tmp_path / "run", resume=True)
    assert torch.equal(load_network(file).network.classifier.weight, first)
    assert RunFolder(tmp_path / "run").is_complete
