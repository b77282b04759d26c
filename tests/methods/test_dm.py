from typing import Any

import pytest
import torch
from torch import Tensor

from distail.data.augment import DSA
from distail.errors import DistailError
from distail.methods import dm
from distail.methods.dm import DM, class_means
from distail.methods.random import Random
from distail.problem import Problem
from tests.methods.tiny import CountedImages, DoubleProblem, largest_batch, tiny_problem
from tests.reference import dm as reference

GOLDEN_LOSSES = (0.5679157277040755, 0.3907297939864427, 0.1924402524540355)
"""First losses on `tiny_problem` in float64 with the settings of `few`; a refactor may not move them."""


def few(**settings: Any) -> DM:
    return DM(**{"iterations": 3, "real_batch": 4, **settings})


def double_problem(**settings: Any) -> Problem:
    return tiny_problem(problem_type=DoubleProblem, **settings)


def reference_loss(problem: Problem, method: DM, images: Tensor, iteration: int) -> Tensor:
    """The plain loss on the batches and augmentations that the named generators draw."""
    generator = problem.generator("dm batch", iteration)
    augment = DSA(method.augmentation)
    real, synthetic = [], []
    for label, own in enumerate(images.split(problem.images_per_class)):
        of_class = problem.train.indices_of(label)
        picked = of_class[torch.randperm(len(of_class), generator=generator)[: method.real_batch]]
        parameters = augment.sample(len(picked), problem.train.image_shape, generator, shared=True)
        real.append(torch.cat([augment.apply(problem.real(index[None]), parameters) for index in picked]))
        synthetic.append(torch.cat([augment.apply(image[None], parameters) for image in own]))
    network = problem.network("dm network", iteration)
    return reference.loss(network.features, [batch.detach() for batch in real], synthetic)


@pytest.mark.parametrize("augmentation", ["none", "color_crop_cutout_flip_scale_rotate"])
def test_loss_and_gradient_are_those_of_the_equation(augmentation):
    problem = double_problem()
    method = few(augmentation=augmentation)
    images = torch.randn(6, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for iteration in range(4):
        loss, gradient = method._gradient(problem, images, iteration)
        leaf = images.clone().requires_grad_()
        expected = reference_loss(problem, method, leaf, iteration)
        torch.testing.assert_close(loss, float(expected.detach()), rtol=1e-10, atol=1e-10)
        (expected_gradient,) = torch.autograd.grad(expected, leaf)
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-10, atol=1e-10)
        assert gradient.abs().max() > 1e-3


def test_distill_is_sgd_on_that_loss():
    problem = double_problem()
    method = few(image_lr=0.7, momentum=0.4)
    leaf = Random().distill(problem).images.clone().requires_grad_()
    optimizer = torch.optim.SGD([leaf], lr=0.7, momentum=0.4)
    for iteration in range(3):
        optimizer.zero_grad()
        reference_loss(problem, method, leaf, iteration).backward()
        optimizer.step()
    torch.testing.assert_close(method.distill(problem).images, leaf.detach(), rtol=1e-10, atol=1e-10)


def test_golden_losses():
    losses = []
    few().distill(double_problem(log=lambda step, **figures: losses.append(figures["loss"])))
    assert losses == pytest.approx(list(GOLDEN_LOSSES), rel=1e-5)


def test_float32_follows_float64():
    images = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    loss, gradient = few()._gradient(tiny_problem(), images, 0)
    exact_loss, exact_gradient = few()._gradient(double_problem(), images.double(), 0)
    assert loss == pytest.approx(exact_loss, rel=1e-4)
    torch.testing.assert_close(gradient.double(), exact_gradient, rtol=1e-3, atol=1e-4)


def test_real_images_of_the_whole_class_leave_nothing_to_match():
    """Synthetic images that are the real ones have the same mean: loss and gradient vanish."""
    problem = double_problem(counts=(3, 3), images_per_class=3)
    images = torch.cat([problem.real(problem.train.indices_of(label)) for label in range(2)])
    loss, gradient = few(real_batch=3)._gradient(problem, images, 0)
    assert loss == pytest.approx(0, abs=1e-20)
    assert gradient.abs().max() < 1e-12


