"""`distail run`: a recipe makes the same bits again, and scores them if it says so."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from distail import pipeline, scoring
from distail.catalog import built_in_recipe
from distail.distilled import load_distilled
from distail.evaluation.recipe import EvaluationRecipe
from distail.evaluation.result import load_evaluation
from distail.recipe import DataRecipe, Recipe, load_recipe
from distail.training.recipe import TrainRecipe
from tests.cli.calling import NETWORK, assert_clear_refusal, call, contents, pets, succeed, write_npz
from tests.evaluation.separable import images_of

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


UNFIT = {
    "classes": (replace(pets((3, 3, 3), 1), class_names=("cat", "dog", "horse")), "horse"),
    "size": (images_of((3, 3, 3), 1, shape=(3, 16, 16)), "16x16 pixels"),
    "the training images": (pets((12, 12, 12), 1), "is the very data the set is made from"),
}


@pytest.mark.parametrize(("images", "told"), UNFIT.values(), ids=UNFIT.keys())
def test_no_set_is_made_for_test_images_that_cannot_score_it(scored_recipe, tmp_path, images, told):
    test = write_npz(tmp_path / "test.npz", images=images)
    assert_clear_refusal(call("run", scored_recipe, "--out", "again", "--test", test), told)
    assert not Path("again").exists()


def test_a_folder_that_is_taken_is_refused_before_images_are_read(scored_recipe, tmp_path):
    succeed("run", scored_recipe, "--out", "again")
    gone = tmp_path / "gone.npz"
    assert_clear_refusal(call("run", scored_recipe, "--out", "again"), "--resume")
    assert "gone.npz" not in assert_clear_refusal(call("run", scored_recipe, "--out", "again", "--source", gone))
    assert_clear_refusal(call("run", scored_recipe, "--out", "new", "--source", gone, "--devices", 2), "one device")


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


# Built-in recipes


@pytest.fixture
def quick_recipes(monkeypatch) -> list[Recipe]:
    """Recipes that came to be made, each replaced by one that takes a blink on the same images."""
    seen: list[Recipe] = []
    real = pipeline.distill

    def distill(recipe: Recipe, **settings):
        seen.append(recipe)
        quick = {"method": "random", "settings": {}, "architecture": NETWORK, "images_per_class": 1}
        return real(recipe.model_copy(update={**quick, "preprocessing": "none"}), **settings)

    def score(distilled, recipe, **settings):
        train = TrainRecipe(epochs=1, augmentation="none")
        return real_score(distilled, EvaluationRecipe(architectures=(NETWORK,), seeds=1, train=train), **settings)

    real_score = scoring.score
    monkeypatch.setattr(pipeline, "distill", distill)
    monkeypatch.setattr(scoring, "score", score)
    return seen


@pytest.fixture
def many(tmp_path) -> Path:
    """A source with as many images as the imbalance of built-in recipes takes."""
    return write_npz(tmp_path / "many.npz", train=pets((100, 100, 100), 1), test=pets((6, 6, 6), 2))


def test_a_built_in_recipe_goes_by_its_name(quick_recipes, many):
    shown = succeed("run", "lad-cifar10lt-if100-ipc10-cpu", "--source", many)
    (recipe,) = quick_recipes
    expected = built_in_recipe("lad-cifar10lt-if100-ipc10-cpu")
    assert recipe == expected.model_copy(update={"data": DataRecipe(source=str(many), imbalance=100)})
    assert Path("runs/lad-cifar10lt-if100-ipc10-cpu/distilled.safetensors").is_file()
    assert "Published for this row: 53.4 ± 0.1 in RLDD (AAAI 2026), table 1" in shown.flat
    assert "does not aim at it" in shown.flat


def test_what_is_published_is_part_of_the_json(quick_recipes, many):
    outcome = call("run", "mtt-cifar10lt-if50-ipc20", "--source", many, "--out", "here", "--json")
    assert outcome.json["published"] == {"accuracy": 49.9, "std": 0.8, "source": "RLDD (AAAI 2026), table 1"}
    assert outcome.json["run"] == "here"


def test_a_file_of_that_name_is_meant_first(run):
    name = Path("lad-cifar10lt-if100-ipc10")
    name.write_text((run / "recipe.yaml").read_text())
    shown = succeed("run", name, "--out", "again")
    assert load_recipe("again/recipe.yaml").method == "random"
    assert "Published" not in shown.out


def test_what_is_neither_file_nor_name():
    message = assert_clear_refusal(call("run", "lad-cifar10lt-if100-ipc12"), "lad-cifar10lt-if100-ipc12")
    assert "neither a file nor a built-in recipe" in message
    assert "Did you mean 'lad-cifar10lt-if100-ipc" in message
    assert "distail recipes" in message


def test_the_data_of_a_built_in_recipe_have_to_be_named():
    assert_clear_refusal(call("run", "dm-cifar10lt-if100-ipc10"), "cifar10")
