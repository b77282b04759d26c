"""Recovery: images whose views a trained network classifies as their class, with layer statistics like real images.

Adam descends, for every batch of images, on
    CE(f(x̃), y) + r Σ_l a_l Σ_t w_t (‖m_t − m̂_l‖ + ‖v_t − v̂_l‖)
over views x̃ of them; l runs over what is looked at in the network f, a_l is larger for its first layer, (m_t, v_t) are
targets with weights w_t, and (m̂, v̂) those of the views, smoothed over the iterations:
    m̂ = s + m − stop(m),  s ← α s + (1 − α) stop(m),  from the first m on,
whose value is the running mean and whose gradient that of the batch alone. Instead of the statistics of a whole batch,
those of each class in it can be compared, and by another distance (`Recovery`). Pixels stay in 0..1 after every step.
Batches do not know of each other: Adam treats pixels one by one, and every batch has running means of its own.

Source: Yin et al., SRe2L, NeurIPS 2023, arXiv:2306.13092; Shao et al., EDC, NeurIPS 2024, arXiv:2404.13733 (several
networks in turn, smoothing, several targets).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from distail.config import Config
from distail.data.preprocess import Preprocessing
from distail.models import Network
from distail.models.embedding import wide
from distail.problem import Load, Problem, Work, class_major_labels
from distail.synthetic.distances import Distance, norms
from distail.synthetic.image_state import ImageState, divergence
from distail.synthetic.layer_inputs import LayerKind, at_rest, layers_of_kind, watched
from distail.synthetic.statistics import Spread, Statistics, arranged, spread_of
from distail.synthetic.views import ViewKind, random_views

_GRAPHS = 3
"""Of the network, of its statistics, and fp32 copies of what they are taken of: a ConvNet-3 with batch norm took 2.4
(fp32) and 3.9 (bf16) times its layer outputs for 100 images."""


class RecoverySettings(Config):
    """Fields of the methods that recover images from trained networks."""

    iterations: int = Field(default=75, ge=1)
    """Updates of every image (EDC, RLDD: 75 for CIFAR-10, 2,000 for CIFAR-100 and Tiny-ImageNet)."""
    batch_size: int = Field(default=100, ge=1)
    """Images that share their statistics (paper: 100)."""
    image_lr: float = Field(default=0.05, gt=0)
    """Adam's step size on the preprocessed images, with cosine decay to zero (EDC, RLDD: 0.05)."""
    statistics_weight: float = Field(default=0.01, ge=0)
    """r, weight of the distance of statistics beside the cross-entropy (paper: 0.01)."""
    first_layer_weight: float = Field(default=10.0, ge=0)
    """a of the first layer that is looked at; 1 for all others (paper: 10)."""
    smallest_crop: float = Field(default=0.08, gt=0, le=1)
    """Smallest share of an image's area in views of the kind 'resized' (paper: 0.08)."""


@dataclass(frozen=True, eq=False)
class Target:
    """Statistics that images are to have, for a network and a batch.

    Attributes:
        weight: of their distance.
        of: from the batch's labels to the statistics.
    """

    weight: float
    of: Callable[[Int64[Tensor, " b"]], Statistics]


@dataclass(frozen=True, eq=False)
class Observer:
    """A trained network, what is looked at in it, and what should be seen.

    Attributes:
        network: on the device.
        kinds: of its layers that are looked at.
        targets: statistics wanted there.
    """

    network: Network
    kinds: tuple[LayerKind, ...]
    targets: tuple[Target, ...]


@dataclass(frozen=True, eq=False)
class Recovery:
    """What is descended on.

    Attributes:
        name: of the method, for messages and random numbers.
        settings: of the method.
        view: kind of the random views.
        smoothing: α; 0 takes the statistics of the batch as they are.
        observers: take turns, one an iteration.
        batches: positions of the images of each batch; every image is in one.
        by_class: whether statistics are those of each class in a batch, as the targets' then are.
        distance: from a statistic to what is wanted.
        betas: Adam's; those of all released code unless told otherwise.
    """

    name: str
    settings: RecoverySettings
    view: ViewKind
    smoothing: float
    observers: Sequence[Observer]
    batches: Sequence[Tensor]
    by_class: bool = False
    distance: Distance = norms
    betas: tuple[float, float] = (0.5, 0.9)


