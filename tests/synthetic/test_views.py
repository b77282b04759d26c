import pytest
import torch

from distail.synthetic.views import random_views


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kind", ["resized", "crop", "roll"])
def test_gradients_reach_the_images(kind):
    images = torch.rand(40, 3, 8, 8, requires_grad=True)
    views = random_views(images, kind, 0.3, generator())
    assert views.shape == images.shape
    assert not torch.equal(views, images)
    assert torch.equal(views, random_views(images, kind, 0.3, generator()))
    views.square().sum().backward()
    assert bool((images.grad.flatten(1).abs().sum(1) > 0).all())


def test_a_roll_loses_nothing_and_is_the_same_for_all():
    images = torch.rand(1, 3, 16, 16).expand(5, -1, -1, -1)
    views = random_views(images, "roll", 1.0, generator(3))
    assert all(torch.equal(view, views[0]) for view in views)
    assert torch.equal(views[0].flatten().sort().values, images[0].flatten().sort().values)
    moves = set()
    for seed in range(60):
        rolled = random_views(images[:1], "roll", 1.0, generator(seed))
        moves |= {
            (down, right)
            for down in range(16)
            for right in range(16)
            if torch.equal(torch.roll(images[:1], (down, right), (2, 3)), rolled)
        }
    assert moves == {(down, right) for down in range(3) for right in range(3)}
