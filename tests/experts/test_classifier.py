from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from distail.experts.bank import ExpertBank, Shelf
from distail.experts.classifier import linear_gradient
from distail.experts.ground import ExpertGround
from distail.experts.school import classifier_shelf, train_experts, whole_classifier_expert
from distail.experts.spec import ClassifierSpec
from distail.models.flat import FlatLayout
from distail.seeding import torch_generator
from distail.training.class_balance import class_aware_order
from tests.experts.lessons import ground, need, on, trajectory

COUNTS = (9, 4, 1)
FEATURES = 8 * 2 * 2
"""Of a convnet2-w8 on 8x8 pixels."""


def trained(path: Any, spec: ClassifierSpec, epochs: int = 2, **problem: Any) -> tuple[Shelf, Shelf, ExpertGround]:
    school, bank = ground(counts=COUNTS, **problem), ExpertBank(path)
    train_experts(bank, school, [need(spec, epochs)])
    return (*classifier_shelf(bank, school, spec), school)


def rows(classifier: Tensor) -> Tensor:
    """Lengths of the rows of the weight."""
    return classifier[: 3 * FEATURES].view(3, FEATURES).norm(dim=1)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_the_closed_form_is_what_autograd_finds(weighted):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(11, 5, generator=generator, dtype=torch.float64)
    parameters = torch.randn(4 * 5 + 4, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(4, (11,), generator=generator)
    weights = torch.rand(4, generator=generator, dtype=torch.float64) if weighted else None
    losses = F.cross_entropy(F.linear(features, parameters[:20].view(4, 5), parameters[20:]), targets, reduction="none")
    expected = (losses * (weights[targets] if weights is not None else 1)).mean()
    loss, gradient = linear_gradient(parameters.detach(), features, targets, weights)
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, parameters)[0], rtol=1e-10, atol=1e-10)


def test_an_epoch_is_sgd_on_a_frozen_backbone(tmp_path):
    """Every step, by autograd through the whole network in float64, without GSAM and augmentation."""
    spec = on(gsam_rho=0.0, augmentation="none", weight_decay=0.1)
    classifiers, bases, school = trained(tmp_path, spec, epochs=1)
    network = school.network(0, 0).double().eval()
    network.fused = False
    FlatLayout.of(network).load(network, bases.snapshot(0, 2).double())
    optimizer = torch.optim.SGD(network.classifier.parameters(), lr=0.1, weight_decay=0.1)
    everything = school.preprocessing.apply(school.train.images).double()
    classes = tuple(school.train.indices_of(label) for label in range(3))
    order = class_aware_order(classes, 4, torch_generator(0, "classifier epoch", 0, 0))
    for indices in order.split(8):
        optimizer.zero_grad()
        F.cross_entropy(network(everything[indices]), school.train.labels[indices]).backward()
        optimizer.step()
    expected = FlatLayout.of(network).flatten(network)[-len(classifiers.snapshot(0, 1)) :]
    torch.testing.assert_close(classifiers.snapshot(0, 1).double(), expected, rtol=1e-4, atol=1e-5)


def test_the_backbone_is_the_bases_and_only_the_classifier_moves(tmp_path):
    spec = on()
    classifiers, bases, school = trained(tmp_path, spec)
    start = FlatLayout.of(school.network(0, 0)).classifier_start
    base = bases.snapshot(0, spec.base_epochs)
    before = base.clone()
    wholes = [whole_classifier_expert(bases, classifiers, spec, 0, epoch) for epoch in range(3)]
    assert torch.equal(wholes[0], base)  # snapshot 0 is the end of stage one
    for whole in wholes:
        assert torch.equal(whole[:start], base[:start])
    assert not torch.equal(wholes[1][start:], wholes[0][start:])
    assert not torch.equal(wholes[2][start:], wholes[1][start:])
    assert torch.equal(bases.snapshot(0, spec.base_epochs), before)


def test_it_learns_the_classes_that_the_base_forgot(tmp_path):
    """On balanced draws the mean loss over classes falls."""
    spec = on(learning_rate=0.5, augmentation="none")
    classifiers, bases, school = trained(tmp_path, spec, epochs=6)
    network = school.network(0, 0).eval()
    everything = school.preprocessing.apply(school.train.images)

    def balanced_loss(epoch: int) -> float:
        FlatLayout.of(network).load(network, whole_classifier_expert(bases, classifiers, spec, 0, epoch))
        with torch.no_grad():
            losses = F.cross_entropy(network(everything), school.train.labels, reduction="none")
        return sum(float(losses[school.train.labels == label].mean()) for label in range(3))

    assert balanced_loss(6) < 0.7 * balanced_loss(0)


def test_max_norm_bounds_the_rows_and_changes_the_result(tmp_path):
    bounded = on(learning_rate=0.5, max_norm=0.1)
    free = on(learning_rate=0.5)
    plain = trajectory(trained(tmp_path, free)[0])
    cut = trajectory(trained(tmp_path, bounded)[0])
    initial = rows(cut[0])
    bound = float(initial.min() + 0.1 * (initial.max() - initial.min()))
    assert torch.equal(plain[0], cut[0])
    assert float(rows(plain[-1]).max()) > 1.05 * bound
    for classifier in cut[1:]:
        assert float(rows(classifier).max()) <= bound * (1 + 1e-5)
    assert float(rows(cut[-1]).max()) > 0.99 * bound  # shortened to the bound, not below it
    assert not torch.equal(plain[-1], cut[-1])


def test_the_class_balanced_loss_changes_the_result(tmp_path):
    plain = trajectory(trained(tmp_path, on())[0])
    weighted = trajectory(trained(tmp_path, on(loss="class_balanced"))[0])
    without_weights = trajectory(trained(tmp_path, on(loss="class_balanced", beta=0.0))[0])
    assert not torch.allclose(plain[-1], weighted[-1])
    torch.testing.assert_close(plain[-1], without_weights[-1], rtol=1e-5, atol=1e-6)


def test_a_wide_bound_is_no_bound(tmp_path):
    free = trajectory(trained(tmp_path, on())[0])
    wide = trajectory(trained(tmp_path, on(max_norm=1e6))[0])
    torch.testing.assert_close(free[-1], wide[-1], rtol=1e-6, atol=1e-7)


def test_gsam_and_images_per_visit_change_the_result(tmp_path):
    last = [
        trajectory(trained(tmp_path, spec)[0])[-1] for spec in (on(), on(gsam_rho=0.0), on(images_per_visit=1), on())
    ]
    assert torch.equal(last[0], last[3])
    assert not torch.equal(last[0], last[1])
    assert not torch.equal(last[0], last[2])


def test_expert_i_stands_on_expert_i(tmp_path):
    school, bank, spec = ground(counts=COUNTS), ExpertBank(tmp_path), on()
    train_experts(bank, school, [need(spec, 1, num_experts=2)])
    classifiers, bases = classifier_shelf(bank, school, spec)
    for expert in range(2):
        first = classifiers.snapshot(expert, 0)
        assert torch.equal(first, bases.snapshot(expert, spec.base_epochs)[-len(first) :])
    assert not torch.equal(classifiers.snapshot(0, 0), classifiers.snapshot(1, 0))
