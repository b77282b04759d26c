"""The state of a training between two epochs: kept now and then, and taken up by a process that comes after.

All randomness of an epoch follows from the seed and its number, so that weights, the optimiser's memory and the history
are all there is to keep.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor, nn

from distail.artifact import with_prefix
from distail.checkpoint import Checkpoint, NoCheckpoint
from distail.training.average import MovingAverage
from distail.training.recipe import TrainRecipe
from distail.training.training_set import TrainingSet

_NETWORK, _OPTIMIZER, _MEAN, _BEST = "network.", "optimizer.", "mean.", "best."


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


@dataclass
class Best:
    """The best network so far by validation score."""

    score: float = -math.inf
    epoch: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)

    def offer(self, epoch: int, score: float, network: nn.Module) -> None:
        """Takes the network's weights if its score is higher."""
        if score > self.score:
            self.score, self.epoch = score, epoch
            self.weights = {name: value.clone() for name, value in network.state_dict().items()}


@dataclass(eq=False)
class TrainingState:
    """All that the next epoch depends on.

    Attributes:
        network: in training.
        optimizer: of the network's parameters.
        average: of its weights, or None.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    average: MovingAverage | None = None
    history: History = field(default_factory=History)
    best: Best = field(default_factory=Best)

    def take_up(self, checkpoint: Checkpoint, name: str) -> int:
        """Goes back to the state that was kept, if one was; the number of epochs that are done.

        Args:
            checkpoint: where it was kept.
            name: of the training; a state of another one, such as of an earlier stage, is left alone.

        Raises:
            DistailError: the file is damaged.
        """
        found = checkpoint.load()
        if found is None or found[1].get("training") != name:
            return 0
        tensors, values = found
        self.network.load_state_dict(with_prefix(tensors, _NETWORK))
        for number, parameter in enumerate(_parameters(self.optimizer)):
            memory = with_prefix(tensors, f"{_OPTIMIZER}{number}.")
            self.optimizer.state[parameter] = {key: _like(parameter, value) for key, value in memory.items()}
            if not memory:
                del self.optimizer.state[parameter]
        if self.average:
            self.average.restore([tensors[f"{_MEAN}{number}"] for number in range(len(self.average.means))])
        history = values["history"]
        looks = [(epoch, score) for epoch, score in history["validation"]]  # JSON made lists of them
        self.history.losses, self.history.kept_epoch = history["losses"], history["kept_epoch"]
        self.history.validation = looks
        if weights := with_prefix(tensors, _BEST):
            self.best.score, self.best.epoch = values["best"]["score"], values["best"]["epoch"]
            there = self.network.state_dict()
            self.best.weights = {key: weight.to(there[key].device) for key, weight in weights.items()}
        return len(self.history.losses)

    def keep(self, checkpoint: Checkpoint, name: str) -> None:
        """Leaves the state, if the last one is old enough.

        Args:
            checkpoint: where.
            name: of the training.
        """
        tensors = {f"{_NETWORK}{key}": value for key, value in self.network.state_dict().items()}
        for number, parameter in enumerate(_parameters(self.optimizer)):
            memory = self.optimizer.state.get(parameter, {})
            tensors |= {f"{_OPTIMIZER}{number}.{key}": value for key, value in memory.items() if torch.is_tensor(value)}
        if self.average:
            tensors |= {f"{_MEAN}{number}": mean for number, mean in enumerate(self.average.means)}
        tensors |= {f"{_BEST}{key}": value for key, value in self.best.weights.items()}
        best = {"score": self.best.score, "epoch": self.best.epoch} if self.best.weights else None
        checkpoint.save(tensors, {"training": name, "history": asdict(self.history), "best": best})


def training_name(title: str, data: TrainingSet, recipe: TrainRecipe, seed: int, checkpoint: Checkpoint) -> str:
    """Names a training by what decides it, as far as a checkpoint may hold others; nothing where none is kept."""
    if isinstance(checkpoint, NoCheckpoint):
        return ""
    facts = [title, data.digest(), recipe.model_dump(mode="json"), seed]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _parameters(optimizer: torch.optim.Optimizer) -> Sequence[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _like(parameter: Tensor, value: Tensor) -> Tensor:
    """On the parameter's device, in its memory layout; a count of steps stays where optimisers have it."""
    return torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value
