"""The training loop: SGD and cross-entropy on hard or soft targets."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from distail.data.augment import DSA
from distail.errors import DistailError
from distail.models.network import Network
from distail.progress import Progress, SilentProgress
from distail.runtime import Runtime
from distail.seeding import torch_generator
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
    network.to(runtime.device).train()
    augment = DSA(strategy=recipe.augmentation)
    history, best, best_score = History(), None, -math.inf
    optimizer = _optimizer(network, recipe, recipe.learning_rate)
    steps_per_epoch = math.ceil(len(data) / recipe.batch_size)
    with (progress or SilentProgress()).task(title, recipe.num_epochs) as advance:
        for epoch in range(recipe.num_epochs):
            generator = torch_generator(seed, "epoch", epoch)
            total = torch.zeros((), device=runtime.device)
            for step, indices in enumerate(shuffled_batches(len(data), recipe.batch_size, generator)):
                if recipe.schedule == "cosine":
                    done = (epoch * steps_per_epoch + step) / (recipe.num_epochs * steps_per_epoch)
                    optimizer.param_groups[0]["lr"] = recipe.learning_rate * (1 + math.cos(math.pi * done)) / 2
                images = augment(data.images(indices), generator)
                with runtime.autocast():
                    logits = network(images)
                loss = F.cross_entropy(logits.float(), data.targets(indices, images))
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                total += loss.detach() * len(indices)
            history.losses.append(_finite(float(total) / len(data), epoch, recipe))
            history.kept_epoch = epoch
            if recipe.schedule == "step" and epoch == recipe.epochs // 2 + 1:
                # The released code builds a new optimiser here, which also forgets the momentum.
                optimizer = _optimizer(network, recipe, recipe.learning_rate * 0.1)
            if selection and (epoch % selection.every == 0 or epoch == recipe.num_epochs - 1):
                score = selection.score(network)
                network.train()
                history.validation.append((epoch, score))
                if score > best_score:
                    best_score = score
                    best = (epoch, {name: value.clone() for name, value in network.state_dict().items()})
            advance(loss=history.losses[-1])
    if best:
        history.kept_epoch = best[0]
        network.load_state_dict(best[1])
    network.eval()
    return history


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
