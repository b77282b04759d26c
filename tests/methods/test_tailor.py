import pytest
import torch

from distail.methods._registry import build_method
from distail.methods.tailor import Tailor
from distail.problem import class_major_labels
from distail.synthetic.clusters import nearest_real_images
from distail.synthetic.layer_inputs import at_rest, layers_of_kind, watched
from distail.synthetic.recovery import Recovery
from distail.synthetic.relabel import ready
from distail.synthetic.statistics import Statistics, arranged, class_moments, spread_of
from distail.teachers.teaching import teach
from tests.methods.teaching import CHEAP_TEACHER, SHARP_TEACHER, assert_work_is_what_it_computes, quick
from tests.methods.tiny import tiny_problem

BN = {"architecture": "convnet2-w8-batch"}
KINDS = ("convolution", "batch_norm")


def statistics_of(network, images, labels) -> Statistics:
    """Of each class among the images."""
    found: Statistics = {}
    layers = layers_of_kind(network, KINDS)

    def see(name, inputs):
        for key, numbers in arranged(name, layers[name], inputs):
            found[key] = spread_of(numbers, labels)

    with torch.no_grad(), at_rest(network), watched(network, layers, see):
        network(images)
    return {key: spread for key, spread in found.items() if key.endswith("/channels")}


def test_images_come_to_look_like_their_class_to_the_network():
    problem = tiny_problem((20, 12, 8), images_per_class=4, **BN)
    changes = {"iterations": 60, "image_lr": 0.05, "smallest_crop": 1.0}  # views are mirrored at most
    method = quick("tailor", teacher=SHARP_TEACHER).model_copy(update=changes)
    made = method.distill(problem)
    network = ready(problem, teach(problem, SHARP_TEACHER))
    wanted = class_moments(problem, network, 64).of_each(torch.tensor([0, 1, 2]))
    labels = class_major_labels(3, 4)

    def distance(images):
        found = statistics_of(network, images, labels)
        return sum(float((found[key].mean - wanted[key].mean).square().sum()) for key in found)

    assert distance(made.images) < 0.5 * distance(nearest_real_images(problem, network))
    assert made.labels.tolist() == labels.tolist()


def recovery_of(problem, monkeypatch, **settings) -> Recovery:
    """What the method descends on."""
    seen: list[Recovery] = []

    def stand_in(problem, recovery, start):
        seen.append(recovery)
        return start()

    monkeypatch.setattr("distail.methods.tailor.recover", stand_in)
    quick("tailor", **settings).distill(problem)
    return seen[0]


def test_targets_are_those_of_the_classes_in_a_batch(monkeypatch):
    problem = tiny_problem((20, 4, 1), **BN)
    recovery = recovery_of(problem, monkeypatch)
    (observer,) = recovery.observers
    moments = class_moments(problem, observer.network, 64)
    (target,) = observer.targets
    wanted = target.of(torch.tensor([2, 0, 2]))
    assert {key.split("/")[1] for key in wanted} == {"channels"}
    for key, spread in wanted.items():
        for row, label in enumerate((0, 2)):
            single = moments.of_labels(torch.tensor([label]))[key]
            torch.testing.assert_close(spread.mean[row], single.mean)
            torch.testing.assert_close(spread.variance[row], single.variance)
    assert recovery.by_class


@pytest.mark.parametrize(("batch_size", "expected"), [(100, [6]), (5, [4, 2]), (1, [2, 2, 2])])
def test_no_class_is_divided(monkeypatch, batch_size, expected):
    recovery = recovery_of(tiny_problem(**BN), monkeypatch, batch_size=batch_size)
    assert [len(batch) for batch in recovery.batches] == expected


def test_the_size_of_batches_changes_roundings_alone():
    problem = tiny_problem((20, 9, 3), **BN)
    one, other = (
        quick("tailor", batch_size=size, smallest_crop=1.0, iterations=1).distill(problem) for size in (100, 2)
    )
    assert one.images.shape == other.images.shape
    # Views are drawn batch by batch: with boxes of full size they differ in mirroring alone, which the mean over
    # an image does not see.
    moved = (one.images - other.images).abs().max()
    assert moved < 0.1


def test_views_are_labelled_by_the_teacher():
    problem = tiny_problem(**BN)
    made = quick("tailor", views=3).distill(problem)
    assert made.views is not None
    assert made.teacher is not None
    assert made.views.logits.shape == (6, 3, 3)
    with torch.no_grad():
        seen = made.views.seen(made.images, 2)
        expected = (made.teacher.network(seen) + made.teacher.network(seen.flip(3))) / 2
    torch.testing.assert_close(made.views.answers(2), expected, rtol=1e-2, atol=1e-2)
    assert quick("tailor", views=0).distill(problem).views is None


def test_real_images_may_stay_as_they_are():
    problem = tiny_problem((20, 12, 8), images_per_class=4, **BN)
    network = ready(problem, teach(problem, CHEAP_TEACHER))
    nearest, random = (quick("tailor", start=start, iterations=0).distill(problem) for start in ("nearest", "random"))
    torch.testing.assert_close(nearest.images, nearest_real_images(problem, network))
    torch.testing.assert_close(random.images, build_method("random", {}).distill(problem).images)
    assert not torch.allclose(nearest.images, random.images)
    assert random.views is not None


