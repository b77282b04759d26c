"""A source and a finished run on it that many tests look at and none may change."""

from pathlib import Path

import pytest

from distail.pipeline import distill
from tests.pipeline.small_runs import recipe_for, write_source


@pytest.fixture(scope="session")
def source(tmp_path_factory) -> Path:
    return write_source(tmp_path_factory.mktemp("source") / "images.npz")


@pytest.fixture(scope="session")
def run(tmp_path_factory, source) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "one"
    distill(recipe_for(source), out=folder)
    return folder
