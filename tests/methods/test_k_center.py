import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distail.methods.k_center import KCenter, cover
from distail.synthetic.features import trained_features
from tests.methods.tiny import CountedImages, largest_batch, tiny_problem
from tests.reference import coresets


@pytest.mark.parametrize("seed", range(5))
def test_picks_what_the_plain_rendering_picks(seed):
    points = torch.randn(14, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    for start in (0, 13):
        assert cover(points, 14, start).tolist() == coresets.k_center(points, 14, start)


def test_a_case_to_follow_by_hand():
    # From 0: farthest is 9, then 4 (4 from 0, 5 from 9: nearest picked at 4), then 6 and 1.
    points = torch.tensor([[0.0], [1.0], [4.0], [6.0], [9.0]])
    assert cover(points, 3, 0).tolist() == [0, 4, 2]


def test_covers_within_twice_the_optimum():
    """The guarantee of farthest-first traversal, against all pairs of centres."""
    points = torch.randn(12, 2, generator=torch.Generator().manual_seed(0))
    distances = torch.cdist(points, points)
    best = min(float(distances[[i, j]].min(0).values.max()) for i in range(12) for j in range(i + 1, 12))
    for start in range(12):
        assert float(distances[cover(points, 2, start)].min(0).values.max()) <= 2 * best + 1e-6


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-2, 2), min_size=1, max_size=12), st.data())
def test_never_repeats_and_keeps_the_count(values, data):
    count = data.draw(st.integers(1, len(values)))
    start = data.draw(st.integers(0, len(values) - 1))
    picked = cover(torch.tensor(values, dtype=torch.float32)[:, None], count, start).tolist()
    assert picked[0] == start
    assert len(picked) == len(set(picked)) == count
    # Every distinct value comes before any duplicate.
    assert len({values[i] for i in picked}) == min(count, len(set(values)))


def test_covers_each_class_from_a_random_start():
    problem = tiny_problem(counts=(10, 6, 1), images_per_class=3)
    made = KCenter(selection_epochs=2).distill(problem)
    embeddings = trained_features(problem, 2).embeddings
    for label in range(3):
        of_class = problem.train.indices_of(label)
        start = int(torch.randint(len(of_class), (1,), generator=problem.generator("k-center start", label)))
        order = coresets.k_center(embeddings[of_class], min(3, len(of_class)), start)
        expected = [int(of_class[order[k % len(order)]]) for k in range(3)]
        assert made.real_indices[made.labels == label].tolist() == expected


def test_the_start_varies_with_the_seed():
    method = KCenter(selection_epochs=1)
    starts = {int(method.distill(tiny_problem(seed=seed)).real_indices[0]) for seed in range(6)}
    assert len(starts) > 1


def test_work_is_what_it_computes():
    problem = tiny_problem()
    method = KCenter(selection_epochs=3)
    with CountedImages(channels=3) as counted:
        method.distill(problem)
    work = method.work(problem)
    assert (work.forward, work.forward_backward, largest_batch(work)) == (14, 3 * 14, 14)
    assert (counted.forward, counted.forward_backward, counted.batch) == (14, 3 * 14, 14)
