"""Where the outer loop of trajectory matching runs away: that it does, which step size did it, and what to do.

Losses here are relative to that of a student that never moved: 1 is no progress, more is a student that overshoots.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from torch import Tensor

_LIMIT = 100
"""Images or labels this many times as large as at the start are none any more. Sane runs on CIFAR-10-LT stay below 3
times, and the wildest that still learn, on a handful of images, below 20."""
_IMAGE_SCALE = 1.0
"""Preprocessed images are of this order; black ones, of largest value 0, may grow as well."""
_LABEL_SCALE = 10.0
"""Logits of trained networks are of this order; uniform labels, all 0, may grow as well."""
_GROWN = 2
"""Factor from which a value counts as grown."""
_HIGH = 1.5
"""Loss from which a student overshoots; noise of the augmentation and of the start epoch stays below."""
_FAR = 10
"""Loss whose gradients are too large for any step size."""
_FIRST = 10
"""Iterations over which the first losses are judged."""
_FALLING = 0.9
"""Mean of the second half of them, relative to the first, below which they fall."""

OVERSHOT = "initial_learning_rate"
"""What to lower where the student overshoots before anything was learned."""


@dataclass(frozen=True)
class Extent:
    """How large what is learned is.

    Attributes:
        learning_rate: the student's step size η.
        images: largest absolute value, in preprocessed space.
        labels: largest absolute logit, or None where the labels stay hard.
    """

    learning_rate: float
    images: float
    labels: float | None

    @staticmethod
    def of(images: Tensor, labels: Tensor | None, learning_rate: Tensor) -> Extent:
        """The extent of these; NaN where a value is NaN."""
        largest = None if labels is None else float(labels.abs().max())
        return Extent(float(learning_rate), float(images.abs().max()), largest)

    def growth(self, start: Extent) -> dict[str, float]:
        """How many times as large each is as at the start, by the step size that moves it."""
        found = {
            "learning_rate_lr": self.learning_rate / start.learning_rate,
            "image_lr": self.images / max(start.images, _IMAGE_SCALE),
        }
        if self.labels is not None and start.labels is not None:
            found["label_lr"] = self.labels / max(start.labels, _LABEL_SCALE)
        return found


@dataclass(frozen=True)
class Divergence:
    """What ran away.

    Attributes:
        culprits: step sizes to lower; `OVERSHOT` alone where the student overshoots.
        extent: in which it shows.
    """

    culprits: tuple[str, ...]
    extent: Extent

    @staticmethod
    def found(loss: float, lowest: float, start: Extent, before: Extent, after: Extent) -> Divergence | None:
        """Judges one update by what changed; None where it is sound.

        A loss that is too high or not finite spoils all gradients at once, so what came before it is to blame: what
        has grown by then, or, if nothing has, the student's first step size. Otherwise the update itself is.

        Args:
            loss: of this iteration.
            lowest: loss of all iterations so far, this one included.
            start: before the first iteration.
            before, after: on both sides of the update.
        """
        left = _out_of_bounds(start, after)
        if math.isfinite(loss) and not left:
            return None
        if loss <= (_HIGH if left == ("learning_rate_lr",) else _FAR):
            return Divergence(left, after)
        grown = () if lowest > _HIGH else _grown(before.growth(start))
        return Divergence(grown or (OVERSHOT,), before)

    def told(self, loss: float, idle: float, start: Extent) -> str:
        """What happened, as the end of a sentence.

        Args:
            loss: of the iteration, as it is logged.
            idle: such a loss of a student that never moved.
            start: before the first iteration.
        """
        if OVERSHOT in self.culprits:
            return f"the student overshot: the matching loss is {loss:g}, and {idle:g} for one that never moved"
        values = {
            "learning_rate_lr": ("the student's step size", start.learning_rate, self.extent.learning_rate),
            "image_lr": ("the largest value of the images", start.images, self.extent.images),
            "label_lr": ("the largest label logit", start.labels, self.extent.labels),
        }
        changes = (values[culprit] for culprit in self.culprits)
        told = " and ".join(f"{name} went from {then:g} to {now:g}" for name, then, now in changes)
        return f"{told}, with a matching loss of {loss:g}"


class FirstLosses:
    """Watches whether losses begin too high."""

    def __init__(self, begun: int, iterations: int) -> None:
        self._first: list[float] = []
        self._window = min(_FIRST, iterations) if begun == 0 else 0
        self.lowest = math.inf if begun == 0 else 0.0
        """Of all so far; 0 where a run was taken up, which must have learned something."""

    def add(self, loss: float) -> float | None:
        """The mean of the first losses where this completes them, and they are high and do not fall; else None."""
        self.lowest = min(self.lowest, loss)
        if len(self._first) >= self._window:
            return None
        self._first.append(loss)
        if len(self._first) < self._window:
            return None
        half = (self._window + 1) // 2
        mean = fmean(self._first)
        falls = fmean(self._first[-half:]) < _FALLING * fmean(self._first[:half])
        return mean if mean > _HIGH and not falls else None


def lower(names: Sequence[str], knobs: Mapping[str, float], joined_by: str) -> str:
    """'Lower image_lr (now 100) and label_lr (now 2)'."""
    return "Lower " + f" {joined_by} ".join(f"{name} (now {knobs[name]:g})" for name in names)


def _out_of_bounds(start: Extent, now: Extent) -> tuple[str, ...]:
    """The step sizes of what is no longer finite or far too large, and of a step size of the student below zero."""
    growth = now.growth(start)
    rate = growth.pop("learning_rate_lr")
    left = [name for name, factor in growth.items() if not factor <= _LIMIT]  # NaN is out of bounds
    return (*left, *(() if 0 < rate < math.inf else ("learning_rate_lr",)))


def _grown(growth: Mapping[str, float]) -> tuple[str, ...]:
    """What has grown, and not much less than that which has grown most."""
    most = max(growth.values())
    return tuple(name for name, factor in growth.items() if factor >= max(_GROWN, most / 10))
