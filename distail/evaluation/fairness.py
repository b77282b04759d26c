"""How much of a score is the set's merit rather than the recipe's, relative to references under like conditions.

Source: DD-Ranking, arXiv:2505.13300. Accuracies are fractions of one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Fairness:
    """Scores that separate the set from the recipe.

    Attributes:
        hard_label_recovery: accuracy on all real data minus accuracy on the set, both with hard labels; smaller is
            better.
        improvement_over_random: accuracy on the set minus accuracy on as many random real images under the same
            recipe; larger is better.
        label_robust_score: both in one number between 0 and 1, larger is better.
    """

    hard_label_recovery: float
    improvement_over_random: float
    label_robust_score: float


def fairness(real_hard: float, synthetic_hard: float, synthetic_any: float, random_any: float) -> Fairness:
    """Combines four accuracies.

    Args:
        real_hard: trained on the whole real training set with hard labels.
        synthetic_hard: trained on the set with hard labels.
        synthetic_any: trained on the set by the protocol in question.
        random_any: trained on random real images of the same number, by the same protocol.
    """
    recovery = real_hard - synthetic_hard
    improvement = synthetic_any - random_any
    alpha = 0.5 * improvement - 0.5 * recovery
    score = (math.exp(alpha) - math.exp(-1)) / (math.e - math.exp(-1))
    return Fairness(recovery, improvement, score)
