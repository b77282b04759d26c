"""Global and local mixture consistency, one image and one class at a time, in float64.

Du et al., CVPR 2023, arXiv:2305.08661: released code (`still="projection"`), and as RLDD prints it ("prediction").
"""

import math
from collections.abc import Sequence

Vector = Sequence[float]
View = tuple[Vector, Vector, Vector, Vector]
"""Plain logits, re-balanced logits, projection z, prediction p."""


def cosine(a: Vector, b: Vector) -> float:
    lengths = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / lengths


def cross_entropy(logits: Vector, label: Vector, weights: Vector) -> float:
    total = sum(math.exp(number) for number in logits)
    return sum(-w * y * math.log(math.exp(z) / total) for w, y, z in zip(weights, label, logits, strict=True))


def label_weights(counts: Sequence[int], exponent: float, total: float) -> list[float]:
    """(n_k / N)^-q, scaled to add up to `total`."""
    powers = [(count / sum(counts)) ** -exponent for count in counts]
    return [total * power / sum(powers) for power in powers]


def loss(
    first: View,
    second: View,
    label: Vector,
    weights: Vector,
    epoch: int,
    epochs: int,
    still: str,
    consistency: float,
    debias: float,
) -> float:
    """Of one image."""
    if still == "projection":
        apart = -cosine(first[3], second[2]) - cosine(second[3], first[2])
    else:
        apart = -cosine(first[2], second[3]) - cosine(second[2], first[3])
    alpha = (epoch / epochs) ** 2
    equal = [1.0] * len(label)
    plain = sum(cross_entropy(view[0], label, equal) for view in (first, second))
    balanced = sum(cross_entropy(view[1], label, weights) for view in (first, second))
    return consistency * apart + debias * ((1 - alpha) * plain + alpha * balanced)
