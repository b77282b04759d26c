import pytest
import torch

import distail
from distail.errors import DistailError
from distail.methods.edc import EDC
from distail.synthetic.initial import random_start
from distail.synthetic.recovery import within_pixels
from distail.synthetic.statistics import class_moments
from tests.methods.teaching import CHEAP_TEACHER, SHARP_TEACHER, assert_work_is_what_it_computes, quick
from tests.methods.tiny import tiny_problem

BN = {"architecture": "convnet2-w8-batch"}
TWO = (CHEAP_TEACHER, CHEAP_TEACHER.model_copy(update={"architecture": "convnet1-w4-batch"}))


def test_aims_at_all_images_and_at_the_classes_of_the_batch():
    problem = tiny_problem((9, 4, 1), **BN)
    network = problem.network("observer").eval()
    observer = quick("edc")._watched(problem, network)
    moments, labels = class_moments(problem, network, 64), torch.tensor([1, 1, 2, 2])
    (over_images, of_labels) = observer.targets
    assert (over_images.weight, of_labels.weight) == (0.5, 0.5)
    key = "backbone.4/patches"
    assert torch.equal(over_images.of(labels)[key].mean, moments.over_images()[key].mean)
    assert torch.equal(of_labels.of(labels)[key].variance, moments.of_labels(labels)[key].variance)
    assert observer.kinds == ("convolution", "batch_norm")


def test_the_networks_of_the_paper_take_turns_and_label():
    names = ("mobilenetv2-batch", "shufflenetv2-batch", "wrn16-2-batch")
    observers = tuple(CHEAP_TEACHER.model_copy(update={"architecture": name}) for name in names)
    made = quick("edc", observers=observers, iterations=4).distill(tiny_problem(**BN))
    assert made.teacher.architecture == "+".join(names)
    assert made.images.isfinite().all()
    with torch.no_grad():
        torch.testing.assert_close(made.teacher.network(made.images), made.soft_labels, rtol=1e-4, atol=1e-5)


def test_a_cosine_classifier_among_several_is_refused_before_any_is_trained(monkeypatch):
    monkeypatch.setattr("distail.methods.edc.teach", lambda *_: pytest.fail("was trained"))
    cosine = CHEAP_TEACHER.model_copy(update={"architecture": "convnet1-w4-batch-cosine"})
    with pytest.raises(DistailError, match="linear classifier"):
        quick("edc", observers=(CHEAP_TEACHER, cosine)).distill(tiny_problem(**BN))


def test_the_mean_of_all_networks_labels():
    problem = tiny_problem(**BN)
    made = quick("edc", observers=TWO).distill(problem)
    assert made.teacher.architecture == "convnet2-w8-batch+convnet1-w4-batch"
    with torch.no_grad():
        torch.testing.assert_close(made.teacher.network(made.images), made.soft_labels, rtol=1e-4, atol=1e-5)


def test_begins_with_real_images():
    problem = tiny_problem((9, 4, 3), **BN)
    made = quick("edc", iterations=1, image_lr=1e-9).distill(problem)
    start = within_pixels(random_start(problem, "real"), problem.preprocessing)
    torch.testing.assert_close(made.images, start, rtol=1e-4, atol=1e-4)


def test_may_begin_with_confident_crops():
    problem = tiny_problem((20, 9, 3), images_per_class=2, **BN)
    settings = {"iterations": 1, "image_lr": 1e-9, "observers": (SHARP_TEACHER,)}
    crops = quick("edc", initial_images="confident", **settings).distill(problem)
    assert not torch.allclose(crops.images, quick("edc", **settings).distill(problem).images, atol=1e-2)
    assert crops.soft_labels.argmax(1).tolist() == crops.labels.tolist()


@pytest.mark.parametrize("initial_images", ["random", "confident"])
def test_work_is_what_it_computes(initial_images):
    method = quick("edc", observers=(CHEAP_TEACHER,), initial_images=initial_images)
    assert_work_is_what_it_computes(method, tiny_problem(**BN), (CHEAP_TEACHER,))


def test_work_of_several_networks_is_their_sum():
    problem = tiny_problem(**BN)
    settings = {"iterations": 4}
    single = [quick("edc", observers=(one,), **settings).work(problem) for one in TWO]
    both = quick("edc", observers=TWO, **settings).work(problem)
    assert abs(both.forward - sum(work.forward for work in single)) <= 2
    taught = [quick("edc", observers=(one,), iterations=1).work(problem).forward_backward for one in TWO]
    assert sum(taught) < both.forward_backward < sum(work.forward_backward for work in single)


def test_no_network_at_all_is_refused():
    with pytest.raises(DistailError, match="observers"):
        quick("edc", observers=())


def test_defaults_are_those_of_cifar10():
    method = EDC()
    assert (method.iterations, method.image_lr, method.smoothing, method.view) == (75, 0.05, 0.8, "resized")
    assert {spec.train["epochs"] for spec in method.observers} == {5}
    assert [spec.architecture for spec in method.observers] == [
        *("resnet18-batch", None, "mobilenetv2-batch", "wrn16-2-batch", "shufflenetv2-batch"),
        *("convnet1-batch", "convnet2-batch", "convnet3-w32-batch"),
    ]
    assert (method.students.average, method.students.hard_weight) == (0.99, 0.025)
    assert method.students.augmentation == "rand+resized+flip"


def test_students_of_digits_see_randaugment(monkeypatch, tmp_path):
    """Grey images, one iteration, one student."""
    monkeypatch.chdir(tmp_path)
    cheap = {"epochs": 1, "batch_size": 64, "augmentation": "none"}
    settings = {"iterations": 1, "observers": [{"architecture": "convnet1-w4-batch", "train": cheap}]}
    how = {"images_per_class": 1, "imbalance": 50, "architecture": "convnet1-w4"}
    small = distail.distill("digits", method="edc", out="run", **how, **settings)
    assert small.training.augmentation == "rand+resized+flip"
    scores = distail.evaluate("run", architectures=["convnet1-w4"], seeds=1, epochs=2, labels="teacher")
    assert (scores.students[0].epochs, scores.students[0].labels) == (2, "teacher")
