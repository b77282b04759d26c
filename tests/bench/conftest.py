"""A small source that many tests look at and none may change, and a count of what is made from it."""

from pathlib import Path
from typing import Any

import pytest

from distail import pipeline
from distail.recipe import Recipe
from tests.cli.calling import pets, write_npz


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    """What is not told where to write does so below the working folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def source(tmp_path_factory) -> Path:
    """Three classes of 12 training and 6 test images, 8x8 RGB."""
    folder = tmp_path_factory.mktemp("pets")
    return write_npz(folder / "pets.npz", train=pets((12, 12, 12), 1), test=pets((6, 6, 6), 2))


@pytest.fixture
def made(monkeypatch):
    """Methods of the sets that were made, one by one."""
    found: list[str] = []
    real = pipeline.distill

    def counting(recipe: Recipe, **options: Any) -> Any:
        found.append(recipe.method)
        return real(recipe, **options)

    monkeypatch.setattr(pipeline, "distill", counting)
    return found
