import pytest
import torch

from distail.synthetic.clusters import nearest_to_centres


def blobs() -> torch.Tensor:
    """Four heaps of five points around corners far apart; the first point of each is in its middle."""
    corners = torch.tensor([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0], [100.0, 100.0]])
    around = torch.tensor([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    return (corners[:, None] + around).flatten(0, 1)


def test_picks_the_middle_of_each_heap():
    assert sorted(nearest_to_centres(blobs(), 4, seed=0).tolist()) == [0, 5, 10, 15]


def test_the_seed_decides_and_the_global_state_does_not():
    points = torch.randn(80, 4, generator=torch.Generator().manual_seed(0))
    first = nearest_to_centres(points, 9, seed=5)
    torch.manual_seed(1)
    assert torch.equal(first, nearest_to_centres(points, 9, seed=5))
    assert any(not torch.equal(first, nearest_to_centres(points, 9, seed=seed)) for seed in (6, 2**62))


@pytest.mark.parametrize("count", [1, 2, 3, 128])
def test_a_small_class_gives_all(count):
    points = torch.randn(count, 4, generator=torch.Generator().manual_seed(0))
    assert nearest_to_centres(points, 128, seed=0).tolist() == list(range(count))


def test_points_that_coincide_are_taken_once():
    picked = nearest_to_centres(torch.ones(20, 3), 6, seed=0).tolist()
    assert len(picked) == len(set(picked)) >= 1
