"""What the runs of these tests are made by."""

from pathlib import Path

from distail.recipe import DataRecipe, Recipe
from tests.evaluation.separable import images_of

EVERYTHING = images_of((20, 20, 20), 1)


def recipe_for(source: Path, **changes) -> Recipe:
    data = DataRecipe(source=str(source), imbalance=4.0, **changes.pop("data", {}))
    return Recipe(data=data, method="random", images_per_class=3, device="cpu", precision="fp32", **changes)
