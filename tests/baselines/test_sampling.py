import pytest
import torch

from distail.baselines._sampling import (
    class_aware_batches,
    drawn_batches,
    power_probabilities,
    progressive_probabilities,
)
from tests.methods.tiny import tiny_images
from tests.reference import long_tail as reference
from tests.reference.class_aware import complaints

COUNTS = (81, 16, 1)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize(
    ("rho", "expected"), [(1.0, [81 / 98, 16 / 98, 1 / 98]), (0.5, [9 / 14, 4 / 14, 1 / 14]), (0.0, [1 / 3] * 3)]
)
def test_powers_of_the_class_size(rho, expected):
    assert power_probabilities(COUNTS, rho).tolist() == pytest.approx(expected, rel=1e-12)


def test_progressive_goes_from_the_datas_shares_to_equal_ones():
    probabilities = progressive_probabilities(COUNTS, 5)
    assert probabilities(0).tolist() == pytest.approx(power_probabilities(COUNTS, 1).tolist(), rel=1e-12)
    assert probabilities(4).tolist() == pytest.approx([1 / 3] * 3, rel=1e-12)
    for epoch in range(5):
        assert probabilities(epoch).tolist() == pytest.approx(reference.progressive(COUNTS, epoch, 4), rel=1e-10)
    assert progressive_probabilities(COUNTS, 1)(0).tolist() == probabilities(0).tolist()


def test_draws_follow_the_probabilities():
    labels = torch.tensor([0] * 81 + [1] * 16 + [2]).repeat(40)
    for rho in (1.0, 0.5, 0.0):
        wanted = power_probabilities(COUNTS, rho)
        batches = drawn_batches(labels, lambda epoch, wanted=wanted: wanted, 64)(0, generator())
        assert [len(batch) for batch in batches[:-1]] == [64] * (len(batches) - 1)
        drawn = torch.cat(batches)
        assert len(drawn) == len(labels)
        shares = torch.bincount(labels[drawn], minlength=3) / len(drawn)
        assert shares.tolist() == pytest.approx(wanted.tolist(), abs=0.03)


def test_images_of_a_class_are_alike():
    labels = torch.tensor([0] * 4 + [1])
    batches = drawn_batches(labels, lambda epoch: power_probabilities((4, 1), 0.0), 4)
    counts = torch.zeros(5)
    for seed in range(400):
        counts += torch.bincount(torch.cat(batches(0, torch.Generator().manual_seed(seed))), minlength=5)
    assert (counts / counts.sum()).tolist() == pytest.approx([0.125] * 4 + [0.5], abs=0.03)


def test_the_epoch_reaches_the_probabilities():
    asked = []
    drawn_batches(torch.tensor([0, 1]), lambda epoch: asked.append(epoch) or torch.ones(2), 2)(7, generator())
    assert asked == [7]


def test_class_aware_batches_are_the_class_aware_order():
    images = tiny_images((9, 4, 1))
    batches = class_aware_batches(images, 4, 8)(0, generator())
    order = torch.cat(batches).tolist()
    classes = [images.indices_of(label).tolist() for label in range(3)]
    assert complaints(order, classes, 4) == []
    assert max(map(len, batches)) == 8
