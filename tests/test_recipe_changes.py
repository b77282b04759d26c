"""What two recipes disagree on: by name, with the defaults of methods, and nothing else."""

from typing import Any

import pytest

from distail.evaluation.recipe import EvaluationRecipe
from distail.recipe import DataRecipe, Recipe
from distail.recipe_changes import changed_settings


def recipe(method: str = "lad", settings: dict[str, Any] | None = None, **values: Any) -> Recipe:
    return Recipe(data=DataRecipe(source="digits"), method=method, settings=settings or {}, **values)


@pytest.mark.parametrize(
    ("there", "asked", "changed"),
    [
        ({}, {"image_lr": 5}, {"settings.image_lr": "default 100.0 there, 5 asked"}),
        ({"image_lr": 7}, {}, {"settings.image_lr": "7 there, default 100.0 asked"}),
        ({"image_lr": 7, "steps": 3}, {"image_lr": 5, "steps": 3}, {"settings.image_lr": "7 there, 5 asked"}),
        (
            {"experts": {"learning_rate": 0.03}},
            {"experts": {"learning_rate": 0.03, "batch_size": 8}},
            {"settings.experts.batch_size": "default 256 there, 8 asked"},
        ),
        ({"num_classifier_experts": 4}, {}, {"settings.num_classifier_experts": "4 there, default none asked"}),
        # The same set, said otherwise.
        ({}, {"image_lr": 100}, {}),
        ({"image_lr": 5}, {"image_lr": 5.0}, {}),
        ({"experts": {}}, {}, {}),
        # Settings that this version of the method refuses.
        ({"gone": 1, "steps": 3}, {"gone": 1}, {"settings.steps": "3 there, default asked"}),
    ],
)
def test_settings_are_compared_with_their_defaults(there, asked, changed):
    assert changed_settings(recipe(settings=there), recipe(settings=asked)) == changed


def test_everything_but_scoring_is_compared():
    one = recipe(settings={"steps": 3}, test="here")
    other = recipe("dm", seed=1, evaluation=EvaluationRecipe(seeds=9))
    assert changed_settings(one, other) == {
        "method": "lad there, dm asked",
        "settings.steps": "3 there, default asked",
        "seed": "0 there, 1 asked",
    }
    assert changed_settings(one, one.model_copy(update={"test": "there"})) == {}


def test_a_method_that_is_not_here_has_unknown_defaults():
    asked = recipe("missing.method", {"pace": 2})
    assert changed_settings(recipe("missing.method"), asked) == {"settings.pace": "default there, 2 asked"}
