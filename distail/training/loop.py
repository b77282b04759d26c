"""The training loop: SGD and cross-entropy on hard or soft targets."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from distail.data.augment import DSA
from distail.errors import DistailError
from distail.models.network import Network
from distail.progress import Progress, SilentProgress
from distail.runtime import Runtime, preferred_layout
from distail.seeding import torch_generator
from distail.training.gradients import batch_gradients
from distail.training.recipe import TrainRecipe
from distail.training.training_set import TrainingSet, shuffled_batches


@dataclass(frozen=True)
class Selection:
    """Which epoch's network is kept, judged on validation data that the network does not train on.

    Attributes:
        score: maps the network to a number, larger is better.
        every: epochs between two looks.
    """

    score: Callable[[Network], float]
    every: int


@dataclass
class History:
    """What happened while training.

    Attributes:
        losses: mean training loss of each epoch.
        kept_epoch: the epoch whose network was kept; the last one without a `Selection`.
        validation: (epoch, score) of each look at the validation data.
    """

    losses: list[float] = field(default_factory=list)
    kept_epoch: int = 0
    validation: list[tuple[int, float]] = field(default_factory=list)


def train_network(
    network: Network,
    data: TrainingSet,
    recipe: TrainRecipe,
    *,
    seed: int,
    runtime: Runtime,
    progress: Progress | None = None,
    selection: Selection | None = None,
    title: str = "training",
) -> History:
    """Trains `network` in place by SGD and cross-entropy.

    Augmentation and batch order depend on `seed` and the epoch alone.

    Raises:
        DistailError: the loss is no longer finite.
    """
    layout = preferred_layout(network)
    network.to(runtime.device, memory_format=layout).train()  # type: ignore[call-overload]
    fused_before, network.fused = network.fused, True
    history, best = History(), _Best()
    optimizer = _optimizer(network, recipe, recipe.learning_rate)
    with (progress or SilentProgress()).task(title, recipe.num_epochs) as advance:
        for epoch in range(recipe.num_epochs):
            loss = _train_epoch(network, data, recipe, optimizer, runtime, seed, epoch)
            history.losses.append(_finite(loss, epoch, recipe))
            history.kept_epoch = epoch
            if recipe.schedule == "step" and epoch == recipe.epochs // 2 + 1:
                # The released code builds a new optimiser here, which also forgets the momentum.
                optimizer = _optimizer(network, recipe, recipe.learning_rate * 0.1)
            if selection and (epoch % selection.every == 0 or epoch == recipe.num_epochs - 1):
                score = selection.score(network)
                network.train()
                history.validation.append((epoch, score))
                best.offer(epoch, score, network)
            advance(loss=loss)
    if best.weights:
        history.kept_epoch = best.epoch
        network.load_state_dict(best.weights)
    network.fused = fused_before
    network.eval()
    return history


@dataclass
class _Best:
    """The best network so far by validation score."""

    score: float = -math.inf
    epoch: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)

    def offer(self, epoch: int, score: float, network: Network) -> None:
        if score > self.score:
            self.score, self.epoch = score, epoch
            self.weights = {name: value.clone() for name, value in network.state_dict().items()}


def _train_epoch(
    network: Network,
    data: TrainingSet,
    recipe: TrainRecipe,
    optimizer: torch.optim.SGD,
    runtime: Runtime,
    seed: int,
    epoch: int,
) -> float:
    """One pass over the data; returns the mean loss."""
    augment = DSA(strategy=recipe.augmentation)
    generator = torch_generator(seed, "epoch", epoch)
    batches = shuffled_batches(len(data), recipe.batch_size, generator)
    total = torch.zeros((), device=runtime.device)
    for step, indices in enumerate(batches):
        if recipe.schedule == "cosine":
            done = (epoch + step / len(batches)) / recipe.num_epochs
            optimizer.param_groups[0]["lr"] = recipe.learning_rate * (1 + math.cos(math.pi * done)) / 2
        images = augment(data.images(indices), generator)
        loss, gradients = batch_gradients(network, images, data.targets(indices, images), runtime)
        for parameter, gradient in zip(network.parameters(), gradients, strict=True):
            parameter.grad = gradient if parameter.requires_grad else None
        optimizer.step()
        total += loss * len(indices)
    return float(total) / len(data)


def _optimizer(network: Network, recipe: TrainRecipe, learning_rate: float) -> torch.optim.SGD:
    return torch.optim.SGD(
        network.parameters(), lr=learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )


def _finite(loss: float, epoch: int, recipe: TrainRecipe) -> float:
    if not math.isfinite(loss):
        raise DistailError(
            f"The training loss became {loss} in epoch {epoch}. Lower the learning rate (now {recipe.learning_rate:g})."
        )
    return loss
