from dataclasses import replace

import pytest
import torch

from distail.experts.bank import ExpertBank
from distail.learn.balance import balancing_shift
from distail.learn.kept import KeptNetworks
from distail.learn.student import train_student
from distail.models.saved import load_network
from distail.progress import SilentProgress
from distail.synthetic.initial import random_start
from distail.synthetic.relabel import ready
from distail.teachers import balancing
from distail.teachers.balancing import balanced_teacher
from distail.teachers.spec import TeacherSpec
from distail.teachers.teaching import teach
from distail.training.recipe import TrainRecipe
from tests.methods.tiny import tiny_problem

PILOT = TrainRecipe(epochs=5, batch_size=4, augmentation="none", loss="squared_error", learning_rate=0.05)
TEACHER = TeacherSpec(train={"epochs": 5, "batch_size": 8, "augmentation": "none"})


@pytest.fixture
def problem(tmp_path):
    return tiny_problem((20, 6, 2), images_per_class=2, experts=ExpertBank(tmp_path / "bank"))


class Told(SilentProgress):
    """Keeps what is warned of."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def made(problem, pilot=PILOT):
    teacher = teach(problem, TEACHER)
    ready(problem, teacher)
    return teacher, balanced_teacher(problem, random_start(problem, "real"), teacher, pilot)


def test_the_shift_balances_the_pilot_on_all_real_images(problem):
    teacher, balanced = made(problem)
    (file,) = (problem.experts.path / balancing.FOLDER).glob("*.safetensors")
    pilot = load_network(file).network
    with torch.no_grad():
        logits = pilot(problem.real(torch.arange(28)))
    shift = balancing_shift(logits, problem.train.labels)
    assert shift.abs().max() > 0.01
    torch.testing.assert_close(
        balanced.network.classifier.bias - teacher.network.classifier.bias, shift.float(), atol=1e-4, rtol=1e-4
    )
    assert balanced.provenance["logits_shifted_by"] == pytest.approx(shift.tolist(), abs=1e-4)


def test_a_student_of_the_shifted_teacher_is_balanced(problem, monkeypatch):
    """Since a constant that is added to all targets is learned as it is."""
    pilot = PILOT.model_copy(update={"epochs": 60})
    _, balanced = made(problem, pilot)
    seen = []

    def stand_in(classroom, architecture, recipe, seed, runtime, **others):
        seen.append(train_student(classroom, architecture, recipe, seed, runtime))
        return seen[-1]

    monkeypatch.setattr(balancing, "train_student", stand_in)
    balanced_teacher(problem, random_start(problem, "real"), balanced, pilot)
    with torch.no_grad():
        logits = seen[0].saved.network(problem.real(torch.arange(28)))
    _, first = made(problem, pilot)
    left = balancing_shift(logits, problem.train.labels).abs().max()
    assert left < 0.2 * torch.tensor(first.provenance["logits_shifted_by"]).abs().max()


def test_a_pilot_is_trained_once(problem, monkeypatch):
    _, first = made(problem)
    before = problem.experts.reused_seconds
    keeps = []
    monkeypatch.setattr(KeptNetworks, "keep", lambda *arguments: keeps.append(arguments))
    _, second = made(problem)
    assert keeps == []
    assert problem.experts.reused_seconds > before
    assert torch.equal(first.network.classifier.bias, second.network.classifier.bias)


def test_a_teacher_without_a_bias_stays_as_it_is(problem):
    teacher = teach(problem, TEACHER.model_copy(update={"architecture": "convnet2-w8-cosine"}))
    ready(problem, teacher)
    told = Told()
    problem = replace(problem, progress=told)
    assert balanced_teacher(problem, random_start(problem, "real"), teacher, PILOT) is teacher
    assert told.warnings == ["The network that labels has no bias to shift, so labels stay as it gives them."]
    assert not (problem.experts.path / balancing.FOLDER).exists()
