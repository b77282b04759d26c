"""The training loop: batches augmented, maybe mixed, and a step on the recipe's loss or on that of a technique."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from distail.checkpoint import Checkpoint, NoCheckpoint
from distail.data.augment_chain import DSAChain
from distail.data.mixing import Mixed, cutmix, mixup
from distail.errors import DistailError
from distail.models.network import Network
from distail.progress import Progress, SilentProgress
from distail.runtime import Runtime, preferred_layout
from distail.seeding import torch_generator
from distail.training.average import MovingAverage
from distail.training.gradients import batch_gradients
from distail.training.losses import BatchLoss, batch_loss
from distail.training.recipe import TrainRecipe
from distail.training.schedule import decay_epoch, learning_rate
from distail.training.state import History, TrainingState, training_name
from distail.training.targets import Targets
from distail.training.technique import PLAIN, Technique
from distail.training.training_set import TrainingSet, shuffled_batches, without_single_image


@dataclass(frozen=True)
class Selection:
    """Which epoch's network is kept, judged on validation data that the network does not train on.

    Attributes:
        score: maps the network to a number, larger is better.
        every: epochs between two looks.
    """

    score: Callable[[Network], float]
    every: int


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
    checkpoint: Checkpoint | None = None,
) -> History:
    """Trains `network` in place; where the recipe asks for an average of its weights, it ends with that.

    Augmentation, mixing and batch order depend on `seed` and the epoch alone.

    Args:
        checkpoint: where the state is left between epochs, and taken up from there; nowhere when omitted.

    Raises:
        DistailError: the loss is no longer finite, or the recipe asks for one that the targets cannot be compared by.
    """
    recipe = for_network(recipe, network)
    augment = DSAChain(recipe.augmentation, recipe.smallest_crop, data.preprocessing)
    lesson = _Lesson(data, recipe, augment, batch_loss(recipe, technique))
    layout = preferred_layout(network)
    network.to(runtime.device, memory_format=layout)  # type: ignore[call-overload]
    frozen = _freeze_backbone(network) if technique.classifier_only else []
    _set_training(network, technique)
    fused_before, network.fused = network.fused, True
    average = MovingAverage(network, recipe.average) if recipe.average else None
    state = TrainingState(network, new_optimizer(network, recipe), average)
    history, best, checkpoint = state.history, state.best, checkpoint or NoCheckpoint()
    name = training_name(title, data, recipe, seed, checkpoint)
    done = state.take_up(checkpoint, name)
    with (progress or SilentProgress()).task(title, recipe.num_epochs, done) as advance:
        for epoch in range(done, recipe.num_epochs):
            loss = _train_epoch(network, lesson, state.optimizer, average, runtime, seed, epoch, technique)
            history.losses.append(require_finite(loss, epoch, recipe))
            history.kept_epoch = epoch
            if recipe.schedule == "step" and epoch == decay_epoch(recipe):
                # The released code builds a new optimiser here, which also forgets the momentum.
                state.optimizer = new_optimizer(network, recipe)
            if selection and (epoch % selection.every == 0 or epoch == recipe.num_epochs - 1):
                with average.shown() if average else nullcontext():
                    score = selection.score(network)
                    best.offer(epoch, score, network)
                _set_training(network, technique)
                history.validation.append((epoch, score))
            state.keep(checkpoint, name)
            advance(loss=loss)
    if best.weights:
        history.kept_epoch = best.epoch
        network.load_state_dict(best.weights)
    elif average:
        average.exchange()
    network.fused = fused_before
    for parameter in frozen:
        parameter.requires_grad_(True)
    network.eval()
    return history


def for_network(recipe: TrainRecipe, network: Network) -> TrainRecipe:
    """The recipe with the step size that this network takes."""
    smaller = recipe.learning_rate_large
    return recipe if smaller is None or not network.is_large else recipe.at_rate(smaller)


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


@dataclass(frozen=True, eq=False)
class _Lesson:
    """What one training learns from, and how, from its first epoch to its last."""

    data: TrainingSet
    recipe: TrainRecipe
    augment: DSAChain
    loss: BatchLoss

    def of_epoch(self, epoch: int) -> _Lesson:
        """The same with what one pass over the data sees."""
        return replace(self, data=self.data.of_epoch(epoch))

    def batch(self, indices: Int64[Tensor, " b"], generator: torch.Generator) -> tuple[Tensor, Targets]:
        """Augmented and maybe mixed images, and what to answer to them."""
        views = self.augment(self.data.images(indices), generator)
        if self.recipe.mixing == "none" or not _happens(self.recipe.mixing_probability, generator):
            return views, self.data.targets(indices, views)
        mixed = _MIXING[self.recipe.mixing](views, generator)
        return mixed.images, self.data.targets(indices, mixed.images, mixed.mixture)


_MIXING: dict[str, Callable[[Tensor, torch.Generator], Mixed]] = {"cutmix": cutmix, "mixup": mixup}


def _happens(probability: float, generator: torch.Generator) -> bool:
    return float(torch.rand((), generator=generator)) < probability


def _train_epoch(
    network: Network,
    lesson: _Lesson,
    optimizer: torch.optim.Optimizer,
    average: MovingAverage | None,
    runtime: Runtime,
    seed: int,
    epoch: int,
    technique: Technique,
) -> float:
    """One epoch; returns the mean loss."""
    generator, lesson = torch_generator(seed, "epoch", epoch), lesson.of_epoch(epoch)
    if technique.batches:
        batches = technique.batches(epoch, generator)
    else:
        batches = shuffled_batches(len(lesson.data), lesson.recipe.batch_size, generator)
    if network.mixes_images:
        batches = without_single_image(batches)
    total = torch.zeros((), device=runtime.device)
    for step, indices in enumerate(batches):
        optimizer.param_groups[0]["lr"] = learning_rate(lesson.recipe, epoch, step, len(batches))
        images, targets = lesson.batch(indices, generator)
        loss, gradients = batch_gradients(network, images, targets, runtime, lesson.loss, epoch)
        for parameter, gradient in zip(network.parameters(), gradients, strict=True):
            parameter.grad = gradient if parameter.requires_grad else None
        optimizer.step()
        if technique.after_step:
            technique.after_step(network)
        if average:
            average.update()
        total += loss * len(indices)
    return float(total) / sum(map(len, batches))


def new_optimizer(network: Network, recipe: TrainRecipe) -> torch.optim.Optimizer:
    """The recipe's optimiser of all parameters."""
    rate, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=decay)
    return torch.optim.SGD(network.parameters(), lr=rate, momentum=recipe.momentum, weight_decay=decay)


def require_finite(loss: float, epoch: int, recipe: TrainRecipe) -> float:
    """The loss of an epoch, if it is a number.

    Raises:
        DistailError: it is not; says what to lower.
    """
    if not math.isfinite(loss):
        raise DistailError(
            f"The training loss became {loss} in epoch {epoch}. Lower the learning rate (now {recipe.learning_rate:g})."
        )
    return loss
