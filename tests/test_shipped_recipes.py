"""Every recipe in the repository reads, names a method that exists, and gives it settings that it has."""

from pathlib import Path

import pytest

from distail.methods._registry import build_method
from distail.models.architecture import check_architecture
from distail.recipe import load_recipe

RECIPES = sorted((Path(__file__).parent.parent / "recipes").glob("*.yaml"))


def test_there_are_recipes():
    assert len(RECIPES) >= 5


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_is_runnable(path):
    recipe = load_recipe(path)
    build_method(recipe.method, recipe.settings)
    check_architecture(recipe.architecture)
    assert recipe.evaluation is not None
    assert recipe.data.imbalance == 100
    assert recipe.method in path.stem
    assert f"ipc{recipe.images_per_class}-" in path.stem
