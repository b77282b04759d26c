from typing import Any

import torch

from distail.data import augment
from distail.methods.dc import DC
from distail.methods.dsa import DSA
from distail.methods.random import Random
from tests.methods.rounds import plain_rounds
from tests.methods.tiny import DoubleProblem, tiny_problem


def few(**settings: Any) -> DSA:
    return DSA(**{"iterations": 3, "rounds": 1, "network_epochs": 2, "real_batch": 4, **settings})


def test_is_sgd_on_the_equation_with_one_draw_for_both_batches():
    problem, method = tiny_problem(problem_type=DoubleProblem), few(iterations=6, image_lr=0.5)
    start = Random().distill(problem).images
    expected = plain_rounds(problem, method, augment.DSA(), start, rounds=1, epochs=0)
    found = method.distill(problem).images
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


def test_training_between_rounds_is_augmented_too():
    problem = tiny_problem(problem_type=DoubleProblem)
    method = few(iterations=1, rounds=3, image_lr=0.5, network_lr=0.3, augmentation="cutout")
    start = Random().distill(problem).images
    found = method.distill(problem).images
    expected = plain_rounds(problem, method, augment.DSA("cutout"), start, 3, 2)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_without_augmentation_it_is_dc():
    problem = tiny_problem()
    settings = {"iterations": 2, "rounds": 2, "network_epochs": 1, "real_batch": 4}
    own = DSA(**settings, augmentation="none").distill(problem).images
    assert torch.equal(own, DC(**settings, initial_images="real").distill(problem).images)
    assert not torch.equal(own, DSA(**settings).distill(problem).images)


def test_starts_from_real_images_unless_told():
    problem = tiny_problem()
    still = few(image_lr=1e-12).distill(problem).images
    torch.testing.assert_close(still, Random().distill(problem).images)
    noise = few(image_lr=1e-12, initial_images="noise").distill(problem).images
    assert not torch.allclose(noise, still, atol=0.1)
