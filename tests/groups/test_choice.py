import pytest
import torch

from distail.groups.choice import GroupCount, best_count, nearest_centroids, two_stage_accuracy
from tests.groups.test_distances import centroids_of

# Four images, one a class. The network takes class 1 for 0; the centroids take class 2 for 0.
PROBABILITIES = torch.tensor([[0.9, 0.1, 0.0, 0.0], [0.6, 0.4, 0.0, 0.0], [0.0, 0.1, 0.6, 0.3], [0.0, 0.0, 0.1, 0.9]])
TO_CLASSES = torch.tensor([[0.0, 1.0, 2.0, 3.0], [1.0, 0.0, 2.0, 3.0], [0.0, 3.0, 1.0, 2.0], [3.0, 2.0, 1.0, 0.0]])
LABELS = torch.arange(4)


@pytest.mark.parametrize(
    ("groups", "accuracy", "group_accuracy"),
    [
        ((0, 0, 0, 0), 0.75, 1.0),  # the balanced rule alone errs on class 2
        ((0, 0, 1, 1), 1.0, 1.0),  # each mends the other's error
        ((0, 1, 2, 3), 0.75, 0.75),  # the network alone errs on class 1
        ((0, 1, 0, 1), 0.5, 0.75),
    ],
)
def test_two_stages_by_hand(groups, accuracy, group_accuracy):
    found = two_stage_accuracy(groups, PROBABILITIES, TO_CLASSES, LABELS)
    assert found.num_groups == max(groups) + 1
    assert found.accuracy == pytest.approx(accuracy)
    assert found.group_accuracy == pytest.approx(group_accuracy)
    assert found.standard_error > 0


def test_every_class_counts_alike_and_absent_ones_not():
    often = torch.tensor([0, 0, 0, 0, 0, 2])
    found = two_stage_accuracy((0, 0, 0, 0), PROBABILITIES[often], TO_CLASSES[often], often)
    assert found.accuracy == pytest.approx(0.5)  # class 0 right, class 2 wrong


def test_distance_to_the_nearest_centroid_of_each_class():
    centroids = centroids_of(
        torch.tensor([[0.0, 0.0], [10.0, 0.0]], dtype=torch.float64), torch.tensor([[0.0, 3.0]], dtype=torch.float64)
    )
    found = nearest_centroids(torch.tensor([[9.0, 0.0], [0.0, 1.0]]), centroids)
    torch.testing.assert_close(found, torch.tensor([[1.0, 90**0.5], [1.0, 2.0]]))


def test_the_smallest_number_within_a_standard_error_is_best():
    counts = [GroupCount(k, a, e, 1.0) for k, a, e in ((1, 0.99, 0.1), (2, 0.7, 0.1), (3, 0.76, 0.1), (4, 0.8, 0.05))]
    assert best_count(counts).num_groups == 3
    assert best_count(counts[:3]).num_groups == 2
