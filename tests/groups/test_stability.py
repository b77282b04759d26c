import pytest

from distail.errors import DistailError
from distail.groups.grouping import Grouping
from distail.groups.stability import adjusted_rand_index, agreement, moved_classes

NAMES = ("a", "b", "c", "d")
HALVES, CROSSED, ALONE = (Grouping(NAMES, groups) for groups in ((0, 0, 1, 1), (0, 1, 0, 1), (0, 1, 1, 1)))


def test_identical_groupings_have_index_one():
    assert adjusted_rand_index(HALVES, HALVES) == 1
    assert adjusted_rand_index(ALONE, ALONE) == 1


def test_the_index_by_hand():
    # Pairs together: {ab, cd} and {ac, bd}, none in both; expected 2·2/6 by chance, at most 2.
    assert adjusted_rand_index(HALVES, CROSSED) == pytest.approx((0 - 4 / 6) / (2 - 4 / 6))


def test_every_pair_of_groupings_is_compared():
    found = agreement({"tail": [HALVES, CROSSED, HALVES], "balanced": [HALVES, ALONE], "single": [HALVES]})
    assert found.names == ("tail", "balanced", "single")
    counts = {(pair.first, pair.second): len(pair.values) for pair in found.pairs}
    assert counts == {
        ("tail", "tail"): 3,
        ("tail", "balanced"): 6,
        ("tail", "single"): 3,
        ("balanced", "balanced"): 1,
        ("balanced", "single"): 2,
        ("single", "single"): 0,
    }
    assert found.of("tail", "tail").values == (-0.5, 1.0, -0.5)
    assert found.of("single", "tail").mean == pytest.approx((1 - 0.5 + 1) / 3)
    assert found.of("tail", "tail").std == pytest.approx(3**0.5 / 2)
    assert found.of("single", "single").mean is None
    assert found.of("balanced", "balanced").std is None


def test_other_classes_are_refused():
    with pytest.raises(DistailError, match="other classes"):
        adjusted_rand_index(HALVES, Grouping(("a", "b", "c", "e"), (0, 0, 1, 1)))


def test_moved_classes_are_counted_whatever_groups_are_called():
    assert moved_classes(HALVES, HALVES) == []
    assert moved_classes(HALVES, ALONE) == [1]
    assert moved_classes(HALVES, Grouping(NAMES, (0, 0, 1, 2))) == [3]
    assert len(moved_classes(HALVES, CROSSED)) == 2
