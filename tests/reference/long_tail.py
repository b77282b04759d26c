"""Losses and class probabilities of long-tailed learning as the papers write them, one image and class at a time."""

import math
from collections.abc import Sequence

Row = Sequence[float]


def softmax(logits: Row) -> list[float]:
    total = sum(math.exp(logit) for logit in logits)
    return [math.exp(logit) / total for logit in logits]


def cross_entropy(logits: Row, label: int) -> float:
    return -math.log(softmax(logits)[label])


def focal(logits: Row, label: int, gamma: float) -> float:
    """Lin et al., arXiv:1708.02002, equation 4."""
    p = softmax(logits)[label]
    return -((1 - p) ** gamma) * math.log(p)


def balanced_softmax(logits: Row, label: int, counts: Sequence[int]) -> float:
    """Ren et al., arXiv:2007.10740, equation 4."""
    total = sum(count * math.exp(logit) for count, logit in zip(counts, logits, strict=True))
    return -math.log(counts[label] * math.exp(logits[label]) / total)


def logit_adjusted(logits: Row, label: int, counts: Sequence[int], tau: float) -> float:
    """Menon et al., arXiv:2007.07314, equation 10."""
    shares = [count / sum(counts) for count in counts]
    own = logits[label] + tau * math.log(shares[label])
    total = sum(math.exp(logit + tau * math.log(share)) for logit, share in zip(logits, shares, strict=True))
    return -math.log(math.exp(own) / total)


def ldam(cosines: Row, label: int, counts: Sequence[int], max_margin: float, scale: float) -> float:
    """Cao et al., arXiv:1906.07413, equation 13, of cosines."""
    largest = max(count**-0.25 for count in counts)
    margins = [max_margin * count**-0.25 / largest for count in counts]
    moved = [scale * (cosine - margins[c] * (c == label)) for c, cosine in enumerate(cosines)]
    return cross_entropy(moved, label)


def class_balanced_weights(counts: Sequence[int], beta: float) -> list[float]:
    """Cui et al., arXiv:1901.05555, equation 3, scaled to sum C."""
    raw = [(1 - beta) / (1 - beta**count) for count in counts]
    return [len(counts) * weight / sum(raw) for weight in raw]


def progressive(counts: Sequence[int], epoch: int, last: int) -> list[float]:
    """Kang et al., arXiv:1910.09217, equation 2, with the last epoch balanced."""
    t = epoch / last
    return [(1 - t) * count / sum(counts) + t / len(counts) for count in counts]
