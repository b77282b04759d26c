"""The training loop: SGD on hard or soft targets, by cross-entropy unless a technique says otherwise."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from distail.data.augment import DSA
from distail.errors import DistailError
from distail.models.network import Network
from distail.progress import Progress, SilentProgress
from distail.runtime import Runtime, preferred_layout
from distail.seeding import torch_generator
from distail.training.gradients import batch_gradients
from distail.training.recipe import TrainRecipe
from distail.training.technique import PLAIN, Technique
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
    technique: Technique = PLAIN,
    title: str = "training",
) -> History:
    """Trains `network` in place by SGD.

    Augmentation and batch order depend on `seed` and the epoch alone.

    Raises:
        DistailError: the loss is no longer finite.
    """
    layout = preferred_layout(network)
    network.to(runtime.device, memory_format=layout)  # type: ignore[call-overload]
    frozen = _freeze_backbone(network) if technique.classifier_only else []
    _set_training(network, technique)
    fused_before, network.fused = network.fused, True
    history, best = History(), _Best()
    optimizer = _optimizer(network, recipe)
    with (progress or SilentProgress()).task(title, recipe.num_epochs) as advance:
        for epoch in range(recipe.num_epochs):
            loss = _train_epoch(network, data, recipe, optimizer, runtime, seed, epoch, technique)
            history.losses.append(_finite(loss, epoch, recipe))
            history.kept_epoch = epoch
            if recipe.schedule == "step" and epoch == _decay_epoch(recipe):
                # The released code builds a new optimiser here, which also forgets the momentum.
                optimizer = _optimizer(network, recipe)
            if selection and (epoch % selection.every == 0 or epoch == recipe.num_epochs - 1):
                score = selection.score(network)
                _set_training(network, technique)
                history.validation.append((epoch, score))
                best.offer(epoch, score, network)
            advance(loss=loss)
    if best.weights:
        history.kept_epoch = best.epoch
        network.load_state_dict(best.weights)
    network.fused = fused_before
    for parameter in frozen:
        parameter.requires_grad_(True)
    network.eval()
    return history


def _freeze_backbone(network: Network) -> list[nn.Parameter]:
    """Takes everything but the classifier out of training; returns what was in it before."""
    own = set(network.classifier.parameters())
    frozen = [parameter for parameter in network.parameters() if parameter.requires_grad and parameter not in own]
    for parameter in frozen:
        parameter.requires_grad_(False)
    return frozen


def _set_training(network: Network, technique: Technique) -> None:
    # A frozen backbone stays in evaluation mode, or its running statistics would move.
    network.train(not technique.classifier_only)
    network.classifier.train()


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
    technique: Technique,
) -> float:
    """One epoch; returns the mean loss."""
    augment = DSA(strategy=recipe.augmentation)
    generator = torch_generator(seed, "epoch", epoch)
    if technique.batches:
        batches = technique.batches(epoch, generator)
    else:
        batches = shuffled_batches(len(data), recipe.batch_size, generator)
    total = torch.zeros((), device=runtime.device)
    for step, indices in enumerate(batches):
        optimizer.param_groups[0]["lr"] = _learning_rate(recipe, epoch, step, len(batches))
        images = augment(data.images(indices), generator)
        targets = data.targets(indices, images)
        loss, gradients = batch_gradients(network, images, targets, runtime, technique.loss, epoch)
        for parameter, gradient in zip(network.parameters(), gradients, strict=True):
            parameter.grad = gradient if parameter.requires_grad else None
        optimizer.step()
        if technique.after_step:
            technique.after_step(network)
        total += loss * len(indices)
    return float(total) / sum(map(len, batches))


def _learning_rate(recipe: TrainRecipe, epoch: int, step: int, num_steps: int) -> float:
    """The step size of one step of an epoch of `num_steps`."""
    done = (epoch + step / num_steps) / recipe.num_epochs
    rate = recipe.learning_rate
    if recipe.schedule == "cosine":
        rate = rate * (1 + math.cos(math.pi * done)) / 2
    elif recipe.schedule == "step" and epoch > _decay_epoch(recipe):
        rate = rate * 0.1
    if recipe.warmup:
        rate *= min(1.0, (done + 1 / (num_steps * recipe.num_epochs)) / recipe.warmup)
    return rate


def _decay_epoch(recipe: TrainRecipe) -> int:
    """The epoch after which the step schedule lowers the rate."""
    return recipe.epochs // 2 + 1


def _optimizer(network: Network, recipe: TrainRecipe) -> torch.optim.SGD:
    return torch.optim.SGD(
        network.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )


def _finite(loss: float, epoch: int, recipe: TrainRecipe) -> float:
    if not math.isfinite(loss):
        raise DistailError(
            f"The training loss became {loss} in epoch {epoch}. Lower the learning rate (now {recipe.learning_rate:g})."
        )
    return loss
