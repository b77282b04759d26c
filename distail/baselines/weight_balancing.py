"""Weight balancing: strong weight decay in training, then the classifier alone, with weights kept short.

Stage one: cross-entropy with weight decay 5e-3. Stage two: the classifier, by the class-balanced loss, with weight
decay 0.1 and MaxNorm: after each step, rows longer than min + 0.1 (max - min) of their initial lengths are cut to that.

Source: Alshammari et al., CVPR 2022, arXiv:2203.14197, and its released code. Deviations: the second stage's loss is
    weighted cross-entropy, as in the text; the released code weighs a binary cross-entropy of softmax outputs.
    200 epochs instead of 320.
"""

from typing import ClassVar

import torch
from pydantic import Field

from distail.baselines._baseline import Baseline
from distail.baselines._losses import weighted
from distail.baselines._task import Fitted, Task, train_classifier, train_whole
from distail.models.network import Network
from distail.problem import Work
from distail.training.class_balance import class_balanced_weights
from distail.training.max_norm import longest_row, shortened_rows
from distail.training.recipe import TrainRecipe
from distail.training.technique import Technique


class WeightBalancing(Baseline):
    """Regularisation as the answer to the long tail."""

    paper: ClassVar[str] = "Alshammari et al., CVPR 2022, arXiv:2203.14197"
    summary: ClassVar[str] = "strong weight decay, then a classifier of short weights"
    recipe: ClassVar[TrainRecipe] = TrainRecipe(
        epochs=200,
        batch_size=64,
        learning_rate=0.01,
        weight_decay=5e-3,
        schedule="cosine",
        augmentation="crop_flip",
    )

    classifier_epochs: int = Field(default=10, ge=1)
    """Epochs of the second stage (paper: 10)."""
    classifier_weight_decay: float = Field(default=0.1, ge=0)
    """Weight decay of the second stage (paper: 0.1)."""
    beta: float = Field(default=0.9999, ge=0, lt=1)
    """β of the class-balanced loss (paper: 0.9999)."""
    max_norm: float = Field(default=0.1, ge=0)
    """Where between the shortest and the longest row the bound lies (released code: 0.1)."""

    def work(self, counts: tuple[int, ...], recipe: TrainRecipe) -> Work:
        """The second stage passes images forward; its backward pass ends at the classifier."""
        second = self.classifier_epochs * sum(counts)
        return Work(forward=second, forward_backward=recipe.num_epochs * sum(counts))

    def fit(self, task: Task) -> Fitted:
        """Trains in two stages."""
        fitted = train_whole(task)
        fitted.saved.network.require_linear_classifier("Weight balancing")
        longest = longest_row(fitted.saved.network.classifier.weight, self.max_norm)

        @torch.no_grad()
        def shorten(network: Network) -> None:
            weight = network.classifier.weight
            weight.copy_(shortened_rows(weight, longest))

        changes = {"epochs": self.classifier_epochs, "weight_decay": self.classifier_weight_decay}
        recipe = task.recipe.model_copy(update={**changes, "schedule": "cosine", "warmup": 0.0})
        loss = weighted(class_balanced_weights(task.train.class_counts, self.beta))
        return train_classifier(task, fitted, recipe, Technique(loss=loss, after_step=shorten))
