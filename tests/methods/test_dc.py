from typing import Any

import pytest
import torch
from torch import nn

from distail.data.augment import DSA
from distail.errors import DistailError
from distail.methods.dc import DC
from distail.methods.random import Random
from distail.problem import Load
from distail.synthetic.gradient_descent import loops, set_gradient
from tests.methods.rounds import plain_loss, plain_rounds
from tests.methods.test_conformance import Notebook
from tests.methods.tiny import CountedImages, DoubleProblem, largest_batch, tiny_problem

NONE = DSA("none")


def few(**settings: Any) -> DC:
    small = {"iterations": 2, "rounds": 2, "network_epochs": 2, "real_batch": 4, "initial_images": "real"}
    return DC(**{**small, **settings})


def double_problem(**settings: Any) -> DoubleProblem:
    return tiny_problem(problem_type=DoubleProblem, **settings)


def test_one_round_an_iteration_is_sgd_on_the_equation():
    problem, method = double_problem(), few(iterations=3, rounds=1, image_lr=0.5, momentum=0.4)
    start = Random().distill(problem).images
    expected = plain_rounds(problem, method, NONE, start, rounds=1, epochs=0)
    found = method.distill(problem).images
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert float((found - start).abs().max()) > 1e-2


def test_the_network_trains_on_the_set_between_rounds():
    problem, method = double_problem(), few(rounds=3, image_lr=0.5, network_lr=0.3)
    start = Random().distill(problem).images
    found = method.distill(problem).images
    # Training computes its loss in single precision.
    torch.testing.assert_close(found, plain_rounds(problem, method, NONE, start, 3, 2), rtol=1e-4, atol=1e-4)
    untrained = few(rounds=3, image_lr=0.5, network_lr=1e-9).distill(problem).images
    assert float((found - untrained).abs().max()) > 1e-3


def test_batch_normalisation_is_frozen_at_real_statistics():
    problem, method = double_problem(counts=(20, 4, 1), architecture="convnet2-w8-batch"), few()
    images = Random().distill(problem).images
    network, other = (problem.network("any") for _ in range(2))
    generator = problem.generator("gradient matching batch", 0, 0)
    loss, gradient = set_gradient(problem, method, network, images, NONE, generator)
    # The statistics take the first draws: up to 16 images of each class.
    generator = problem.generator("gradient matching batch", 0, 0)
    picked = [problem.train.indices_of(label) for label in range(3)]
    picked = [own[torch.randperm(len(own), generator=generator)[:16]] for own in picked]
    assert [len(own) for own in picked] == [16, 4, 1]
    other.train()(problem.real(torch.cat(picked)))
    for module, expected in zip(network.modules(), other.modules(), strict=True):
        if isinstance(module, nn.BatchNorm2d):
            torch.testing.assert_close(module.running_mean, expected.running_mean)
    assert loss > 0
    assert bool(gradient.abs().sum(dim=(1, 2, 3)).gt(0).all())


def test_the_loss_falls():
    """In networks that it never saw, on images of classes that differ."""
    problem = double_problem(counts=(20, 12, 3), images_per_class=1)
    method = few(iterations=30, rounds=1, real_batch=20, image_lr=1.0)
    start, end = Random().distill(problem).images, method.distill(problem).images
    losses = [0.0, 0.0]
    for seed in range(3):
        network = problem.network("unseen", seed)
        for which, images in enumerate((start, end)):
            losses[which] += float(plain_loss(problem, method, network, images, NONE, (99, seed)).detach())
    assert losses[1] < 0.8 * losses[0]


def test_starts_from_noise_unless_told():
    problem = tiny_problem(counts=(9, 4, 1))
    assert DC().initial_images == "noise"
    still = {"image_lr": 1e-12, "rounds": 1, "iterations": 1}
    noise = DC(**still).distill(problem).images
    assert noise.std() == pytest.approx(1, abs=0.1)
    torch.testing.assert_close(few(**still).distill(problem).images, Random().distill(problem).images)


@pytest.mark.parametrize(
    ("ipc", "expected"), [(1, (1, 1)), (3, (1, 1)), (10, (10, 50)), (15, (10, 50)), (50, (50, 10)), (200, (50, 10))]
)
def test_loops_are_those_of_the_nearest_published_ipc(ipc, expected):
    assert loops(DC(), ipc) == expected
    assert loops(DC(rounds=7), ipc) == (7, expected[1])


def test_work_is_what_it_computes():
    problem, method = tiny_problem(counts=(9, 4, 1), images_per_class=3), few(rounds=3)
    with CountedImages(channels=3) as counted:
        method.distill(problem)
    # Real batches 4 + 4 + 1; synthetic ones pass once for the gradient, and once with tangents, counted as 2.25 passes,
    # which the counter sees as a pass by values and one by tangents.
    assert counted.forward_backward == 2 * (3 * (9 + 3 * 9) + 2 * 2 * 9)
    assert method.work(problem).forward_backward == 2 * (3 * 9 + 2 * 2 * 9) + int(2 * 3 * 3.25 * 9)
    assert counted.batch <= largest_batch(method.work(problem)) == 9


def test_memory_is_that_of_a_class_matched_and_of_the_network_in_training():
    problem = tiny_problem(counts=(9, 4, 1), images_per_class=3)
    real, synthetic, training = few(rounds=3, real_batch=7).work(problem).loads
    assert (real.images, real.passes, synthetic.images, synthetic.passes) == (7, "backward", 3, "tangents")
    assert real.shared
    assert synthetic.shared
    # Two gradients and the direction between them come to the network, its two copies and its vector.
    assert synthetic.parameter_vectors == real.parameter_vectors + 3 == 7
    assert training == Load(9, shared=True, parameter_vectors=1)
    assert len(few(rounds=1).work(problem).loads) == 2  # nothing looks at what the last round would train


def test_networks_without_tangents_take_batches_of_real_images_whole():
    without = few().work(tiny_problem(architecture="resnet18-instance")).loads
    assert [load.shared for load in without] == [False, True, True]
    *_, statistics = few().work(tiny_problem(counts=(20, 4, 1), architecture="convnet2-w8-batch")).loads
    assert statistics == Load(16 + 4 + 1, "forward", parameter_vectors=1)


def test_steps_that_diverge_keep_the_last_good_state():
    notebook = Notebook(every=1000)
    with pytest.raises(DistailError, match=r"dc: .* in iteration 0\. Lower image_lr \(now 1e\+38\)"):
        few(image_lr=1e38, iterations=4).distill(tiny_problem(checkpoint=notebook))
    tensors, values = notebook.load()
    assert values == {"iteration": 0}
    assert bool(torch.isfinite(tensors["images"]).all())


@pytest.mark.parametrize("settings", [{"rounds": 0}, {"image_lr": 0}, {"momentum": 1}, {"initial_images": "zeros"}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        DC(**settings)