@pytest.mark.parametrize(
    ("num_classes", "side", "ipc", "expected"),
    [
        (3, 8, 2, 100),  # 4 MiB hold far more
        (10, 32, 10, 100),
        (200, 32, 10, 4 * 3 * 32 * 32 // (16 + 400)),  # no more than the images
        (200, 8, 50, 1),  # 7.7 MB of images, 4.2 MB a view
    ],
)
def test_views_take_no_more_room_than_the_images(num_classes, side, ipc, expected):
    problem = tiny_problem((1,) * num_classes, (3, side, side), images_per_class=ipc, **BN)
    assert Tailor().num_views(problem) == expected
    assert Tailor(views=7).num_views(problem) == 7


def test_work_is_what_it_computes():
    problem = tiny_problem((9, 4, 1), **BN)
    assert_work_is_what_it_computes(quick("tailor", views=3), problem, (CHEAP_TEACHER,))
    assert_work_is_what_it_computes(quick("tailor", views=0, batch_size=1), problem, (CHEAP_TEACHER,))
    assert_work_is_what_it_computes(quick("tailor", start="random", iterations=0), problem, (CHEAP_TEACHER,))
    assert_work_is_what_it_computes(quick("tailor", pilot_steps=0), problem, (CHEAP_TEACHER,))


def test_labels_are_shifted_against_what_a_pilot_favours():
    problem = tiny_problem(**BN)
    plain, shifted = (quick("tailor", pilot_steps=steps).distill(problem) for steps in (0, 4))
    assert "logits_shifted_by" not in plain.teacher.provenance
    shift = torch.tensor(shifted.teacher.provenance["logits_shifted_by"])
    assert shift.abs().max() > 1e-3
    assert torch.equal(plain.images, shifted.images)
    torch.testing.assert_close(shifted.soft_labels - plain.soft_labels, shift.expand(6, 3), atol=1e-4, rtol=1e-3)
    moved = shifted.views.logits.float() - plain.views.logits.float()
    torch.testing.assert_close(moved.mean((0, 1)), shift, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize(("ipc", "steps", "epochs"), [(1, 3000, 1000), (10, 3000, 300), (50, 3000, 60), (10, 15, 2)])
def test_a_pilot_makes_as_many_steps_whatever_the_number_of_images(ipc, steps, epochs):
    problem = tiny_problem((1,) * 10, images_per_class=ipc, **BN)
    whole = Tailor()._students(problem)
    assert Tailor(pilot_steps=steps)._pilot(problem) == whole.model_copy(update={"epochs": epochs})


def test_large_students_take_smaller_steps():
    problem = tiny_problem(**BN)
    stored = quick("tailor", pilot_steps=0).distill(problem).training
    assert (stored.learning_rate, stored.learning_rate_large) == (2e-3, pytest.approx(2e-4))
    own = Tailor().students.model_copy(update={"learning_rate_large": 0.5})
    stored = quick("tailor", pilot_steps=0, students=own).distill(problem).training
    assert (stored.learning_rate, stored.learning_rate_large) == (2e-3, 0.5)


def test_students_and_teacher_are_as_measured():
    method = Tailor()
    assert (method.image_lr, method.views) == (0.02, None)
    assert (method.teacher.baseline, method.teacher.train["mixing"]) == ("balanced_softmax", "cutmix")
    assert (method.students.batch_size, method.students.loss, method.pilot_steps) == (10, "squared_error", 3000)


@pytest.mark.parametrize(
    ("ipc", "expected", "augmentation"),
    [
        (1, (1000, 1, 0.08), "rand+resized+flip"),
        (3, (1000, 1, 0.08), "rand+resized+flip"),
        (4, (300, 10, 0.35), "resized+flip"),
        (50, (300, 10, 0.35), "resized+flip"),
    ],
)
def test_what_suits_few_images_differs_from_what_suits_many(monkeypatch, ipc, expected, augmentation):
    problem = tiny_problem((60, 60, 60), images_per_class=ipc, **BN)
    recovery = recovery_of(problem, monkeypatch, views=0, **dict.fromkeys(CHOICES))
    settings = recovery.settings
    assert (settings.iterations, settings.statistics_weight, settings.smallest_crop) == expected
    assert Tailor()._students(problem).augmentation == augmentation


CHOICES = ("iterations", "statistics_weight", "smallest_crop", "rand_augment")


def test_what_the_settings_say_holds_for_any_number_of_images(monkeypatch):
    said = {"iterations": 7, "statistics_weight": 2.0, "smallest_crop": 0.5, "rand_augment": False}
    for ipc in (1, 10):
        problem = tiny_problem((12, 12, 12), images_per_class=ipc, **BN)
        settings = recovery_of(problem, monkeypatch, **said).settings
        assert (settings.iterations, settings.statistics_weight, settings.smallest_crop) == (7, 2, 0.5)
        assert Tailor(**said)._students(problem).augmentation == "resized+flip"
    assert Tailor(rand_augment=True)._students(problem).augmentation == "rand+resized+flip"
    own = Tailor().students.model_copy(update={"augmentation": "rand-1-5+flip"})
    assert Tailor(students=own, rand_augment=True)._students(problem).augmentation == "rand-1-5+flip"


def test_students_of_few_images_are_told_of_rand_augment():
    stored = quick("tailor", pilot_steps=0).distill(tiny_problem(images_per_class=2, **BN)).training
    assert stored.augmentation == "rand+resized+flip"
