"""A student is a pure function of its lessons, its architecture and its seed, and can be used afterwards."""

import pytest
import torch

from distail.data.preprocess import fit_preprocessing
from distail.errors import DistailError
from distail.learn import student as student_module
from distail.learn.student import Classroom, train_student
from distail.models.saved import load_network, save_network
from distail.runtime import Runtime
from distail.training.state import History
from tests.evaluation.separable import ARCHITECTURE, NAMES, SHAPE, TEST, TRAIN, Said, make_set, quick

CPU = Runtime()
RECIPE = quick(epochs=4).train


def lessons(**parts) -> Classroom:
    return Classroom.of_distilled(make_set(**parts), "static", CPU)


def weights(student) -> dict[str, torch.Tensor]:
    return student.saved.network.state_dict()


def same(first, second) -> bool:
    return all(torch.equal(weights(first)[name], weights(second)[name]) for name in weights(first))


def test_the_seed_decides_every_bit():
    first = train_student(lessons(), ARCHITECTURE, RECIPE, 0, CPU)
    torch.manual_seed(77)
    assert same(first, train_student(lessons(), ARCHITECTURE, RECIPE, 0, CPU))
    assert not same(first, train_student(lessons(), ARCHITECTURE, RECIPE, 1, CPU))


def test_start_and_batches_both_depend_on_the_seed(monkeypatch):
    begun, drawn = [], []

    def watch(network, *args, seed, **kwargs):
        begun.append(network.classifier.weight.detach().clone())
        drawn.append(seed)
        return History()

    monkeypatch.setattr(student_module, "train_network", watch)
    for seed in (0, 1, 0):
        train_student(lessons(), ARCHITECTURE, RECIPE, seed, CPU)
    assert drawn[0] == drawn[2] != drawn[1]
    assert torch.equal(begun[0], begun[2])
    assert not torch.equal(begun[0], begun[1])


def test_a_student_can_be_saved_and_used(tmp_path):
    student = train_student(lessons(), ARCHITECTURE, RECIPE, 3, CPU, provenance={"set": "mine"})
    save_network(tmp_path / "student.safetensors", student.saved)
    read = load_network(tmp_path / "student.safetensors")
    assert torch.equal(read.predict_logits(TEST.images), student.saved.predict_logits(TEST.images))
    assert (read.class_names, read.image_shape, read.architecture) == (NAMES, SHAPE, ARCHITECTURE)
    assert read.provenance == {"recipe": RECIPE.model_dump(), "seed": 3, "set": "mine"}
    assert not student.saved.network.training


def test_a_learned_step_size_replaces_the_recipes():
    learned = train_student(lessons(learning_rate=0.2), ARCHITECTURE, RECIPE, 0, CPU)
    asked = train_student(lessons(), ARCHITECTURE, RECIPE.model_copy(update={"learning_rate": 0.2}), 0, CPU)
    assert same(learned, asked)
    assert learned.saved.provenance["recipe"]["learning_rate"] == 0.2
    assert not same(learned, train_student(lessons(), ARCHITECTURE, RECIPE, 0, CPU))
    assert RECIPE.learning_rate == 0.05


def test_real_images_are_lessons_too():
    preprocessing = fit_preprocessing(TRAIN, "zca")
    classroom = Classroom.of_images(TRAIN, preprocessing, CPU)
    everything = torch.arange(len(TRAIN))
    images = classroom.data.images(everything)
    torch.testing.assert_close(images, preprocessing.apply(TRAIN.images))
    assert torch.equal(classroom.data.targets(everything, images).labels, TRAIN.labels)
    student = train_student(classroom, ARCHITECTURE, quick(epochs=40).train, 0, CPU)
    assert student.saved.preprocessing is preprocessing
    predicted = student.saved.predict_logits(TEST.images).argmax(1)
    assert float((predicted == TEST.labels).double().mean()) > 0.6


def test_history_and_progress():
    said = Said()
    student = train_student(lessons(), ARCHITECTURE, RECIPE, 2, CPU, progress=said)
    assert said.titles == [f"training {ARCHITECTURE}, seed 2"]
    assert len(student.history.losses) == 4
    assert student.history.losses[-1] < student.history.losses[0]
    assert student.history.kept_epoch == 3


def test_an_unknown_architecture_names_the_closest():
    with pytest.raises(DistailError, match=r"convnt2"):
        train_student(lessons(), "convnt2", RECIPE, 0, CPU)


def test_a_diverging_student_is_a_clear_error():
    with pytest.raises(DistailError, match="Lower the learning rate"):
        train_student(lessons(learning_rate=1e30), ARCHITECTURE, RECIPE, 0, CPU)
