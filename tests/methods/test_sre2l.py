import pytest
import torch

from distail.errors import DistailError
from distail.methods.sre2l import SRe2L
from distail.synthetic.recovery import Recovery
from distail.teachers.spec import TeacherSpec
from tests.methods.teaching import CHEAP_TEACHER, SHARP_TEACHER, assert_work_is_what_it_computes, quick
from tests.methods.tiny import tiny_problem

BN = {"architecture": "convnet2-w8-batch"}


def recovery_of(method, problem, monkeypatch) -> Recovery:
    """What the method descends on."""
    seen: list[Recovery] = []

    def stand_in(problem, recovery, start):
        seen.append(recovery)
        return start()

    monkeypatch.setattr("distail.methods.sre2l.recover", stand_in)
    method.distill(problem)
    return seen[0]


def test_aligns_the_running_statistics_of_batch_norm_alone(monkeypatch):
    problem = tiny_problem((9, 4, 1), images_per_class=2)
    recovery = recovery_of(quick("sre2l"), problem, monkeypatch)
    (observer,) = recovery.observers
    (target,) = observer.targets
    assert observer.kinds == ("batch_norm",)
    assert (target.weight, recovery.smoothing, recovery.view) == (1.0, 0.0, "roll")
    wanted = target.of(torch.tensor([0]))
    assert list(wanted) == ["backbone.1/channels", "backbone.5/channels"]
    assert torch.equal(wanted["backbone.1/channels"].mean, observer.network.backbone[1].running_mean)
    assert [batch.tolist() for batch in recovery.batches] == [[0, 2, 4], [1, 3, 5]]


def test_begins_with_noise_and_ends_with_images_that_the_teacher_knows():
    problem = tiny_problem((20, 12, 9), images_per_class=2, **BN)
    made = quick("sre2l", iterations=40, teacher=SHARP_TEACHER).distill(problem)
    assert made.soft_labels.argmax(1).tolist() == made.labels.tolist()
    pixels = problem.preprocessing.invert(made.images)
    assert -1e-5 < float(pixels.min()) < float(pixels.max()) < 1 + 1e-5


def test_the_set_brings_its_teacher_and_how_students_train():
    problem = tiny_problem()
    method = quick("sre2l")
    made = method.distill(problem)
    assert made.training == method.students
    assert made.teacher.architecture == "convnet2-w8-batch"
    with torch.no_grad():
        torch.testing.assert_close(made.teacher.network.eval()(made.images), made.soft_labels, rtol=1e-4, atol=1e-5)


def test_a_network_without_batch_norm_is_refused_before_it_is_trained(monkeypatch):
    monkeypatch.setattr("distail.methods.sre2l.teach", lambda *_: pytest.fail("was trained"))
    method = quick("sre2l", teacher=CHEAP_TEACHER.model_copy(update={"architecture": "convnet2-w8"}))
    with pytest.raises(DistailError, match=r"convnet2-w8 has none\. .*--set teacher\.architecture=convnet3-batch"):
        method.distill(tiny_problem())


def test_work_is_what_it_computes():
    assert_work_is_what_it_computes(quick("sre2l"), tiny_problem(**BN), (CHEAP_TEACHER,))


def test_defaults_are_those_of_cifar():
    method = SRe2L()
    assert (method.iterations, method.image_lr, method.statistics_weight) == (1000, 0.25, 0.01)
    assert method.teacher.baseline == "cross_entropy"
    assert (method.teacher.train["epochs"], method.teacher.train["learning_rate"]) == (200, 0.1)


def test_an_unknown_key_of_the_teachers_training_is_a_clear_error():
    method = quick("sre2l", teacher=TeacherSpec(train={"epoch": 3}))
    with pytest.raises(DistailError, match=r"unknown key 'epoch'\. Did you mean 'epochs'"):
        method.distill(tiny_problem())
