"""Scores written out, one prediction at a time, in Python floats.

Calibration: Guo et al., arXiv:1706.04599, equation 3. Fairness: DD-Ranking, arXiv:2505.13300, with weight one half.
"""

import math
from collections.abc import Sequence


def recalls(predicted: Sequence[int], truth: Sequence[int], num_classes: int) -> list[float]:
    found = []
    for label in range(num_classes):
        own = [guess for guess, true in zip(predicted, truth, strict=True) if true == label]
        found.append(sum(guess == label for guess in own) / len(own))
    return found


def macro_f1(predicted: Sequence[int], truth: Sequence[int], num_classes: int) -> float:
    total = 0.0
    for label, recall in enumerate(recalls(predicted, truth, num_classes)):
        claimed = [true for guess, true in zip(predicted, truth, strict=True) if guess == label]
        precision = sum(true == label for true in claimed) / len(claimed) if claimed else 0.0
        total += 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return total / num_classes


def calibration_error(probabilities: Sequence[Sequence[float]], truth: Sequence[int], num_bins: int) -> float:
    error = 0.0
    for number in range(num_bins):
        low, high = number / num_bins, (number + 1) / num_bins
        rows = [(row, true) for row, true in zip(probabilities, truth, strict=True) if low < max(row) <= high]
        if rows:
            confidence = sum(max(row) for row, _ in rows) / len(rows)
            accuracy = sum(list(row).index(max(row)) == true for row, true in rows) / len(rows)
            error += len(rows) / len(truth) * abs(accuracy - confidence)
    return error


def label_robust_score(recovery: float, improvement: float, weight: float = 0.5) -> float:
    alpha = weight * improvement - (1 - weight) * recovery
    return (math.exp(alpha) - math.exp(-1)) / (math.exp(1) - math.exp(-1))
