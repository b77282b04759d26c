"""A source, a run on it with and without a teacher, and a teacher in a file."""

from pathlib import Path

import pytest

from distail.data.preprocess import fit_preprocessing
from distail.learn.student import Classroom, train_student
from distail.models.saved import save_network
from distail.pipeline import distill
from distail.runtime import Runtime
from tests.evaluation.separable import ARCHITECTURE, TEST, TRAIN, quick
from tests.pipeline.small_runs import write_source
from tests.scoring.recipes import EVERYTHING, recipe_for


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return write_source(tmp_path_factory.mktemp("source") / "images.npz", EVERYTHING, TEST)


@pytest.fixture(scope="module")
def run(tmp_path_factory, source) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    distill(recipe_for(source), out=folder)
    return folder


@pytest.fixture(scope="module")
def teacher_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    classroom = Classroom.of_images(TRAIN, fit_preprocessing(TRAIN, "zca"), Runtime())
    save_network(path, train_student(classroom, ARCHITECTURE, quick(epochs=3).train, 0, Runtime()).saved)
    return path


@pytest.fixture(scope="module")
def taught(tmp_path_factory, source) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "taught"
    distill(recipe_for(source).model_copy(update={"method": "tests.methods.with_teacher"}), out=folder)
    return folder
