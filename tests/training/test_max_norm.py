import pytest
import torch

from distail.training.max_norm import longest_row, shortened_rows

WEIGHT = torch.tensor([[3.0, 4.0], [0.0, 1.0], [0.6, 0.8], [0.0, 0.0]])


def test_the_bound_lies_between_the_shortest_and_the_longest_row():
    assert longest_row(WEIGHT[:3], 0.0) == 1.0
    assert longest_row(WEIGHT[:3], 1.0) == 5.0
    assert longest_row(WEIGHT[:3], 0.1) == pytest.approx(1.4)


def test_only_rows_beyond_the_bound_are_cut_to_it():
    cut = shortened_rows(WEIGHT, 2.0)
    torch.testing.assert_close(cut[0], torch.tensor([1.2, 1.6]))
    assert torch.equal(cut[1:], WEIGHT[1:])