Running = dict[tuple[int, int], Statistics]
"""Smoothed statistics, by batch and observer."""


def recovery_work(problem: Problem, settings: RecoverySettings, architectures: Sequence[str]) -> Work:
    """Every image passes forward and backward in each iteration, through the networks in turn."""
    num_images = problem.num_classes * problem.images_per_class
    cost = sum(problem.relative_cost(architecture) for architecture in architectures) / len(architectures)
    batch = min(settings.batch_size, num_images)
    loads = tuple(Load(batch, graphs=_GRAPHS, architecture=architecture) for architecture in architectures)
    return Work(forward_backward=int(settings.iterations * num_images * cost), loads=loads)


def recover(
    problem: Problem, recovery: Recovery, start: Callable[[], Float[Tensor, "n c h w"]]
) -> Float[Tensor, "n c h w"]:
    """Descends from `start`, or from the problem's checkpoint. Logs `loss`, and its parts, of each iteration.

    Args:
        problem: seed, preprocessing and hardware.
        recovery: what is descended on.
        start: makes the initial images, class by class; not called where there is a checkpoint.

    Raises:
        DistailError: the loss or the images are no longer finite. The last good state is in the checkpoint.
    """
    settings, total = recovery.settings, recovery.settings.iterations
    state, running = _resumed(problem, recovery, start)
    labels = class_major_labels(problem.num_classes, problem.images_per_class).to(problem.runtime.device)
    descent = _Descent(problem, recovery, labels)
    with ExitStack() as stack:
        for observer in recovery.observers:
            stack.enter_context(at_rest(observer.network))
        advance = stack.enter_context(problem.progress.task(recovery.name, total, state.iteration))
        while state.iteration < total:
            iteration = state.iteration
            rate = settings.image_lr * (1 + math.cos(math.pi * iteration / total)) / 2
            gradient, after_running, figures = descent.gradient(state.images, running, iteration)
            after = state.moved_by_adam(gradient, rate, recovery.betas)
            if not after.is_finite(figures["loss"]):
                problem.checkpoint.save(*_packed(state, running), now=True)
                raise divergence(
                    recovery.name, figures["loss"], iteration, settings.image_lr, iterations_stand_alone=False
                )
            images = within_pixels(after.images, problem.preprocessing)
            state, running = replace(after, images=images, iteration=iteration + 1), after_running
            problem.log(iteration, **figures)
            problem.checkpoint.save(*_packed(state, running))
            advance(loss=figures["loss"])
    return state.images


def within_pixels(images: Float[Tensor, "n c h w"], preprocessing: Preprocessing) -> Float[Tensor, "n c h w"]:
    """Preprocessed images, moved to the nearest whose pixels lie in 0..1."""
    return preprocessing.apply(preprocessing.invert(images).clamp(0, 1))