def test_brings_the_means_nearer_in_networks_it_never_saw():
    problem = tiny_problem(counts=(20, 12, 4), images_per_class=1, architecture="convnet1-w8")
    method = few(iterations=40, real_batch=20, augmentation="none")
    start, end = Random().distill(problem).images, method.distill(problem).images
    unseen = range(1000, 1005)
    before = sum(method._gradient(problem, start, iteration)[0] for iteration in unseen)
    after = sum(method._gradient(problem, end, iteration)[0] for iteration in unseen)
    assert after < 0.25 * before


def test_each_iteration_has_a_new_network_and_batch():
    problem = double_problem(counts=(20, 20))
    images = Random().distill(problem).images
    losses = [few(augmentation="none")._gradient(problem, images, iteration)[0] for iteration in range(4)]
    assert len(set(losses)) == 4


def test_a_class_does_not_feel_the_others_without_batch_norm():
    problem = double_problem()
    images = torch.randn(6, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    moved = images.clone()
    moved[4:] += 1
    _, gradient = few()._gradient(problem, images, 0)
    _, gradient_of_moved = few()._gradient(problem, moved, 0)
    torch.testing.assert_close(gradient[:4], gradient_of_moved[:4], rtol=1e-10, atol=1e-10)
    assert not torch.allclose(gradient[4:], gradient_of_moved[4:])


@pytest.mark.parametrize("architecture", ["convnet2-w8", "convnet2-w8-batch"])
def test_memory_chunks_change_nothing(monkeypatch, architecture):
    problem = double_problem(architecture=architecture)
    images = Random().distill(problem).images
    loss, gradient = few()._gradient(problem, images, 0)
    monkeypatch.setattr(dm, "_CHUNK", 2)
    chunked_loss, chunked_gradient = few()._gradient(problem, images, 0)
    assert loss == pytest.approx(chunked_loss, rel=1e-10)
    torch.testing.assert_close(gradient, chunked_gradient, rtol=1e-10, atol=1e-10)


def test_class_means_of_unequal_classes():
    features = torch.tensor([[1.0, 2.0], [3.0, 4.0], [10.0, 20.0]])
    assert class_means(features, torch.tensor([0, 0, 1]), 2).tolist() == [[2.0, 3.0], [10.0, 20.0]]
    assert class_means(features, torch.tensor([0, 1, 0]), 2).tolist() == [[5.5, 11.0], [3.0, 4.0]]


def test_class_means_of_half_precision_add_up_in_single():
    features = torch.full((1000, 1), 1.0, dtype=torch.bfloat16)  # a bfloat16 sum would stop at 256
    means = class_means(features, torch.zeros(1000, dtype=torch.int64), 1)
    assert means.dtype == torch.float32
    assert means.tolist() == [[1.0]]


@pytest.mark.parametrize(("counts", "batch"), [((9, 4, 1), 9), ((300, 4), 256)])
def test_work_is_what_it_computes(counts, batch):
    problem = tiny_problem(counts=counts, images_per_class=3)
    method = few(iterations=2, real_batch=290)
    with CountedImages(channels=3) as counted:
        method.distill(problem)
    work = method.work(problem)
    real = sum(min(290, count) for count in counts)
    assert (work.forward, work.forward_backward) == (2 * real, 2 * 3 * len(counts))
    assert (counted.forward, counted.forward_backward) == (work.forward, work.forward_backward)
    assert counted.batch == largest_batch(work)


def test_steps_that_diverge_are_a_clear_error():
    with pytest.raises(DistailError, match=r"dm: the loss became .* in iteration [12].*image_lr \(now 1e\+30\)"):
        few(image_lr=1e30).distill(tiny_problem(architecture="convnet1-w8-none"))
