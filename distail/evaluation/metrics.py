"""Scores of predictions on a test set, all as fractions of one."""

from __future__ import annotations

from dataclasses import dataclass, fields
from statistics import mean, stdev

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from distail.data.long_tail import shot_group

CALIBRATION_BINS = 15


@dataclass(frozen=True)
class CalibrationBin:
    """Predictions whose confidence lies in one of equal bins, the bottom edge left out.

    Attributes:
        count: how many there are.
        confidence: their mean confidence; None where there are none.
        accuracy: how many of them are right, as a fraction; None where there are none.
    """

    count: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Scores:
    """How good one network is.

    Attributes:
        accuracy: right answers over all test images.
        balanced_accuracy: mean of the per-class accuracies.
        class_std: population standard deviation of the per-class accuracies; 0 is perfectly even.
        macro_f1: mean over classes of the harmonic mean of precision and recall.
        ece: expected calibration error over 15 equal bins of confidence.
        many, medium, few: mean per-class accuracy over classes with over 100, 20 to 100 and under 20 training
            images; None where there is no such class, or the training counts are unknown.
        per_class: accuracy of each class.
        confusion: (true class, predicted class) counts.
        calibration: the 15 bins that `ece` sums up, of rising confidence; None in files older than them.
    """

    accuracy: float
    balanced_accuracy: float
    class_std: float
    macro_f1: float
    ece: float
    many: float | None
    medium: float | None
    few: float | None
    per_class: tuple[float, ...]
    confusion: tuple[tuple[int, ...], ...]
    calibration: tuple[CalibrationBin, ...] | None = None


_NOT_SCALAR = ("per_class", "confusion", "calibration")
SCALAR_SCORES = tuple(field.name for field in fields(Scores) if field.name not in _NOT_SCALAR)


@dataclass(frozen=True)
class Summary:
    """One score over several runs: their number, mean, and sample standard deviation (0 for a single run)."""

    n: int
    mean: float
    std: float


def score_logits(
    logits: Float[Tensor, "n k"], labels: Int64[Tensor, " n"], train_counts: tuple[int, ...] | None = None
) -> Scores:
    """Scores predictions against the truth.

    Args:
        logits: unnormalised class scores; softmax of them is the confidence that calibration is about.
        labels: true classes; every class must occur.
        train_counts: images of each class in the training data, which define many, medium and few.
    """
    confusion = confusion_matrix(logits.argmax(dim=1), labels, logits.shape[1])
    hits = confusion.diagonal().double()
    recall = hits / confusion.sum(dim=1)
    shots = _shot_means(recall, train_counts)
    probabilities = logits.double().softmax(dim=1)
    return Scores(
        accuracy=float(hits.sum() / confusion.sum()),
        balanced_accuracy=float(recall.mean()),
        class_std=float(recall.std(correction=0)),
        macro_f1=float((2 * hits / (confusion.sum(dim=0) + confusion.sum(dim=1))).mean()),
        ece=expected_calibration_error(probabilities, labels),
        many=shots["many"],
        medium=shots["medium"],
        few=shots["few"],
        per_class=tuple(recall.tolist()),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        calibration=calibration_bins(probabilities, labels),
    )


def confusion_matrix(
    predictions: Int64[Tensor, " n"], labels: Int64[Tensor, " n"], num_classes: int
) -> Int64[Tensor, "k k"]:
    """Counts of (true class, predicted class)."""
    flat = torch.bincount(labels * num_classes + predictions, minlength=num_classes**2)
    return flat.reshape(num_classes, num_classes)


def expected_calibration_error(probabilities: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]) -> float:
    """Mean gap between confidence and accuracy over 15 equal bins, weighted by their size.

    Source: Guo et al., ICML 2017, arXiv:1706.04599.
    """
    binned = _binned(probabilities, labels)
    gaps = binned.sums(binned.confidence.double() - binned.right)
    return float(gaps.abs().sum() / len(labels))


def calibration_bins(probabilities: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]) -> tuple[CalibrationBin, ...]:
    """The 15 equal bins of confidence: how many predictions lie in each, and how many of these are right.

    Source: Guo et al., ICML 2017, arXiv:1706.04599, the reliability diagram.
    """
    binned = _binned(probabilities, labels)
    counts = torch.bincount(binned.bins, minlength=CALIBRATION_BINS).tolist()
    confidence, right = binned.sums(binned.confidence.double()).tolist(), binned.sums(binned.right).tolist()
    return tuple(
        CalibrationBin(count, certain / count, hits / count) if count else CalibrationBin(0, None, None)
        for count, certain, hits in zip(counts, confidence, right, strict=True)
    )


@dataclass(frozen=True, eq=False)
class _Binned:
    """Predictions by how certain they are.

    Attributes:
        bins: which bin each lies in.
        confidence: of each, 0 to 1.
        right: 1 where it is, else 0.
    """

    bins: Int64[Tensor, " n"]
    confidence: Float[Tensor, " n"]
    right: Float[Tensor, " n"]

    def sums(self, values: Float[Tensor, " n"]) -> Float[Tensor, " bins"]:
        """The sum of a value of each prediction, bin by bin."""
        return torch.zeros(CALIBRATION_BINS, dtype=torch.float64).index_add(0, self.bins, values)


def _binned(probabilities: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]) -> _Binned:
    confidence, prediction = probabilities.max(dim=1)
    edges = torch.linspace(0, 1, CALIBRATION_BINS + 1, dtype=confidence.dtype)
    bins = (torch.bucketize(confidence, edges) - 1).clamp(0, CALIBRATION_BINS - 1)
    return _Binned(bins, confidence, (prediction == labels).double())


def summarise(values: list[float]) -> Summary:
    """n, mean and sample standard deviation."""
    return Summary(len(values), mean(values), stdev(values) if len(values) > 1 else 0.0)


def _shot_means(recall: Float[Tensor, " k"], train_counts: tuple[int, ...] | None) -> dict[str, float | None]:
    groups: dict[str, list[float]] = {"many": [], "medium": [], "few": []}
    for label, count in enumerate(train_counts or ()):
        groups[shot_group(count)].append(float(recall[label]))
    return {name: mean(values) if values else None for name, values in groups.items()}
