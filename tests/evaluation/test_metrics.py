"""Scores against torchmetrics, against plain renderings of their formulas, and by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_calibration_error,
    multiclass_confusion_matrix,
    multiclass_f1_score,
)

from distail.evaluation.metrics import (
    CALIBRATION_BINS,
    SCALAR_SCORES,
    CalibrationBin,
    Summary,
    calibration_bins,
    confusion_matrix,
    expected_calibration_error,
    score_logits,
    summarise,
)
from tests.reference import metrics as reference


def predictions(count: int, num_classes: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random logits, better than chance, and labels in which every class occurs."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.cat(
        [torch.arange(num_classes), torch.randint(0, num_classes, (count - num_classes,), generator=generator)]
    )
    logits = 2 * torch.randn(count, num_classes, generator=generator)
    logits[torch.arange(count), labels] += 1.0
    return logits, labels


@pytest.mark.parametrize(("count", "num_classes", "seed"), [(400, 10, 0), (57, 3, 1), (2, 2, 2), (1000, 100, 3)])
def test_scores_are_those_of_torchmetrics(count, num_classes, seed):
    logits, labels = predictions(count, num_classes, seed)
    scores = score_logits(logits, labels)
    expected = {
        "accuracy": multiclass_accuracy(logits, labels, num_classes, average="micro"),
        "balanced_accuracy": multiclass_accuracy(logits, labels, num_classes, average="macro"),
        "macro_f1": multiclass_f1_score(logits, labels, num_classes, average="macro"),
        "ece": multiclass_calibration_error(
            logits.double().softmax(1), labels, num_classes, n_bins=CALIBRATION_BINS, norm="l1"
        ),
    }
    for name, value in expected.items():
        assert getattr(scores, name) == pytest.approx(float(value), abs=1e-6), name
    per_class = multiclass_accuracy(logits, labels, num_classes, average="none")
    np.testing.assert_allclose(scores.per_class, per_class, atol=1e-6)
    assert scores.confusion == tuple(map(tuple, multiclass_confusion_matrix(logits, labels, num_classes).tolist()))
    assert scores.class_std == pytest.approx(np.std(scores.per_class, ddof=0), abs=1e-12)
    assert CALIBRATION_BINS == 15


@settings(max_examples=30, deadline=None)
@given(num_classes=st.integers(2, 6), extra=st.integers(0, 30), seed=st.integers(0, 10**6))
def test_scores_are_those_of_their_formulas(num_classes, extra, seed):
    logits, labels = predictions(num_classes + extra, num_classes, seed)
    scores = score_logits(logits, labels)
    guesses, truth = logits.argmax(1).tolist(), labels.tolist()
    own = reference.recalls(guesses, truth, num_classes)
    assert scores.per_class == pytest.approx(own, abs=1e-10)
    assert scores.accuracy == sum(a == b for a, b in zip(guesses, truth, strict=True)) / len(truth)
    assert scores.balanced_accuracy == pytest.approx(sum(own) / num_classes, abs=1e-10)
    assert scores.macro_f1 == pytest.approx(reference.macro_f1(guesses, truth, num_classes), abs=1e-10)
    probabilities = logits.double().softmax(1)
    assert scores.ece == pytest.approx(
        reference.calibration_error(probabilities.tolist(), truth, CALIBRATION_BINS), abs=1e-10
    )


def one_hot_logits(guesses: list[int], num_classes: int) -> torch.Tensor:
    return 50 * torch.nn.functional.one_hot(torch.tensor(guesses), num_classes).float()


def test_a_small_case_by_hand():
    #            truth 0: 0 0 1 | truth 1: 1 | truth 2: 0 0
    scores = score_logits(one_hot_logits([0, 0, 1, 1, 0, 0], 3), torch.tensor([0, 0, 0, 1, 2, 2]))
    assert scores.confusion == ((2, 1, 0), (0, 1, 0), (2, 0, 0))
    assert scores.accuracy == 0.5
    assert scores.per_class == pytest.approx((2 / 3, 1, 0))
    assert scores.balanced_accuracy == pytest.approx(5 / 9)
    # F1: 2·2/(4+3), 2·1/(2+1), and 0 for the class that is never predicted.
    assert scores.macro_f1 == pytest.approx((4 / 7 + 2 / 3 + 0) / 3)
    mean = 5 / 9
    assert scores.class_std == pytest.approx(math.sqrt(((2 / 3 - mean) ** 2 + (1 - mean) ** 2 + mean**2) / 3))
    assert scores.ece == pytest.approx(0.5)  # always certain, half of the time right


@pytest.mark.parametrize("guess", [0, 2])
def test_a_class_never_predicted_has_f1_zero(guess):
    scores = score_logits(one_hot_logits([guess] * 6, 3), torch.tensor([0, 1, 2, 0, 1, 2]))
    assert scores.macro_f1 == pytest.approx((2 * 2 / (6 + 2)) / 3)
    assert all(math.isfinite(getattr(scores, name) or 0.0) for name in SCALAR_SCORES)


def test_perfect_and_hopeless():
    truth = [0, 1, 2, 2]
    perfect = score_logits(one_hot_logits(truth, 3), torch.tensor(truth))
    assert (perfect.accuracy, perfect.balanced_accuracy, perfect.class_std, perfect.macro_f1) == (1, 1, 0, 1)
    assert perfect.ece == pytest.approx(0, abs=1e-12)
    hopeless = score_logits(one_hot_logits([1, 2, 0, 0], 3), torch.tensor(truth))
    assert (hopeless.accuracy, hopeless.balanced_accuracy, hopeless.macro_f1) == (0, 0, 0)
    assert hopeless.ece == pytest.approx(1)


@pytest.mark.parametrize("constant", [1e4, -1e4])
def test_only_differences_of_logits_matter(constant):
    logits, labels = predictions(50, 4, 0)
    shifted, scores = score_logits(logits.double() + constant, labels), score_logits(logits.double(), labels)
    assert shifted.confusion == scores.confusion
    assert shifted.ece == pytest.approx(scores.ece, abs=1e-9)


def test_calibration_bins_contain_their_upper_edge():
    # 0.2 = 3/15 belongs to the third bin, together with 0.19; one right, one wrong. In bins of their own the two
    # gaps would add up; together they cancel but for the mean.
    five = torch.tensor([[0.2, 0.2, 0.2, 0.2, 0.2]], dtype=torch.float64)
    assert expected_calibration_error(five, torch.tensor([0])) == pytest.approx(0.8)
    edge = torch.tensor([[0.6, 0.4], [0.59, 0.41]], dtype=torch.float64)  # 0.6 = 9/15
    assert expected_calibration_error(edge, torch.tensor([0, 1])) == pytest.approx(abs(0.595 - 0.5))
    certain = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    assert expected_calibration_error(certain, torch.tensor([0])) == 0


@pytest.mark.parametrize(("count", "num_classes", "seed"), [(400, 10, 0), (57, 3, 1), (2, 2, 2)])
def test_calibration_bins_hold_every_prediction_and_sum_up_to_the_error(count, num_classes, seed):
    logits, labels = predictions(count, num_classes, seed)
    scores = score_logits(logits, labels)
    bins = scores.calibration
    assert bins is not None
    assert (len(bins), sum(one.count for one in bins)) == (CALIBRATION_BINS, count)
    full = [one for one in bins if one.count]
    gaps = [one.count * abs(one.accuracy - one.confidence) for one in full]
    assert sum(gaps) / count == pytest.approx(scores.ece, abs=1e-12)
    assert sum(one.count * one.accuracy for one in full) / count == pytest.approx(scores.accuracy)
    for place, one in enumerate(bins):
        if one.count:
            assert place / 15 < one.confidence <= (place + 1) / 15 + 1e-12


def test_calibration_bins_by_hand():
    probabilities = torch.tensor([[0.6, 0.4], [0.56, 0.44], [0.1, 0.9]], dtype=torch.float64)
    bins = calibration_bins(probabilities, torch.tensor([0, 1, 1]))
    assert (bins[8].count, bins[8].confidence, bins[8].accuracy) == (2, pytest.approx(0.58), 0.5)
    assert (bins[13].count, bins[13].confidence, bins[13].accuracy) == (1, pytest.approx(0.9), 1.0)
    assert [place for place, one in enumerate(bins) if one != CalibrationBin(0, None, None)] == [8, 13]


def test_confusion_counts_truth_in_rows():
    counts = confusion_matrix(torch.tensor([1, 1, 0]), torch.tensor([0, 0, 1]), 3)
    assert counts.tolist() == [[0, 2, 0], [1, 0, 0], [0, 0, 0]]


# Many, medium, few


def shots(train_counts):
    """Recall 1/4, 1/2, 3/4 and 1 of four classes."""
    guesses = [0, 1, 1, 1, 1, 1, 0, 0, 2, 2, 2, 0, 3, 3, 3, 3]
    truth = torch.arange(4).repeat_interleave(4)
    scores = score_logits(one_hot_logits(guesses, 4), truth, train_counts)
    return scores.many, scores.medium, scores.few


@pytest.mark.parametrize(
    ("train_counts", "expected"),
    [
        ((101, 100, 20, 19), (0.25, 0.625, 1.0)),
        ((500, 101, 21, 1), (0.375, 0.75, 1.0)),
        ((100, 100, 100, 100), (None, 0.625, None)),
        ((19, 19, 0, 1), (None, None, 0.625)),
        ((101, 102, 103, 104), (0.625, None, None)),
        (None, (None, None, None)),
    ],
)
def test_many_medium_few_at_their_edges(train_counts, expected):
    assert shots(train_counts) == expected


# Summaries


def test_summaries_use_the_sample_deviation():
    values = [0.1, 0.4, 0.35]
    assert summarise(values).n == 3
    assert summarise(values).mean == pytest.approx(np.mean(values))
    assert summarise(values).std == pytest.approx(np.std(values, ddof=1))
    assert summarise([0.7]) == Summary(1, 0.7, 0.0)
    assert summarise([0.1] * 5) == Summary(5, 0.1, 0.0)
