from dataclasses import replace

import torch

from distail.synthetic.image_state import ImageState, divergence
from tests.methods.tiny import tiny_problem


def test_is_sgd_with_momentum():
    start = torch.randn(6, 3, 8, 8, dtype=torch.float64)
    leaf = start.clone().requires_grad_()
    optimizer = torch.optim.SGD([leaf], lr=0.3, momentum=0.6)
    state = ImageState(start, torch.zeros_like(start))
    for _ in range(3):
        optimizer.zero_grad()
        leaf.square().sum().backward()
        optimizer.step()
        state = state.moved(2 * state.images, 0.3, 0.6)
    torch.testing.assert_close(state.images, leaf.detach(), rtol=0, atol=1e-12)


def test_a_step_of_one_class_moves_the_others_by_their_momentum():
    """One optimiser for all images: their gradient is zero, their velocity is not."""
    start = torch.zeros(6, 1, 8, 8)
    state = ImageState(start, torch.zeros_like(start)).moved_in_class(torch.ones(2, 1, 8, 8), 1, 1.0, 0.5)
    assert state.images[:, 0, 0, 0].tolist() == [0, 0, -1, -1, 0, 0]
    state = state.moved_in_class(torch.ones(2, 1, 8, 8), 2, 1.0, 0.5)
    assert state.images[:, 0, 0, 0].tolist() == [0, 0, -1.5, -1.5, -1, -1]


def test_what_is_finite():
    state = ImageState(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8))
    assert state.is_finite(1.0)
    assert not state.is_finite(float("nan"))
    assert not state.moved(torch.full((1, 1, 8, 8), float("inf")), 1.0, 0.0).is_finite(1.0)
    message = str(divergence("dc", float("nan"), 7, 0.1))
    assert "image_lr (now 0.1)" in message
    assert "--set iterations=7" in message


def test_adam_is_that_of_torch():
    start = torch.randn(6, 3, 8, 8, dtype=torch.float64)
    leaf = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([leaf], lr=0.3, betas=(0.5, 0.9))
    state = ImageState.under_adam(start)
    for iteration in range(4):
        optimizer.zero_grad()
        leaf.square().sum().backward()
        optimizer.step()
        state = replace(state.moved_by_adam(2 * state.images, 0.3, (0.5, 0.9)), iteration=iteration + 1)
    torch.testing.assert_close(state.images, leaf.detach(), rtol=0, atol=1e-12)
    again = ImageState.unpacked(tiny_problem(), *state.packed())
    assert again.iteration == 4
    assert torch.equal(again.squares, state.squares)


def test_iterations_that_do_not_stand_alone_make_no_set():
    message = str(divergence("edc", float("nan"), 7, 0.1, iterations_stand_alone=False))
    assert "start anew" in message
    assert "--resume" not in message
