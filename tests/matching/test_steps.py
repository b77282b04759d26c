"""The plan of an inner loop."""

import pytest
import torch

from distail.data.augment import DSA
from distail.errors import DistailError
from distail.matching import Steps

SHAPE = (3, 8, 8)


def draw(num_images: int, num_steps: int, batch_size: int, seed: int = 0) -> Steps:
    return Steps.draw(num_images, num_steps, batch_size, SHAPE, DSA(), torch.Generator().manual_seed(seed))


def test_every_image_is_used_before_any_returns() -> None:
    plan = draw(num_images=10, num_steps=6, batch_size=4).steps
    assert [len(step.indices) for step in plan] == [2, 4, 4, 2, 4, 4]
    rounds = [torch.cat([step.indices for step in plan[start : start + 3]]) for start in (0, 3)]
    for indices in rounds:
        assert sorted(indices.tolist()) == list(range(10))
    assert rounds[0].tolist() != rounds[1].tolist()


def test_batches_larger_than_the_set_are_the_set() -> None:
    assert all(sorted(step.indices.tolist()) == [0, 1, 2] for step in draw(3, 4, 100).steps)


def test_augmentation_is_drawn_anew_each_step_with_parameters_of_its_own_for_each_image() -> None:
    plan = draw(num_images=16, num_steps=30, batch_size=16).steps
    assert len({step.augmentation.operation for step in plan}) > 3
    for step in plan:
        assert step.augmentation.num_images == 16


def test_the_generator_decides_alone() -> None:
    before = torch.random.get_rng_state()
    first, again, other = draw(20, 5, 6), draw(20, 5, 6), draw(20, 5, 6, seed=1)
    assert torch.equal(before, torch.random.get_rng_state())
    assert len(first) == 5
    images = torch.rand(20, *SHAPE, generator=torch.Generator().manual_seed(0))
    for a, b in zip(first.steps, again.steps, strict=True):
        assert torch.equal(a.indices, b.indices)
        assert torch.equal(a.views(images[a.indices], DSA()), b.views(images[b.indices], DSA()))
    assert any(not torch.equal(a.indices, b.indices) for a, b in zip(first.steps, other.steps, strict=True))


@pytest.mark.parametrize("numbers", [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_empty_plans_are_refused(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(DistailError, match="at least one image, one step"):
        draw(*numbers)
