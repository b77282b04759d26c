"""Distances of statistics, by hand."""

import math

import pytest
import torch

from distail.synthetic.distances import norms, standardised
from distail.synthetic.statistics import Spread


def spread(mean: list[float], variance: list[float]) -> Spread:
    return Spread(torch.tensor(mean), torch.tensor(variance))


def test_norms_add_those_of_means_and_of_variances():
    found, wanted = spread([1.0, 2.0], [4.0, 1.0]), spread([4.0, 6.0], [4.0, 3.0])
    assert float(norms("layer", found, wanted)) == pytest.approx(5 + 2)


def test_standardised_counts_every_number_alike():
    distance = standardised({"layer": spread([0.0, 0.0], [100.0, 0.01])})
    found, wanted = spread([10.0, 0.1], [4.0, 9.0]), spread([0.0, 0.0], [4.0, 9.0])
    assert float(distance("layer", found, wanted)) == pytest.approx(1.0, rel=1e-2)  # one deviation off, both of them
    wider = spread([0.0, 0.0], [144.0, 9.0])
    assert float(distance("layer", wider, wanted)) == pytest.approx((12 - 2) ** 2 / 100 / 2, rel=1e-3)


def test_standardised_takes_classes_by_themselves():
    distance = standardised({"layer": spread([0.0], [1.0])})
    found = Spread(torch.tensor([[1.0], [3.0]]), torch.ones(2, 1))
    wanted = Spread(torch.tensor([[0.0], [0.0]]), torch.ones(2, 1))
    assert float(distance("layer", found, wanted)) == pytest.approx(5.0, rel=1e-4)


def test_dead_channels_give_finite_gradients():
    distance = standardised({"layer": spread([0.0, 1.0], [0.0, 1.0])})
    mean, variance = torch.zeros(2, requires_grad=True), torch.zeros(2, requires_grad=True)
    distance("layer", Spread(mean, variance), spread([0.0, 1.0], [0.0, 1.0])).backward()
    assert all(math.isfinite(value) for tensor in (mean.grad, variance.grad) for value in tensor.tolist())
