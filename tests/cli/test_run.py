"""`distail run`: a recipe makes the same bits again, and scores them if it says so."""

from pathlib import Path

import pytest
import torch

from distail.distilled import load_distilled
from distail.evaluation.result import load_evaluation
from distail.recipe import load_recipe
from tests.cli.calling import NETWORK, call, contents, pets, succeed, write_npz

SCORED = """
evaluation:
  architectures: [{network}]
  seeds: 2
  references: [random]
  train: {{epochs: 1, augmentation: none}}
"""


@pytest.fixture
def scored_recipe(run, tmp_path) -> Path:
    """The recipe of the shared run, with a way of scoring."""
    text = (run / "recipe.yaml").read_text().replace("evaluation: null\n", "")
    path = tmp_path / "recipe.yaml"
    path.write_text(text + SCORED.format(network=NETWORK))
    return path


@pytest.mark.parametrize("which", ["run", "dm_run"])
def test_the_recipe_of_a_run_makes_the_same_bits(request, which):
    original = request.getfixturevalue(which)
    before = contents(original)
    succeed("run", original / "recipe.yaml", "--out", "again")
    first, second = load_distilled(original), load_distilled("again")
    assert first.images.numpy().tobytes() == second.images.numpy().tobytes()
    assert torch.equal(first.labels, second.labels)
    assert first.preprocessing.header() == second.preprocessing.header()
    assert load_recipe("again/recipe.yaml") == load_recipe(original / "recipe.yaml")
    assert contents(original) == before
    assert not Path("again/evaluation.json").exists()  # the recipe does not ask for it


def test_scoring_is_part_of_a_recipe(scored_recipe):
    shown = succeed("run", scored_recipe, "--out", "again")
    assert "became 6 images" in shown.flat
    assert "random images" in shown.out
    assert "Saved in again/evaluation.json" in shown.out
    assert load_evaluation(Path("again/evaluation.json")).summary()["accuracy"].n == 2


def test_the_data_may_be_elsewhere(scored_recipe, tmp_path):
    moved = write_npz(tmp_path / "moved.npz", train=pets((12, 12, 12), 1), test=pets((6, 6, 6), 2))
    test = write_npz(tmp_path / "test.npz", images=pets((2, 2, 2), 9))
    succeed("run", scored_recipe, "--out", "again", "--source", moved, "--test", test)
    assert load_recipe("again/recipe.yaml").data.source == str(moved)
    assert load_evaluation(Path("again/evaluation.json")).provenance["test"]["images"] == 6


def test_without_a_folder_it_takes_the_usual_one(run):
    succeed("run", run / "recipe.yaml")
    assert load_distilled("runs/pets-random-ipc2-if4").class_counts == (2, 2, 2)


def test_resuming_a_finished_run_only_scores_it(scored_recipe):
    succeed("run", scored_recipe, "--out", "again")
    before = contents(Path("again"))
    succeed("run", scored_recipe, "--out", "again", "--resume")
    after = contents(Path("again"))
    assert {path: after[path] for path in before} == before
    assert {Path(path).name for path in after.keys() - before.keys()} == {"evaluation-2.json", "evaluation-2.txt"}


def test_quiet_is_silent_on_standard_error(scored_recipe):
    assert succeed("run", scored_recipe, "--out", "again", "--quiet").err == ""


def test_json_is_one_object_and_nothing_else(run, scored_recipe):
    plain = call("run", run / "recipe.yaml", "--out", "plain", "--json")
    assert plain.err == ""
    assert plain.json["run"] == "plain"
    scored = call("run", scored_recipe, "--out", "scored", "--json")
    assert scored.err == ""
    assert scored.json["run"] == "scored"
    assert scored.json["evaluation"]["summaries"][0]["scores"]["accuracy"]["n"] == 2
