import torch

from distail.baselines._registry import build_baseline
from distail.methods._registry import build_method
from distail.methods.rldd import RLDD
from distail.synthetic.recovery import Recovery
from distail.synthetic.statistics import class_moments
from tests.methods.teaching import CHEAP_TEACHER, SHARP_TEACHER, assert_work_is_what_it_computes, quick
from tests.methods.tiny import tiny_problem

BN = {"architecture": "convnet2-w8-batch"}


def test_aims_at_all_classes_alike(monkeypatch):
    """Whatever the head has more of, the target is the plain mean over classes."""
    seen: list[Recovery] = []

    def stand_in(problem, recovery, start):
        seen.append(recovery)
        return start()

    monkeypatch.setattr("distail.methods.rldd.recover", stand_in)
    problem = tiny_problem((20, 4, 1), **BN)
    quick("rldd").distill(problem)
    (observer,) = seen[0].observers
    moments = class_moments(problem, observer.network, 64)
    labels = torch.tensor([0, 1, 2])
    fair, of_labels = (target.of(labels) for target in observer.targets)
    for key, spread in moments.over_classes().items():
        torch.testing.assert_close(fair[key].mean, spread.mean)
        torch.testing.assert_close(of_labels[key].mean, spread.mean)  # each class once in the batch
        torch.testing.assert_close(fair[key].variance, spread.variance)
    assert not torch.allclose(fair["backbone.4/channels"].mean, moments.over_images()["backbone.4/channels"].mean)


def test_begins_with_crops_of_which_the_network_is_sure():
    problem = tiny_problem((20, 9, 3), images_per_class=4, **BN)
    made = quick("rldd", iterations=1, image_lr=1e-9, teacher=SHARP_TEACHER).distill(problem)
    assert made.soft_labels.argmax(1).tolist() == made.labels.tolist()
    assert made.teacher.architecture == "convnet2-w8-batch"


def test_a_debiased_network_is_its_teacher():
    method = RLDD()
    baseline = build_baseline(method.teacher.baseline, method.teacher.settings)
    recipe = baseline.recipe_with(method.teacher.train)
    assert (baseline.label_exponent, baseline.weights_sum_to) == (0.8, "one")
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate, recipe.weight_decay) == (200, 64, 0.01, 5e-3)


def test_works_with_that_network():
    train = {"epochs": 2, "batch_size": 8}
    teacher = RLDD().teacher.model_copy(update={"train": {**train, "augmentation": "none"}})
    made = quick("rldd", teacher=teacher).distill(tiny_problem())
    assert bool(torch.isfinite(made.soft_labels).all())


def test_work_is_what_it_computes():
    assert_work_is_what_it_computes(quick("rldd", max_images=3), tiny_problem(**BN), (CHEAP_TEACHER,))


def test_defaults_are_those_of_cifar10():
    method = RLDD()
    assert (method.iterations, method.image_lr, method.statistics_weight, method.view) == (75, 0.05, 0.01, "crop")
    assert (method.crops_per_image, method.max_images, method.students.batch_size) == (5, 5000, 25)


def test_another_baseline_does_without_the_settings_of_glmc():
    method = build_method("rldd", {"teacher": {"baseline": "balanced_softmax", "train": {"epochs": 3}}})
    assert (method.teacher.settings, method.teacher.train) == ({}, {"epochs": 3, "batch_size": 64})
    own = build_method("rldd", {"teacher": {"baseline": "focal", "settings": {"gamma": 1.5}}})
    assert own.teacher.settings == {"gamma": 1.5}
    changed = build_method("rldd", {"teacher": {"settings": {"debias": 0.5}}}).teacher.settings
    assert (changed["debias"], changed["label_exponent"]) == (0.5, 0.8)
