"""The three label protocols, and the translation between two preprocessings."""

from dataclasses import replace

import pytest
import torch

from distail.data.augment import DSA
from distail.data.mixing import Mixture
from distail.data.preprocess import fit_preprocessing
from distail.errors import DistailError
from distail.learn.labels import (
    TeacherTrainingSet,
    effective_protocol,
    labelled_training_set,
    own_training,
    require_teacher,
)
from distail.models import build_network
from distail.models.saved import SavedNetwork, load_network, save_network
from distail.runtime import Runtime
from distail.training.recipe import TrainRecipe
from distail.training.training_set import TensorTrainingSet, TrainingSet
from tests.evaluation.separable import ARCHITECTURE, NAMES, SHAPE, images_of, make_set

CPU = Runtime()
ALL = torch.arange(6)


def make_teacher(kind="zca", shape=SHAPE, names=NAMES) -> SavedNetwork:
    """Untrained, which is opinion enough, with a preprocessing of its own."""
    preprocessing = fit_preprocessing(images_of((9, 9, 9), 4, shape), kind)
    return SavedNetwork(
        build_network(ARCHITECTURE, shape, len(names), 5), ARCHITECTURE, shape, names, preprocessing, {}
    )


def soft() -> torch.Tensor:
    return torch.randn(6, 3, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(
    ("labels", "with_soft", "expected"),
    [
        ("hard", False, "hard"),
        ("hard", True, "hard"),
        ("static", False, "hard"),
        ("static", True, "static"),
        ("teacher", False, "teacher"),
        ("teacher", True, "teacher"),
    ],
)
def test_what_a_request_amounts_to(labels, with_soft, expected):
    assert effective_protocol(make_set(soft_labels=soft() if with_soft else None), labels) == expected


@pytest.mark.parametrize("labels", ["hard", "static"])
def test_hard_labels_are_class_indices(labels):
    whole = make_set()
    data = labelled_training_set(whole, labels, CPU)
    assert isinstance(data, TensorTrainingSet)
    assert torch.equal(data.targets(ALL, data.images(ALL)).labels, whole.labels)
    assert torch.equal(data.images(ALL), whole.images)
    assert (len(data), data.num_classes, data.image_shape) == (6, 3, SHAPE)


def test_static_labels_are_softmax_probabilities():
    whole = make_set(soft_labels=soft())
    data = labelled_training_set(whole, "static", CPU)
    order = torch.tensor([4, 0, 5])
    found = data.targets(order, data.images(order)).for_cross_entropy
    expected = soft()[order].double().exp()
    torch.testing.assert_close(found.double(), expected / expected.sum(1, keepdim=True))
    assert labelled_training_set(whole, "hard", CPU).targets(order, data.images(order)).labels.tolist() == [2, 0, 2]


# The teacher


def by_hand(teacher: SavedNetwork, pixels: torch.Tensor) -> torch.Tensor:
    """Probabilities for raw images, by the teacher's own way to use it."""
    return teacher.predict_logits(pixels).softmax(1)


@pytest.mark.parametrize("teacher_kind", ["none", "normalize", "zca"])
@pytest.mark.parametrize("kind", ["none", "normalize", "zca"])
def test_a_teacher_sees_the_pixels_behind_the_set(tmp_path, kind, teacher_kind):
    """Its targets for stored real images are its predictions for the raw ones, whatever the preprocessings."""
    whole = make_set(kind=kind)
    save_network(tmp_path / "teacher.safetensors", make_teacher(teacher_kind))
    teacher = load_network(tmp_path / "teacher.safetensors")
    data = labelled_training_set(whole, "teacher", CPU, teacher)
    expected = by_hand(teacher, whole.to_pixels())
    found = data.targets(ALL, data.images(ALL)).for_cross_entropy
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-3)
    assert float((expected[0] - expected[-1]).abs().max()) > 0.01  # a teacher that says the same of all proves nothing


def test_without_translation_the_targets_would_differ():
    whole, teacher = make_set(kind="normalize"), make_teacher("zca")
    with torch.no_grad():
        untranslated = teacher.network(whole.images).softmax(1)
    assert float((untranslated - by_hand(teacher, whole.to_pixels())).abs().max()) > 0.01


def test_a_teacher_labels_the_augmented_view():
    whole, teacher = make_set(), make_teacher()
    data = labelled_training_set(whole, "teacher", CPU, teacher)
    views = DSA(strategy="flip", flip=1.0)(data.images(ALL), torch.Generator().manual_seed(0))
    flipped = by_hand(teacher, whole.to_pixels().flip(3))
    torch.testing.assert_close(data.targets(ALL, views).for_cross_entropy, flipped, atol=2e-4, rtol=1e-3)
    assert not torch.allclose(flipped, by_hand(teacher, whole.to_pixels()), atol=1e-2)


def test_a_teacher_is_in_evaluation_mode_and_gets_no_gradient():
    teacher = make_teacher()
    teacher.network.train()
    data = labelled_training_set(make_set(), "teacher", CPU, teacher)
    assert not teacher.network.training
    views = data.images(ALL).requires_grad_()
    targets = data.targets(ALL, views).for_cross_entropy
    assert not targets.requires_grad
    torch.testing.assert_close(targets.sum(1), torch.ones(6))


