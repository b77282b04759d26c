"""`distail demo`: the whole way on built-in data, here in a blink instead of a minute."""

from pathlib import Path

import pytest
from PIL import Image

from distail.cli.demo import RECIPE
from distail.config import parse_config
from distail.distilled import load_distilled
from distail.evaluation.result import load_evaluation
from distail.methods._registry import build_method
from distail.models.architecture import check_architecture
from distail.recipe import Recipe
from tests.cli.calling import NETWORK, assert_clear_refusal, call, contents, succeed

FILES = {
    *("manifest.json", "recipe.yaml", "metrics.jsonl", "start.safetensors", "distilled.safetensors", "images.png"),
    *("experts", "demo.png", "evaluation.json", "evaluation.txt"),
}


@pytest.fixture
def brief(monkeypatch):
    evaluation = {
        "architectures": [NETWORK],
        "seeds": 2,
        "references": ["random", "full"],
        "train": {"epochs": 1},
    }
    few = ("steps", "classifier_steps", "max_start_epoch", "expert_epochs", "classifier_epochs", "expert_span")
    settings = {"iterations": 2, "num_experts": 1, "num_label_experts": 1, **dict.fromkeys(few, 1)}
    changes = {"settings": settings, "images_per_class": 1, "architecture": NETWORK}
    monkeypatch.setattr("distail.cli.demo.RECIPE", {**RECIPE, **changes, "evaluation": evaluation})


def test_the_real_recipe_is_possible():
    recipe = parse_config(Recipe, RECIPE, "demo")
    assert recipe.data.source == "digits"
    build_method(recipe.method, recipe.settings)
    assert recipe.evaluation is not None
    for architecture in (recipe.architecture, *recipe.evaluation.architectures):
        check_architecture(architecture)
    assert recipe.evaluation.seeds >= 3
    assert set(recipe.evaluation.references) == {"random", "full"}


def test_the_story_is_told_and_kept(brief):
    shown = succeed("demo", "--out", "shown")
    first, second, third = (
        shown.flat.index(mark) for mark in ("1. scikit-learn", "2. Training experts", "3. Scores on")
    )
    assert first < second < third
    for words in ("made long-tailed", "random images", "whole training set", "distilled (lad)", "Done in"):
        assert words in shown.flat
    assert {path.name for path in Path("shown").iterdir()} == FILES
    for picture in ("demo.png", "images.png"):
        assert f"shown/{picture}" in shown.flat
        with Image.open(Path("shown") / picture) as opened:
            opened.verify()
    evaluation = load_evaluation(Path("shown/evaluation.json"))
    assert {subject for subject, _ in evaluation.groups} >= {"distilled", "random", "full"}
    assert evaluation.summary()["balanced_accuracy"].n == 2
    assert load_distilled("shown").class_counts == (1,) * 10
    # A second one takes another folder, or is refused the same one.
    before = contents(Path("shown"))
    assert_clear_refusal(call("demo", "--out", "shown", "--json"), "shown", "--out")
    assert contents(Path("shown")) == before


def test_json_is_one_object_and_nothing_else_and_no_folder_is_used_twice(brief):
    Path("runs/demo").mkdir(parents=True)
    outcome = call("demo", "--json")
    assert outcome.err == ""
    assert outcome.out.count("\n") == 1
    assert outcome.json["run"] == "runs/demo-2"
    assert outcome.json["seconds"] > 0
    assert {path.name for path in Path("runs/demo-2").iterdir()} == FILES
    assert not any(Path("runs/demo").iterdir())
