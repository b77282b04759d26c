import math

import pytest
import torch
from torch import Tensor

from distail.baselines._losses import focal, inverse_frequency_weights, shifted, weighted, with_margins
from distail.training.class_balance import class_balanced_weights, log_prior
from distail.training.technique import Loss, cross_entropy
from tests.reference import long_tail as reference

COUNTS = (50, 20, 4, 1)
LOGITS = 2 * torch.randn(9, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.arange(9) % 4
ROWS = list(zip(LOGITS.tolist(), LABELS.tolist(), strict=True))


def value(loss: Loss, epoch: int = 0) -> float:
    return float(loss(LOGITS, LABELS, epoch))


def exactly(expected: float) -> object:
    return pytest.approx(expected, rel=1e-10, abs=1e-10)


def test_weighted():
    weights = torch.tensor([0.5, 1.0, 2.0, 4.0], dtype=torch.float64)
    expected = sum(float(weights[label]) * reference.cross_entropy(row, label) for row, label in ROWS)
    assert value(weighted(weights)) == exactly(expected)


def test_weights_may_set_in_later():
    loss = weighted(torch.tensor([0.5, 1.0, 2.0, 4.0]), from_epoch=3)
    plain = sum(reference.cross_entropy(row, label) for row, label in ROWS)
    assert value(loss, 2) == exactly(plain)
    assert value(loss, 3) != pytest.approx(plain, rel=1e-3)
    assert value(loss, 7) == value(loss, 3)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal(gamma):
    assert value(focal(gamma)) == exactly(sum(reference.focal(row, label, gamma) for row, label in ROWS))


def test_focal_by_hand():
    """p = ½, so (1 - ½)² log 2."""
    assert float(focal(2.0)(torch.zeros(1, 2), torch.tensor([1]), 0)) == pytest.approx(0.25 * math.log(2))


def test_focal_has_a_slope_where_the_network_is_certain():
    for gamma in (0.5, 1.0, 2.0):
        logits = torch.tensor([[200.0, 0.0]], requires_grad=True)
        focal(gamma)(logits, torch.tensor([0]), 0).backward()
        assert logits.grad is not None
        assert bool(torch.isfinite(logits.grad).all())


def test_balanced_softmax():
    """log π in place of log n: softmax does not see the difference."""
    expected = sum(reference.balanced_softmax(row, label, COUNTS) for row, label in ROWS)
    assert value(shifted(log_prior(COUNTS))) == exactly(expected)


@pytest.mark.parametrize("tau", [0.0, 1.0, 1.7])
def test_logit_adjustment(tau):
    expected = sum(reference.logit_adjusted(row, label, COUNTS, tau) for row, label in ROWS)
    assert value(shifted(tau * log_prior(COUNTS))) == exactly(expected)


def test_balanced_softmax_by_hand():
    """Two classes of 9 and 1 images and equal logits: the small one has probability 1/10."""
    loss = shifted(log_prior((9, 1)))
    assert float(loss(torch.zeros(1, 2), torch.tensor([1]), 0)) == pytest.approx(math.log(10))


def test_margins():
    cosines = (LOGITS / 8).clamp(-1, 1)
    powers = torch.tensor(COUNTS, dtype=torch.float64) ** -0.25
    loss = with_margins(30 * 0.5 * powers / powers.max(), cross_entropy)
    rows = zip(cosines.tolist(), LABELS.tolist(), strict=True)
    expected = sum(reference.ldam(row, label, COUNTS, max_margin=0.5, scale=30) for row, label in rows)
    assert float(loss(30 * cosines, LABELS, 0)) == exactly(expected)


def test_inverse_frequency_by_hand():
    assert inverse_frequency_weights((4, 1)).tolist() == [0.4, 1.6]


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.9999])
def test_class_balanced_weights(beta):
    expected = reference.class_balanced_weights(COUNTS, beta)
    assert class_balanced_weights(COUNTS, beta).tolist() == pytest.approx(expected, rel=1e-5)


EQUAL = (7, 7, 7, 7)


@pytest.mark.parametrize(
    "loss",
    [
        shifted(log_prior(EQUAL)),
        shifted(2.0 * log_prior(EQUAL)),
        weighted(class_balanced_weights(EQUAL, 0.9999)),
        weighted(inverse_frequency_weights(EQUAL)),
        focal(0.0),
    ],
    ids=["balanced softmax", "logit adjustment", "class-balanced", "inverse frequency", "focal, gamma 0"],
)
def test_without_a_tail_it_is_cross_entropy(loss):
    assert value(loss) == pytest.approx(value(cross_entropy), rel=1e-7)


def test_parts_of_a_batch_add_up():
    losses: list[Loss] = [weighted(torch.rand(4)), focal(2.0), shifted(log_prior(COUNTS)), cross_entropy]
    losses.append(with_margins(torch.rand(4), cross_entropy))

    def part(loss: Loss, rows: slice) -> Tensor:
        return loss(LOGITS[rows], LABELS[rows], 0)

    for loss in losses:
        assert float(part(loss, slice(0, 4)) + part(loss, slice(4, 9))) == exactly(value(loss))
