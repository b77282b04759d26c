import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distail.methods.herding import Herding, herd
from distail.synthetic.features import trained_features
from tests.methods.tiny import CountedImages, largest_batch, tiny_problem
from tests.reference import coresets


@pytest.mark.parametrize("seed", range(5))
def test_picks_what_the_plain_rendering_picks(seed):
    points = torch.randn(14, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert herd(points, 14).tolist() == coresets.herding(points, 14)


def test_a_case_to_follow_by_hand():
    # Mean 2: nearest is 1. Then 2·2 − 1 = 3 asks for 5, at distance 2. Then 3·2 − 6 = 0 takes 0.
    assert herd(torch.tensor([[0.0], [1.0], [5.0]]), 3).tolist() == [1, 2, 0]


def test_the_running_mean_stays_nearer_than_random_ones():
    points = torch.randn(200, 6, generator=torch.Generator().manual_seed(0))
    mean = points.mean(0)
    herded = (points[herd(points, 10)].mean(0) - mean).norm()
    generator = torch.Generator().manual_seed(1)
    random_picks = [torch.randperm(200, generator=generator)[:10] for _ in range(50)]
    drawn = [(points[picks].mean(0) - mean).norm() for picks in random_picks]
    assert herded < min(drawn)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-2, 2), min_size=1, max_size=12), st.data())
def test_never_repeats_and_keeps_the_count(values, data):
    count = data.draw(st.integers(1, len(values)))
    picked = herd(torch.tensor(values, dtype=torch.float32)[:, None], count).tolist()  # many duplicates
    assert len(picked) == len(set(picked)) == count
    assert set(picked) <= set(range(len(values)))


def test_herds_each_class_in_its_own_features():
    problem = tiny_problem(counts=(10, 6, 1), images_per_class=3)
    made = Herding(selection_epochs=2).distill(problem)
    embeddings = trained_features(problem, 2).embeddings
    for label in range(3):
        of_class = problem.train.indices_of(label)
        order = coresets.herding(embeddings[of_class], min(3, len(of_class)))
        expected = [int(of_class[order[k % len(order)]]) for k in range(3)]
        assert made.real_indices[made.labels == label].tolist() == expected


def test_work_is_what_it_computes():
    problem = tiny_problem()
    method = Herding(selection_epochs=3)
    with CountedImages(channels=3) as counted:
        method.distill(problem)
    work = method.work(problem)
    assert (work.forward, work.forward_backward, largest_batch(work)) == (14, 3 * 14, 14)
    assert (counted.forward, counted.forward_backward, counted.batch) == (14, 3 * 14, 14)
