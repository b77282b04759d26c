import pytest
import torch

from distail.errors import DistailError
from distail.groups.distances import ClassCentroids, class_centroids, class_distances
from tests.reference.grouping import class_distance


def centroids_of(*parts, wanted=None):
    """Hand-made centres, one tensor a class."""
    labels = torch.cat([torch.full((len(part),), label) for label, part in enumerate(parts)])
    counts = tuple(map(len, parts))
    return ClassCentroids(torch.cat(parts), labels, counts, wanted or max(counts))


def drawn(count, seed, size=4):
    return torch.randn(count, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_distances_are_the_paper_s_where_every_class_has_all_centroids():
    parts = [drawn(5, seed) + seed for seed in range(4)]
    found = class_distances(centroids_of(*parts))
    for i, first in enumerate(parts):
        for k, second in enumerate(parts):
            expected = 0.0 if i == k else class_distance(first, second)
            assert float(found[i, k]) == pytest.approx(expected, rel=1e-12)


def test_a_number_by_hand():
    first = torch.tensor([[0.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
    second = torch.tensor([[3.0, 0.0], [3.0, 2.0]], dtype=torch.float64)
    # 9 + 13 + 13 + 9
    assert float(class_distances(centroids_of(first, second))[0, 1]) == pytest.approx(44**0.5, rel=1e-15)


def test_unequal_numbers_of_centroids_stay_comparable():
    """A class with one centroid is as far as if it had that one five times."""
    many, single = drawn(5, 0), drawn(1, 1)
    found = class_distances(centroids_of(many, single))
    repeated = class_distance(many, single.expand(5, -1))
    assert float(found[0, 1]) == pytest.approx(repeated, rel=1e-12)


def test_near_classes_far_from_the_origin_keep_their_digits():
    first, second = drawn(5, 0) * 1e-6 + 1e4, drawn(5, 1) * 1e-6 + 1e4
    found = class_distances(centroids_of(first, second))
    assert float(found[0, 1]) == pytest.approx(class_distance(first, second), rel=1e-4)


def blobs(counts, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    return torch.randn(len(labels), 6, generator=generator) + 10 * labels[:, None], labels


def test_centroids_are_those_of_planted_clusters():
    centres = 100 * drawn(5, 3)
    points = (centres.repeat_interleave(20, 0) + 0.01 * drawn(100, 4)).float()
    features = torch.cat([points, points + 1000])
    found = class_centroids(features, torch.arange(2).repeat_interleave(100), ("a", "b"))
    assert found.counts == (5, 5)
    apart = torch.cdist(found.centres[:5], centres)
    assert float(apart.amin(dim=0).max()) < 0.1


def test_small_classes_have_a_centroid_at_each_image():
    features, labels = blobs((9, 3, 1))
    found = class_centroids(features, labels, ("a", "b", "c"))
    assert found.counts == (5, 3, 1)
    assert found.labels.tolist() == [0] * 5 + [1] * 3 + [2]
    assert torch.equal(found.centres[8:].float(), features[12:])
    assert set(map(tuple, found.centres[5:8].float().tolist())) == set(map(tuple, features[9:12].tolist()))


def test_equal_images_count_once():
    features = torch.cat([torch.ones(7, 3), torch.randn(7, 3, generator=torch.Generator().manual_seed(0))])
    assert class_centroids(features, torch.arange(2).repeat_interleave(7), ("a", "b")).counts == (1, 5)


def test_the_seed_decides_and_other_classes_do_not():
    features, labels = blobs((30, 30, 30))
    first = class_centroids(features, labels, ("a", "b", "c"), seed=1)
    assert torch.equal(class_centroids(features, labels, ("a", "b", "c"), seed=1).centres, first.centres)
    moved = class_centroids(features, (labels + 1) % 3, ("c", "a", "b"), seed=1)
    assert torch.equal(moved.centres[5:], first.centres[:10])
    # So that permuted classes have permuted distances.
    order = [2, 0, 1]
    torch.testing.assert_close(class_distances(moved), class_distances(first)[order][:, order])


def test_a_class_without_images_is_refused():
    features, labels = blobs((3, 3))
    with pytest.raises(DistailError, match="'c' has no image"):
        class_centroids(features, labels, ("a", "b", "c"))
