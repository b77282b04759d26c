"""A small source that many tests look at and none may change."""

from pathlib import Path

import pytest

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
