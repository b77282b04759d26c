"""A small source and runs on it that many tests look at and none may change."""

from pathlib import Path

import pytest

from tests.cli.calling import DM, NETWORK, QUICK, pets, succeed, write_npz


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    """Commands that are not told where to write do so below the working folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def shared(tmp_path_factory) -> Path:
    """The folder that holds everything shared."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="session")
def source(shared) -> Path:
    """Three classes of 12 training and 6 test images, 8x8 RGB."""
    return write_npz(shared / "pets.npz", train=pets((12, 12, 12), 1), test=pets((6, 6, 6), 2))


@pytest.fixture(scope="session")
def run(shared, source) -> Path:
    """Random images of the long-tailed source, scored once."""
    folder = shared / "runs" / "random"
    succeed("distill", source, "--method", "random", "--ipc", 2, "--imbalance", 4, "--arch", NETWORK, "--out", folder)
    succeed("evaluate", folder, *QUICK)
    return folder


@pytest.fixture(scope="session")
def dm_run(shared, source) -> Path:
    """Images learned from the long-tailed source."""
    folder = shared / "runs" / "dm"
    succeed("distill", source, *DM, "--ipc", 2, "--imbalance", 4, "--out", folder)
    return folder


@pytest.fixture(scope="session")
def teacher(shared, source) -> Path:
    """A network trained on the source."""
    file = shared / "teacher.safetensors"
    succeed("train", source, "--out", file, "--arch", NETWORK, "--epochs", 4, "--lr", 0.05, "--augmentation", "none")
    return file
