"""What a baseline is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from distail.baselines._task import Fitted, Task
from distail.config import Config, parse_config
from distail.problem import Work
from distail.training.recipe import TrainRecipe


class Baseline(Config, ABC):
    """A way to train on long-tailed images; its fields are its hyper-parameters, with the paper's values as defaults.

    It ends as a plain network: whatever it does to the classifier is folded into the weights.
    """

    paper: ClassVar[str]
    """Where it was published, with arXiv id."""
    summary: ClassVar[str]
    """What it does, in one line."""
    recipe: ClassVar[TrainRecipe] = TrainRecipe(
        epochs=200, batch_size=128, learning_rate=0.01, schedule="cosine", warmup=0.025, augmentation="crop_flip"
    )
    """How the network is trained unless the user says otherwise: 200 epochs, the first 5 of them to warm up.

    The step size is the field's for ConvNets with instance norm, which learn badly with the 0.1 of ResNets.
    """

    @property
    def needs_validation(self) -> bool:
        """Whether `fit` chooses a setting on validation images."""
        return False

    def recipe_with(self, changes: Mapping[str, Any]) -> TrainRecipe:
        """How networks are trained: the baseline's own way, with the user's changes.

        Raises:
            DistailError: an unknown key or an impossible value.
        """
        return parse_config(TrainRecipe, {**self.recipe.model_dump(), **changes}, "training")

    def work(self, counts: tuple[int, ...], recipe: TrainRecipe) -> Work:
        """Images that pass through networks while `fit` trains; the few that settings are chosen on are left out.

        Args:
            counts: images of each class.
            recipe: how the network is trained.
        """
        return Work(forward_backward=recipe.num_epochs * sum(counts))

    @abstractmethod
    def fit(self, task: Task) -> Fitted:
        """Trains a network. Deterministic in `task.seed` on the CPU; changes nothing in `task`."""