def test_a_teacher_in_bfloat16_gives_single_precision_targets():
    whole, teacher = make_set(), make_teacher()
    half = labelled_training_set(whole, "teacher", Runtime("cpu", "bf16"), teacher)
    single = labelled_training_set(whole, "teacher", CPU, teacher)
    assert isinstance(half, TeacherTrainingSet)
    found = half.targets(ALL, half.images(ALL)).logits
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, single.targets(ALL, single.images(ALL)).logits, atol=0.03, rtol=0.1)


def test_every_protocol_makes_a_training_set():
    whole = make_set(soft_labels=soft())
    for labels, teacher in (("hard", None), ("static", None), ("teacher", make_teacher())):
        data = labelled_training_set(whole, labels, CPU, teacher)
        assert isinstance(data, TrainingSet)
        assert (len(data), data.num_classes, data.image_shape) == (6, 3, SHAPE)
        assert data.preprocessing is whole.preprocessing


@pytest.mark.parametrize("labels", ["hard", "static", "teacher"])
def test_teacher_and_protocol_go_together(labels):
    wrong = None if labels == "teacher" else make_teacher()
    with pytest.raises(DistailError, match="pass both --labels teacher and --teacher FILE, or neither"):
        labelled_training_set(make_set(), labels, CPU, wrong)
    require_teacher(labels, make_teacher() if labels == "teacher" else None)


def test_a_teacher_of_other_classes_or_images_is_refused():
    with pytest.raises(DistailError, match="the teacher orders them 'bee', 'ant', 'cow'"):
        labelled_training_set(make_set(), "teacher", CPU, make_teacher(names=("bee", "ant", "cow")))
    with pytest.raises(DistailError, match=r"sees images of \(3, 8, 12\), the set holds \(3, 8, 8\)"):
        labelled_training_set(make_set(), "teacher", CPU, make_teacher(shape=(3, 8, 12)))


@pytest.mark.parametrize("labels", ["hard", "static", "teacher"])
def test_students_see_the_cells_of_mosaics(labels):
    whole = replace(make_set(kind="normalize", soft_labels=soft()), mosaic=2)
    teacher = make_teacher() if labels == "teacher" else None
    data = labelled_training_set(whole, labels, Runtime(), teacher)
    assert len(data) == 4 * len(whole)
    indices = torch.arange(len(data))
    images = data.images(indices)
    assert torch.equal(images, whole.decoded().images)
    targets = data.targets(indices, images).for_cross_entropy
    if labels == "hard":
        assert torch.equal(targets, whole.labels.repeat_interleave(4))
    if labels == "static":
        assert torch.equal(targets, whole.soft_targets().repeat_interleave(4, 0))


def test_labelling_leaves_the_set_alone():
    whole = make_set(soft_labels=soft())
    images = whole.images.clone()
    for labels, teacher in (("hard", None), ("static", None), ("teacher", make_teacher())):
        data = labelled_training_set(whole, labels, CPU, teacher)
        data.targets(ALL, data.images(ALL))
    assert torch.equal(whole.images, images)


# Mixed views


MIXTURE = Mixture(torch.tensor([2, 0, 1, 5, 3, 4]), 0.25)


def shares(whole) -> torch.Tensor:
    one_hot = torch.nn.functional.one_hot(whole.labels, 3).float()
    return 0.75 * one_hot + 0.25 * one_hot[MIXTURE.partner]


def test_hard_labels_of_mixed_views_are_their_shares():
    whole = make_set()
    data = labelled_training_set(whole, "hard", CPU)
    targets = data.targets(ALL, data.images(ALL), MIXTURE)
    assert torch.equal(targets.labels, shares(whole))
    assert not targets.are_soft


def test_stored_logits_of_mixed_views_are_mixed():
    whole = make_set(soft_labels=soft())
    data = labelled_training_set(whole, "static", CPU)
    targets = data.targets(ALL, data.images(ALL), MIXTURE)
    torch.testing.assert_close(targets.logits, 0.75 * soft() + 0.25 * soft()[MIXTURE.partner])
    probabilities = 0.75 * soft().softmax(1) + 0.25 * soft().softmax(1)[MIXTURE.partner]
    torch.testing.assert_close(targets.for_cross_entropy, probabilities)
    assert torch.equal(targets.labels, shares(whole))


def test_a_teacher_looks_at_the_mixed_views():
    whole, teacher = make_set(), make_teacher()
    data = labelled_training_set(whole, "teacher", CPU, teacher)
    views = MIXTURE.of(data.images(ALL))
    mixed, plain = data.targets(ALL, views, MIXTURE), data.targets(ALL, views)
    assert torch.equal(mixed.logits, plain.logits)
    assert torch.equal(mixed.labels, shares(whole))
    assert torch.equal(plain.labels, whole.labels)
    unmixed = data.targets(ALL, data.images(ALL)).logits
    assert not torch.allclose(mixed.logits, MIXTURE.of(unmixed), atol=1e-3)  # the view decides, not the labels


# How students are to be trained

OWN = TrainRecipe(epochs=7, loss="squared_error", hard_weight=0.1, mixing="cutmix")


@pytest.mark.parametrize(("labels", "kept"), [("hard", False), ("static", True), ("teacher", True)])
def test_a_set_says_how_students_learn_and_hard_labels_take_cross_entropy(labels, kept):
    found = own_training(make_set(soft_labels=soft(), training=OWN), labels)
    assert found == (OWN if kept else OWN.on_hard_labels)
    assert (found.epochs, found.mixing) == (7, "cutmix")
    assert own_training(make_set(training=OWN), "static") == OWN.on_hard_labels  # it stores no soft labels
    assert own_training(make_set(), labels) == TrainRecipe()
