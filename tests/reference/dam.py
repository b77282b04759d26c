"""Losses of distribution-agnostic matching, one image and one class at a time, in float64.

Zhao et al., Distilling Long-tailed Datasets (LAD), CVPR 2025: the released code's prior-weighted cross-entropy, the
shifted logits of the text, and both at once (the code's 'BFLoss').
"""

import math
from collections.abc import Sequence


def softmax(row: Sequence[float]) -> list[float]:
    largest = max(row)
    powers = [math.exp(number - largest) for number in row]
    return [power / sum(powers) for power in powers]


def cross_entropy(probabilities: Sequence[float], logits: Sequence[float], weights: Sequence[float]) -> float:
    guessed = softmax(logits)
    return sum(-w * q * math.log(p) for w, q, p in zip(weights, probabilities, guessed, strict=True))


def loss(
    label_logits: Sequence[Sequence[float]],
    logits: Sequence[Sequence[float]],
    counts: Sequence[int],
    *,
    weighted: bool,
    strength: float,
) -> float:
    """`strength` 0 leaves the logits alone; the text and 'BFLoss' take z_k − strength · log(n_k / N)."""
    prior = [count / sum(counts) for count in counts]
    weights = prior if weighted else [1.0] * len(counts)
    total = 0.0
    for label, row in zip(label_logits, logits, strict=True):
        shifted = [z - strength * math.log(p) for z, p in zip(row, prior, strict=True)]
        total += cross_entropy(softmax(label), shifted, weights)
    return total / len(logits)
