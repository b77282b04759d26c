"""The student's loss against a plain rendering of both forms of distribution-agnostic matching."""

import pytest
import torch
import torch.nn.functional as F
from reference import dam
from torch import Tensor

from distail.errors import DistailError
from distail.matching import InnerLoss

COUNTS = [50, 7, 1, 20]
LOSSES = {
    "plain": InnerLoss.plain(),
    "weighted": InnerLoss.distribution_agnostic(COUNTS, "weighted"),
    "adjusted": InnerLoss.distribution_agnostic(COUNTS, "adjusted", 0.7),
    "both": InnerLoss.distribution_agnostic(COUNTS, "both"),
}
REFERENCE = {"weighted": (True, 0.0), "adjusted": (False, 0.7), "both": (True, 1.0)}


def batch(rows: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    logits, labels = (2 * torch.randn(2, rows, 4, generator=generator, dtype=torch.float64)).unbind()
    return logits, labels, torch.randint(4, (rows,), generator=generator)


@pytest.mark.parametrize("form", REFERENCE)
def test_forms_of_the_paper_and_the_code(form: str) -> None:
    logits, labels, _ = batch()
    weighted, strength = REFERENCE[form]
    expected = dam.loss(labels.tolist(), logits.tolist(), COUNTS, weighted=weighted, strength=strength)
    assert float(LOSSES[form].value(logits, labels)) == pytest.approx(expected, rel=1e-12)


def test_plain_is_cross_entropy() -> None:
    logits, labels, classes = batch()
    torch.testing.assert_close(LOSSES["plain"].value(logits, labels), F.cross_entropy(logits, labels.softmax(1)))
    torch.testing.assert_close(LOSSES["plain"].value(logits, classes), F.cross_entropy(logits, classes))


def test_weights_of_equal_counts_divide_by_the_number_of_classes() -> None:
    logits, labels, _ = batch()
    equal = InnerLoss.distribution_agnostic([9] * 4, "weighted")
    torch.testing.assert_close(equal.value(logits, labels), F.cross_entropy(logits, labels.softmax(1)) / 4)


def test_shifts_of_equal_counts_change_nothing() -> None:
    logits, labels, _ = batch()
    equal = InnerLoss.distribution_agnostic([9] * 4, "adjusted")
    torch.testing.assert_close(equal.value(logits, labels), F.cross_entropy(logits, labels.softmax(1)))


def test_weights_are_class_priors() -> None:
    counts = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    weights = InnerLoss.distribution_agnostic(counts).weights
    assert weights is not None
    assert float(weights.sum()) == pytest.approx(1)
    assert [round(float(weights[k]), 4) for k in (0, 9)] == [0.4030, 0.0040]


@pytest.mark.parametrize("form", LOSSES)
@pytest.mark.parametrize("hard", [False, True])
def test_residual_is_the_gradient_by_logits(form: str, hard: bool) -> None:
    logits, labels, classes = batch()
    leaf = logits.requires_grad_()
    targets = classes if hard else labels
    (expected,) = torch.autograd.grad(LOSSES[form].value(leaf, targets), leaf)
    torch.testing.assert_close(LOSSES[form].residual(leaf, targets), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("form", LOSSES)
def test_parts_of_a_batch_add_up(form: str) -> None:
    logits, labels, _ = batch(6)
    parts = [LOSSES[form].value(logits[rows], labels[rows], 6) for rows in (slice(0, 4), slice(4, 6))]
    torch.testing.assert_close(parts[0] + parts[1], LOSSES[form].value(logits, labels))


@pytest.mark.parametrize("counts", [[], [3, 0, 1]])
def test_every_class_needs_an_image(counts: list[int]) -> None:
    with pytest.raises(DistailError, match="at least one training image of every class"):
        InnerLoss.distribution_agnostic(counts)
