import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distail.training.class_balance import class_aware_order, class_balanced_weights
from tests.reference.class_aware import complaints


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=2, max_size=5), st.integers(1, 5), st.integers(0, 3))
def test_every_class_comes_equally_often(counts, images_per_visit, seed):
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))]
    classes = tuple(torch.nonzero(labels == label).flatten() for label in range(len(counts)))
    order = class_aware_order(classes, images_per_visit, torch.Generator().manual_seed(seed))
    visit = min(images_per_visit, max(counts))
    assert complaints(order.tolist(), [images.tolist() for images in classes], visit) == []


def test_no_class_is_passed_over_where_all_are_small():
    """A visit of four images to classes of three would end the epoch before the last class's turn."""
    classes = tuple(torch.arange(3) + 3 * label for label in range(4))
    order = class_aware_order(classes, 4, torch.Generator().manual_seed(0))
    assert sorted(order.tolist()) == list(range(12))


def test_the_order_is_shuffled_and_the_generator_decides_it():
    classes = (torch.arange(30), torch.arange(30, 40))

    def order(seed: int) -> list[int]:
        return class_aware_order(classes, 4, torch.Generator().manual_seed(seed)).tolist()

    assert order(0) == order(0)
    assert order(0) != order(1)
    first = {tuple(image >= 30 for image in order(seed)[:8:4]) for seed in range(20)}
    assert first == {(False, True), (True, False)}  # either class may be the first of a round
    assert [image for image in order(0) if image < 30][:30] != list(range(30))


def test_class_balanced_weights_are_those_of_the_formula():
    counts, beta = (500, 50, 5, 1), 0.99
    raw = [(1 - beta) / (1 - beta**count) for count in counts]
    expected = [4 * weight / sum(raw) for weight in raw]
    assert class_balanced_weights(counts, beta).tolist() == pytest.approx(expected, rel=1e-5)
    assert class_balanced_weights(counts, 0.0).tolist() == [1.0] * 4
    nearly_inverse = class_balanced_weights((100, 10), 0.9999)
    assert float(nearly_inverse[1] / nearly_inverse[0]) == pytest.approx(10, rel=0.01)