@dataclass(frozen=True, eq=False)
class _Descent:
    """Gradients of a recovery.

    Attributes:
        problem, recovery: what is descended on.
        labels: of all images.
        wanted: weights and statistics of the targets by batch and observer, reckoned once.
    """

    problem: Problem
    recovery: Recovery
    labels: Int64[Tensor, " n"]
    wanted: dict[tuple[int, int], list[tuple[float, Statistics]]] = field(default_factory=dict)

    def gradient(
        self, images: Float[Tensor, "n c h w"], running: Running, iteration: int
    ) -> tuple[Float[Tensor, "n c h w"], Running, dict[str, float]]:
        """By all images, with the running statistics afterwards and the mean losses of all batches."""
        recovery, running = self.recovery, dict(running)
        turn = iteration % len(recovery.observers)
        whole = torch.zeros_like(images)
        names, found_losses = ("loss", "cross_entropy", "statistics"), []
        for number, batch in enumerate(recovery.batches):
            generator = self.problem.generator(recovery.name, "views", iteration, number)
            batch = batch.to(images.device)
            leaf = images[batch].detach().requires_grad_()
            views = random_views(leaf, recovery.view, recovery.settings.smallest_crop, generator)
            labels, smoothed = self.labels[batch], running.get((number, turn), {})
            cross_entropy, distance, running[number, turn] = self._losses((number, turn), views, labels, smoothed)
            loss = cross_entropy + recovery.settings.statistics_weight * distance
            (found,) = torch.autograd.grad(loss, leaf)
            whole[batch] = found
            losses = torch.stack([loss.detach(), cross_entropy.detach(), distance.detach()])
            found_losses.append(losses * (len(batch) / len(images)))
        # Read once an iteration, since a GPU waits each time.
        return whole, running, dict(zip(names, torch.stack(found_losses).sum(dim=0).tolist(), strict=True))

    def _losses(
        self,
        place: tuple[int, int],
        views: Float[Tensor, "b c h w"],
        labels: Int64[Tensor, " b"],
        smoothed: Statistics,
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""], Statistics]:
        """Cross-entropy, distance of statistics, and the running ones afterwards."""
        observer = self.recovery.observers[place[1]]
        layers = layers_of_kind(observer.network, observer.kinds)
        first, alpha = next(iter(layers), ""), self.recovery.smoothing
        if place not in self.wanted:
            self.wanted[place] = [(target.weight, _on(target.of(labels), views)) for target in observer.targets]
        wanted = self.wanted[place]
        common = set.intersection(*(set(statistics) for _, statistics in wanted))
        groups = labels.unique(return_inverse=True)[1] if self.recovery.by_class else None
        distance = torch.zeros((), device=views.device)
        running: Statistics = {}

        def see(name: str, inputs: Tensor) -> None:
            nonlocal distance
            weight = self.recovery.settings.first_layer_weight if name == first else 1.0
            for key, numbers in arranged(name, layers[name], inputs, among=common):
                found, running[key] = _smoothed(spread_of(numbers, groups), smoothed.get(key), alpha)
                for share, statistics in wanted:
                    distance = distance + weight * share * self.recovery.distance(key, found, statistics[key])

        with watched(observer.network, layers, see), self.problem.runtime.autocast():
            logits = observer.network(views)
        return F.cross_entropy(wide(logits), labels), distance, running


def _on(statistics: Statistics, like: Tensor) -> Statistics:
    return {key: spread.to(like) for key, spread in statistics.items()}


def _smoothed(found: Spread, before: Spread | None, alpha: float) -> tuple[Spread, Spread]:
    """What is compared, whose gradient is the batch's, and the running statistics afterwards."""
    mean, variance = found.mean.detach(), found.variance.detach()
    if before is None or alpha == 0:
        return found, Spread(mean, variance)
    after = Spread(alpha * before.mean + (1 - alpha) * mean, alpha * before.variance + (1 - alpha) * variance)
    return Spread(after.mean + found.mean - mean, after.variance + found.variance - variance), after


def _packed(state: ImageState, running: Running) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Everything that the next iteration depends on."""
    tensors, values = state.packed()
    for (batch, observer), statistics in running.items():
        for key, spread in statistics.items():
            tensors[f"{batch}:{observer}:{key}:mean"] = spread.mean
            tensors[f"{batch}:{observer}:{key}:variance"] = spread.variance
    return tensors, values


def _resumed(
    problem: Problem, recovery: Recovery, start: Callable[[], Float[Tensor, "n c h w"]]
) -> tuple[ImageState, Running]:
    """What a killed run left, or where to begin."""
    saved = problem.checkpoint.load()
    if saved is None:
        images = within_pixels(start().to(problem.runtime.device), problem.preprocessing)
        problem.begin(images)
        return ImageState.under_adam(images), {}
    tensors, _ = saved
    return ImageState.unpacked(problem, *saved), _unpacked(tensors, problem.runtime.device)


def _unpacked(tensors: Mapping[str, Tensor], device: str) -> Running:
    running: Running = {}
    for name, tensor in tensors.items():
        if name.endswith(":mean"):
            batch, observer, key, _ = name.split(":")
            variance = tensors[f"{batch}:{observer}:{key}:variance"]
            running.setdefault((int(batch), int(observer)), {})[key] = Spread(tensor.to(device), variance.to(device))
    return running
