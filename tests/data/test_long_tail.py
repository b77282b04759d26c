from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from distail.data.image_set import ImageSet
from distail.data.long_tail import imbalance_factor, long_tail_counts, make_long_tailed, shot_group
from distail.errors import DistailError

CIFAR10 = {
    10: (5000, 3871, 2997, 2320, 1796, 1391, 1077, 834, 645, 500),
    20: (5000, 3584, 2569, 1842, 1320, 946, 678, 486, 348, 250),
    50: (5000, 3237, 2096, 1357, 878, 568, 368, 238, 154, 100),
    100: (5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50),
    200: (5000, 2775, 1540, 854, 474, 263, 146, 81, 45, 25),
}
CIFAR100_TOTALS = {10: (19573, 50), 20: (15907, 25), 50: (12608, 10), 100: (10847, 5)}
TINY_TOTALS = {10: (39072, 50), 20: (31711, 25), 50: (25082, 10), 100: (21549, 5)}


def labelled(labels) -> ImageSet:
    """Images whose pixels tell them apart."""
    labels = torch.as_tensor(labels, dtype=torch.int64)
    pixels = torch.arange(len(labels), dtype=torch.int64)[:, None, None, None].expand(-1, 1, 8, 8)
    names = tuple(str(label) for label in range(int(labels.max()) + 1))
    return ImageSet((pixels % 256).to(torch.uint8), labels, names, "here")


def shuffled_labels(num_classes: int, per_class: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(num_classes), per_class))


@pytest.mark.parametrize("imbalance", CIFAR10)
def test_published_counts_of_cifar10(imbalance):
    assert long_tail_counts(5000, 10, float(imbalance)) == CIFAR10[imbalance]
    assert long_tail_counts(5000, 10, 1 / imbalance) == CIFAR10[imbalance]


@pytest.mark.parametrize(("num_classes", "totals"), [(100, CIFAR100_TOTALS), (200, TINY_TOTALS)])
def test_published_totals_of_cifar100_and_tiny_imagenet(num_classes, totals):
    for imbalance, (total, smallest) in totals.items():
        counts = long_tail_counts(500, num_classes, float(imbalance))
        assert (sum(counts), counts[-1]) == (total, smallest)


@given(st.integers(1, 6000), st.integers(2, 300), st.floats(1, 1000))
def test_counts_fall_from_the_head_to_the_tail(num_max, num_classes, imbalance):
    assume(num_max >= imbalance * 1.001)
    counts = long_tail_counts(num_max, num_classes, imbalance)
    assert len(counts) == num_classes
    assert counts[0] == num_max
    assert all(earlier >= later for earlier, later in pairwise(counts))
    assert counts[-1] in (int(num_max / imbalance), int(num_max / imbalance + 1e-6))


@given(st.integers(1, 10_000))
def test_both_notations_mean_the_same(factor):
    assert imbalance_factor(float(factor)) == factor
    assert imbalance_factor(1 / factor) == factor


@pytest.mark.parametrize("value", [0.0, -10.0, float("nan"), float("inf")])
def test_senseless_imbalances_are_errors(value):
    with pytest.raises(DistailError, match="makes no sense"):
        imbalance_factor(value)


def test_a_tail_without_images_is_an_error():
    with pytest.raises(DistailError, match="imbalance factor of at most 50"):
        long_tail_counts(50, 10, 100.0)


@given(st.integers(2, 6), st.integers(5, 40), st.floats(1, 5), st.integers(0, 9))
@settings(deadline=None)
def test_the_published_rule_chooses_the_images(num_classes, per_class, imbalance, seed):
    source = labelled(shuffled_labels(num_classes, per_class, seed))
    tail = make_long_tailed(source, imbalance)
    counts = long_tail_counts(per_class, num_classes, imbalance)
    assert tail.images.class_counts == counts
    begin = 0
    for label, count in enumerate(counts):
        positions = np.random.RandomState(42).choice(per_class, count, replace=False)
        expected = np.flatnonzero(source.labels.numpy() == label)[positions]
        assert tail.indices[begin : begin + count].tolist() == expected.tolist()
        begin += count
    assert torch.equal(tail.images.images, source.images[tail.indices])
    assert torch.equal(tail.images.labels, source.labels[tail.indices])


def test_stronger_imbalances_keep_a_part_of_what_weaker_ones_keep():
    source = labelled(shuffled_labels(5, 60))
    kept = [set(make_long_tailed(source, factor).indices.tolist()) for factor in (1.0, 4.0, 20.0, 60.0)]
    assert kept[0] > kept[1] > kept[2] > kept[3]


def test_a_class_with_less_than_its_share_keeps_everything():
    source = labelled([0] * 9 + [1] * 2 + [2] * 9)
    tail = make_long_tailed(source, 2.0, num_max=8)
    assert tail.images.class_counts == (8, 2, 4)


def test_an_empty_class_stays_empty():
    tail = make_long_tailed(labelled([0] * 9 + [2] * 9), 2.0, num_max=8)
    assert tail.images.class_counts == (8, 0, 4)


def test_global_random_state_and_the_source_are_untouched():
    source = labelled(shuffled_labels(3, 20))
    before = np.random.get_state()[1].copy(), torch.random.get_rng_state(), source.labels.clone()  # noqa: NPY002
    make_long_tailed(source, 10.0)
    assert (np.random.get_state()[1] == before[0]).all()  # noqa: NPY002
    assert torch.equal(torch.random.get_rng_state(), before[1])
    assert torch.equal(source.labels, before[2])


@pytest.mark.parametrize(("count", "group"), [(101, "many"), (100, "medium"), (20, "medium"), (19, "few"), (0, "few")])
def test_shot_groups_at_their_borders(count, group):
    assert shot_group(count) == group
