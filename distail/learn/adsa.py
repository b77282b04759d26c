"""ADSA: soft labels that a long tail has biased, made fair by one number.

p(y | x; τ) ∝ exp(z_y - τ log π_y), where π are the class shares of the long-tailed training set. τ* makes the mean
confidence in the right class, over the distilled images of each class, as equal between classes as it can be:

    conf_i(τ) = mean over images x of class i of p(i | x; τ),   τ* = argmin_τ std_i conf_i(τ)

τ is one of a grid from 0, the smallest of several. Nothing is trained.

Source: NeurIPS 2025, arXiv:2511.17914. Ours are the grid and its bound: the deviation also shrinks where a large τ
    gives every image to the smallest class, so that all confidences collapse together. For the same reason every τ is
    passed over whose mean confidence is less than half of the largest on the grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from distail.errors import DistailError
from distail.models.logit_changes import with_shifted_logits
from distail.models.saved import SavedNetwork
from distail.training.class_balance import log_prior

TAUS = tuple(step / 100 for step in range(301))
"""What is tried: 0 to 3 in steps of 0.01."""
COLLAPSED = 0.5
"""Share of the largest mean confidence below which all confidences count as collapsed."""
_EQUAL = 1e-12
"""Deviations that differ by less differ by rounding."""


@dataclass(frozen=True)
class Confidence:
    """How certain labels are of the right class.

    Attributes:
        by_class: mean probability of the right class; None of a class without images.
        agreement: share of the images whose largest label is the right class.
    """

    by_class: tuple[float | None, ...]
    agreement: float

    @property
    def present(self) -> tuple[float, ...]:
        """Those of classes with images."""
        return tuple(value for value in self.by_class if value is not None)

    @property
    def mean(self) -> float:
        """Over the classes with images."""
        return sum(self.present) / len(self.present)

    @property
    def deviation(self) -> float:
        """Population standard deviation over the classes with images."""
        return math.sqrt(sum((value - self.mean) ** 2 for value in self.present) / len(self.present))


def confidence(logits: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]) -> Confidence:
    """How certain labels are of the right class, class by class.

    Args:
        logits: of the soft labels.
        labels: the right classes.
    """
    right = logits.softmax(dim=1).gather(1, labels[:, None]).squeeze(1).double()
    counts = torch.bincount(labels, minlength=logits.shape[1])
    sums = torch.zeros(logits.shape[1], dtype=torch.float64, device=logits.device).index_add(0, labels, right)
    means = tuple(total / count if count else None for total, count in zip(sums.tolist(), counts.tolist(), strict=True))
    return Confidence(means, float((logits.argmax(dim=1) == labels).double().mean()))


def fair_tau(
    logits: Float[Tensor, "n k"],
    labels: Int64[Tensor, " n"],
    class_counts: Sequence[int],
    taus: Sequence[float] = TAUS,
) -> float:
    """τ*, the smallest of several.

    Args:
        logits: soft labels of the distilled images.
        labels: their classes; classes without images are left out of the deviation.
        class_counts: images of each class in the long-tailed training set.
        taus: what is tried.

    Raises:
        DistailError: counts and logits disagree, a class had no training image, a logit is not finite, or fewer than
            two classes have distilled images.
    """
    prior = _log_prior(logits.shape[1], class_counts)
    if not bool(torch.isfinite(logits).all()):
        raise DistailError("Soft labels are NaN or infinite. Make them again; see the network that they are from.")
    if len(labels.unique()) < 2:
        raise DistailError(
            "ADSA makes classes equally certain, but fewer than two of them have distilled images. Use a set with "
            "images of several classes."
        )
    exact, labels = logits.detach().cpu().double(), labels.cpu()  # not every device has float64
    found = [(tau, confidence(exact - tau * prior, labels)) for tau in taus]
    enough = COLLAPSED * max(one.mean for _, one in found)
    stable = [(tau, one.deviation) for tau, one in found if one.mean >= enough]
    least = min(deviation for _, deviation in stable)
    return min(tau for tau, deviation in stable if deviation <= least + _EQUAL)


def fair_logits(logits: Float[Tensor, "n k"], class_counts: Sequence[int], tau: float) -> Float[Tensor, "n k"]:
    """z - τ log π: soft labels as they are at τ, in the precision of `logits`.

    Raises:
        DistailError: counts and logits disagree, or a class had no training image.
    """
    shift = tau * _log_prior(logits.shape[1], class_counts)
    return (logits.cpu().double() - shift).to(logits)


def fair_teacher(teacher: SavedNetwork, class_counts: Sequence[int], tau: float) -> SavedNetwork:
    """The same for a teacher in the loop: a copy whose classifier's bias holds - τ log π.

    Raises:
        DistailError: its classifier is not linear, or counts and classes disagree.
    """
    shift = -tau * _log_prior(len(teacher.class_names), class_counts)
    return with_shifted_logits(teacher, shift, who="ADSA", provenance={"adsa": {"tau": tau}})


def _log_prior(num_classes: int, class_counts: Sequence[int]) -> Float[Tensor, " k"]:
    """log π."""
    if len(class_counts) != num_classes:
        raise DistailError(
            f"There are image counts of {len(class_counts)} classes, but labels of {num_classes}. Name the training "
            "data of the set."
        )
    if min(class_counts) < 1:
        raise DistailError(
            f"Class {list(class_counts).index(min(class_counts))} has no training image, so its share has no "
            "logarithm. Use training data with images of every class."
        )
    return log_prior(tuple(class_counts))
