import pytest
import torch

from distail.synthetic.clusters import nearest_real_images, nearest_to_centres, nearest_work
from tests.methods.tiny import CountedImages, tiny_problem


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


def test_real_images_near_to_centres_are_those_of_their_class():
    problem = tiny_problem((12, 5, 1), images_per_class=3)
    network = problem.network("any")
    found = nearest_real_images(problem, network)
    assert found.shape == (9, *problem.train.image_shape)
    for label in range(3):
        own = problem.real(problem.train.indices_of(label))
        chosen = found[3 * label : 3 * label + 3]
        places = [int((own - image).abs().flatten(1).sum(1).argmin()) for image in chosen]
        assert torch.equal(own[places], chosen)
        assert len(set(places)) == min(3, len(own))  # a class of one image repeats it


def test_only_classes_with_a_choice_are_looked_at():
    problem = tiny_problem((12, 5, 3), images_per_class=3, architecture="convnet2-w8-batch")
    network = problem.network("any")
    with CountedImages(channels=3) as counted:
        nearest_real_images(problem, network)
    assert counted.forward == nearest_work(problem, "convnet2-w8-batch").forward == 17
    assert nearest_work(tiny_problem((3, 2, 1), images_per_class=3), "convnet2-w8").forward == 0
