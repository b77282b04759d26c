import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distail.errors import DistailError
from distail.groups.grouping import canonical
from distail.groups.max_cut import heuristic_cut, max_cut
from tests.reference.grouping import best_partition, clustered_distances, cut, partitions, random_distances

INSTANCES = [
    pytest.param(random_distances, id="random"),
    pytest.param(lambda n, seed: clustered_distances(n, 3, seed), id="clustered"),
]
SIZES = [(2, 2), (3, 2), (3, 3), (6, 2), (7, 3), (8, 4), (9, 2), (10, 2)]


def test_the_reference_goes_through_the_paper_s_partitions():
    assert len(list(partitions(10, 2))) == 511


@pytest.mark.parametrize("make", INSTANCES)
@pytest.mark.parametrize(("count", "groups"), SIZES)
def test_exact_as_brute_force(make, count, groups):
    for seed in range(3):
        distances = make(count, seed)
        expected, value = best_partition(distances, groups)
        found = max_cut(distances, groups)
        assert found.exact
        assert found.group_of == expected
        assert found.value == pytest.approx(value, rel=1e-12)
        assert found.upper_bound == found.value
        assert found.gap == 0


@pytest.mark.parametrize("make", INSTANCES)
@pytest.mark.parametrize(("count", "groups"), [(12, 2), (12, 4), (16, 2), (16, 3)])
def test_the_heuristic_reaches_the_optimum_and_its_bound_holds(make, count, groups):
    """Gap to the exact answer: none, on each of 10 random and 10 clustered instances of up to 16 classes."""
    for seed in range(10):
        distances = make(count, seed)
        exact, found = max_cut(distances, groups), heuristic_cut(distances, groups, seed)
        assert exact.exact
        assert found.value == pytest.approx(exact.value, rel=1e-9)
        assert found.upper_bound >= exact.value
        assert not found.exact
        assert 0 <= found.gap < 0.25


@pytest.mark.parametrize("count", [70, 150])
def test_many_classes_have_a_tight_bound(count):
    found = max_cut(random_distances(count, 0), 2)
    assert not found.exact
    assert found.value == pytest.approx(cut(random_distances(count, 0), found.group_of), rel=1e-9)
    assert 0 < found.gap < 0.02


def test_many_classes_in_planted_groups_are_found():
    distances = clustered_distances(80, 4, 0, spread=0.1)
    assert max_cut(distances, 4).group_of == tuple(label % 4 for label in range(80))


def test_a_search_that_gives_up_says_so():
    distances = random_distances(30, 0)
    exact, given_up = max_cut(distances), max_cut(distances, max_branches=10)
    assert (exact.exact, given_up.exact) == (True, False)
    assert given_up.value <= exact.value <= given_up.upper_bound
    assert given_up.gap > 0


@pytest.mark.parametrize("count", [9, 70])
def test_the_seed_decides(count):
    distances = random_distances(count, 1)
    assert max_cut(distances, 3, seed=4) == max_cut(distances, 3, seed=4)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), factor=st.sampled_from([1e-6, 0.3, 8.0, 1e9]), groups=st.integers(2, 4))
def test_order_and_unit_change_nothing(seed, factor, groups):
    distances = random_distances(9, seed)
    found = max_cut(distances, groups)
    assert max_cut(factor * distances, groups).group_of == found.group_of
    order = torch.randperm(9, generator=torch.Generator().manual_seed(seed))
    moved = max_cut(distances[order][:, order], groups)
    assert moved.group_of == canonical(tuple(found.group_of[old] for old in order.tolist()))


def test_the_diagonal_does_not_matter():
    distances = random_distances(8, 0)
    assert max_cut(distances + 9 * torch.eye(8, dtype=torch.float64)) == max_cut(distances)


def test_as_many_groups_as_classes():
    assert max_cut(random_distances(5, 0), 5).group_of == (0, 1, 2, 3, 4)


def test_an_outlier_may_stand_alone():
    """The unnormalised sum prefers equal sizes, but an outlier far enough outweighs that."""
    distances = torch.ones(5, 5, dtype=torch.float64) - torch.eye(5, dtype=torch.float64)
    assert sorted(max_cut(distances).group_of.count(group) for group in (0, 1)) == [2, 3]
    distances[2, :] = distances[:, 2] = 50
    assert max_cut(distances).group_of == (0, 0, 1, 0, 0)


@pytest.mark.parametrize("count", [6, 70])
def test_no_distance_at_all_still_makes_groups(count):
    found = max_cut(torch.zeros(count, count, dtype=torch.float64), 3)
    assert len(set(found.group_of)) == 3
    assert found.value == found.gap == 0


@pytest.mark.parametrize(("groups", "said"), [(1, "at least 2"), (0, "at least 2"), (6, "at most 5")])
def test_impossible_numbers_of_groups_are_refused(groups, said):
    with pytest.raises(DistailError, match=said):
        max_cut(random_distances(5, 0), groups)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_what_is_no_distance_is_refused(value):
    distances = random_distances(4, 0)
    distances[0, 1] = distances[1, 0] = value
    with pytest.raises(DistailError, match="symmetric, finite and not negative"):
        max_cut(distances)
