import pytest
import torch

from distail.training.validation import balanced_accuracy


def test_small_classes_count_like_large_ones():
    labels = torch.tensor([0] * 8 + [1] * 2)
    assert balanced_accuracy(torch.zeros(10, dtype=torch.int64), labels) == 0.5
    assert balanced_accuracy(labels, labels) == 1.0


def test_classes_that_are_not_there_do_not_count():
    predicted, labels = torch.tensor([0, 2, 2, 1]), torch.tensor([0, 0, 2, 2])
    assert balanced_accuracy(predicted, labels) == pytest.approx(0.5)
