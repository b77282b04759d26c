"""The outer loop of trajectory matching: gradient descent on images, label logits and the student's step size."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from distail.errors import DistailError
from distail.matching.divergence import OVERSHOT, Divergence, Extent, FirstLosses, lower
from distail.matching.settings import MatchingSettings
from distail.matching.sweep import MatchingGradients
from distail.peers import Peers
from distail.problem import Problem, Synthetic, class_major_labels


@dataclass(frozen=True, eq=False)
class Learned:
    """What is learned.

    Attributes:
        images: (n, c, h, w) in preprocessed space, class by class.
        labels: (n, k) logits, or None where the labels stay hard.
        learning_rate: the student's step size, a scalar.
    """

    images: Float[Tensor, "n c h w"]
    labels: Float[Tensor, "n k"] | None
    learning_rate: Float[Tensor, ""]

    def as_first_of(self, peers: Peers) -> Learned:
        """That of the first of the peers, since what each computes itself may differ in the last bits."""
        if peers.size == 1:
            return self
        found = peers.broadcast({"images": self.images, "labels": self.labels, "rate": self.learning_rate})
        labels = None if found["labels"] is None else found["labels"].to(self.images.device)
        assert found["images"] is not None
        assert found["rate"] is not None
        return Learned(found["images"].to(self.images.device), labels, found["rate"].to(self.images.device))

    @property
    def extent(self) -> Extent:
        """How large it is."""
        return Extent.of(self.images, self.labels, self.learning_rate)


@dataclass(frozen=True)
class Descent:
    """Step sizes that the loop needs.

    Attributes:
        name: of the method, for messages.
        iterations: updates.
        settings: those of images and of the student's step size.
        label_lr: SGD step size on the label logits.
        label_momentum: SGD momentum on the label logits.
        threshold: iterations whose matching loss is larger change nothing; None for no threshold.
        ema_decay: the result is the moving average of the images with this decay; 0 for the images themselves.
        step_fields: settings that say how many steps students take, one for each matching loss.
    """

    name: str
    iterations: int
    settings: MatchingSettings
    label_lr: float = 0.0
    label_momentum: float = 0.0
    threshold: float | None = None
    ema_decay: float = 0.0
    step_fields: tuple[str, ...] = ("steps",)

    def advice(self, terms: Sequence[tuple[float, MatchingGradients]], culprits: Sequence[str] = (OVERSHOT,)) -> str:
        """What to lower: these step sizes; where students overshoot, the first one or the steps of the worst loss."""
        if OVERSHOT not in culprits:
            return lower(culprits, self._knobs, "and")
        worst = max(range(len(terms)), key=lambda number: _order(terms[number][1].loss))
        return lower((OVERSHOT, self.step_fields[min(worst, len(self.step_fields) - 1)]), self._knobs, "or")

    @property
    def _knobs(self) -> dict[str, float]:
        names = (OVERSHOT, "image_lr", "learning_rate_lr", *self.step_fields)
        return {"label_lr": self.label_lr, **{name: getattr(self.settings, name) for name in names}}


Objective = Callable[[Learned, int], Sequence[tuple[float, MatchingGradients]]]
"""objective(learned, iteration) -> the matching losses of this iteration with their weights."""


def descend(problem: Problem, descent: Descent, start: Learned, objective: Objective) -> Learned:
    """Runs the loop, resuming from the problem's checkpoint.

    Every state but the last is a function of the one before, so a killed run ends with the same bits. Logs `loss`,
    `learning_rate` and whether the update was `skipped` in each iteration, the failing one included. Says once if the
    first losses are those of students that overshoot.

    Args:
        problem: data, seed, checkpoint, log; it is told the images of `start`.
        descent: step sizes.
        start: before the first iteration.
        objective: must depend on its arguments and the problem alone.

    Raises:
        DistailError: a value is no longer finite, images or labels have left all bounds, or the student's step size is
            no longer positive. The last good state is in the checkpoint.
    """
    start = start.as_first_of(problem.runtime.peers)
    state = _State.resumed(problem, descent, start)
    begun, num_skipped = state.iteration, 0
    first, begin = FirstLosses(begun, descent.iterations), start.extent
    extents = begin, state.learned.extent
    with problem.progress.task(descent.name, descent.iterations, state.iteration) as advance:
        while state.iteration < descent.iterations:
            iteration = state.iteration
            terms = objective(state.learned, iteration)
            loss = sum(weight * term.loss for weight, term in terms)
            idle = sum(weight for weight, _ in terms) or 1.0  # a student that never moved has 1 in each
            skipped = descent.threshold is not None and loss > descent.threshold
            before, state = state, state.after(terms, descent, skipped=skipped)
            figures = {f"loss{number}": term.loss for number, (_, term) in enumerate(terms, 1) if len(terms) > 1}
            rate = float(state.learned.learning_rate)
            problem.log(iteration, loss=loss, **figures, learning_rate=rate, skipped=int(skipped))
            mean, extents = first.add(loss / idle), (extents[1], state.learned.extent)
            if found := Divergence.found(loss / idle, first.lowest, begin, *extents):
                told = f"{found.told(loss, idle, begin)}. {descent.advice(terms, found.culprits)}"
                raise _stopped(problem, before, f"{descent.name}: in iteration {iteration} {told}")
            if mean is not None:
                problem.progress.warn(
                    f"{descent.name}: the matching loss starts at {mean * idle:.3g}; a student that never moved has "
                    f"{idle:g}, and losses should fall below that. {descent.advice(terms)}."
                )
            every = descent.settings.snapshot_every
            if every and state.iteration % every == 0:
                problem.snapshot(state.iteration, synthetic_of(problem, state.result()))
            problem.checkpoint.save(*state.packed())  # last, so that a run killed here leaves out nothing of the above
            advance(loss=loss)
            num_skipped += skipped
    done = descent.iterations - begun
    if num_skipped and num_skipped == done:
        raise DistailError(
            f"{descent.name}: the matching loss was above threshold={descent.threshold:g} in all {done} iterations, so "
            "none changed the set. Lower initial_learning_rate (now "
            f"{descent.settings.initial_learning_rate:g}), or lift the limit with --set threshold=null."
        )
    if num_skipped:
        problem.progress.warn(
            f"{num_skipped} of {done} iterations changed nothing: the loss was above {descent.threshold:g}."
        )
    return state.result()


def synthetic_of(problem: Problem, learned: Learned) -> Synthetic:
    """What was learned, as a method returns it: on the CPU, class by class."""
    labels = class_major_labels(problem.num_classes, problem.images_per_class)
    soft = None if learned.labels is None else learned.labels.cpu()
    return Synthetic(learned.images.cpu(), labels, soft, float(learned.learning_rate))


@dataclass(frozen=True, eq=False)
class _State:
    """Everything that the next iteration depends on."""

    iteration: int
    learned: Learned
    image_velocity: Tensor
    label_velocity: Tensor | None
    rate_velocity: Tensor
    average: Tensor | None

    @staticmethod
    def resumed(problem: Problem, descent: Descent, start: Learned) -> _State:
        labels = start.labels
        fresh = _State(
            iteration=0,
            learned=start,
            image_velocity=torch.zeros_like(start.images),
            label_velocity=None if labels is None else torch.zeros_like(labels),
            rate_velocity=torch.zeros_like(start.learning_rate),
            average=start.images if descent.ema_decay else None,
        )
        saved = problem.checkpoint.load()
        if saved is None:
            problem.begin(start.images)
        state = fresh if saved is None else fresh._unpacked(*saved)
        # Of peers, only the first has the checkpoint.
        return fresh._unpacked(*problem.runtime.peers.broadcast(state.packed()))

    def packed(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {
            "images": self.learned.images,
            "learning_rate": self.learned.learning_rate,
            "image_velocity": self.image_velocity,
            "rate_velocity": self.rate_velocity,
        }
        optional = {"labels": self.learned.labels, "label_velocity": self.label_velocity, "average": self.average}
        tensors |= {name: tensor for name, tensor in optional.items() if tensor is not None}
        return tensors, {"iteration": self.iteration}

    def _unpacked(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> _State:
        found = {name: tensor.to(self.learned.images.device) for name, tensor in tensors.items()}
        learned = Learned(found["images"], found.get("labels"), found["learning_rate"])
        return _State(
            iteration=int(values["iteration"]),
            learned=learned,
            image_velocity=found["image_velocity"],
            label_velocity=found.get("label_velocity"),
            rate_velocity=found["rate_velocity"],
            average=found.get("average"),
        )

    def after(self, terms: Sequence[tuple[float, MatchingGradients]], descent: Descent, *, skipped: bool) -> _State:
        """One step of SGD with momentum on each of the three."""
        if skipped:
            return replace(self, iteration=self.iteration + 1)
        settings, learned = descent.settings, self.learned
        image_velocity = settings.image_momentum * self.image_velocity + _sum(terms, "images")
        images = learned.images - settings.image_lr * image_velocity
        rate_velocity = settings.learning_rate_momentum * self.rate_velocity + _sum(terms, "learning_rate")
        rate = learned.learning_rate - settings.learning_rate_lr * rate_velocity
        labels, label_velocity = learned.labels, self.label_velocity
        if labels is not None and label_velocity is not None:
            label_velocity = descent.label_momentum * label_velocity + _sum(terms, "labels")
            labels = labels - descent.label_lr * label_velocity
        average = self.average
        if average is not None:
            average = descent.ema_decay * average + (1 - descent.ema_decay) * images
        return _State(
            self.iteration + 1, Learned(images, labels, rate), image_velocity, label_velocity, rate_velocity, average
        )

    def result(self) -> Learned:
        """What a run that ends here returns."""
        return self.learned if self.average is None else replace(self.learned, images=self.average)


def _sum(terms: Sequence[tuple[float, MatchingGradients]], name: str) -> Tensor:
    parts = [weight * getattr(term, name) for weight, term in terms]
    return torch.stack(parts).sum(0)


def _order(loss: float) -> float:
    """The loss; that which is no number is the worst."""
    return math.inf if math.isnan(loss) else loss


def _stopped(problem: Problem, last: _State, message: str) -> DistailError:
    """The error of a run that ran away, once its last good state is kept."""
    left = "Nothing was learned yet."
    if last.iteration:
        problem.checkpoint.save(*last.packed(), now=True)
        left = f"What was learned before is kept: `--resume --set iterations={last.iteration}` makes a set of it."
    return DistailError(f"{message}, and start anew with another --out. {left}")
