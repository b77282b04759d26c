"""Changing a trained linear classifier by a formula, exactly and in place, and choosing τ for it."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from distail.baselines._task import Fitted, Task, train_whole
from distail.models.embedding import embedded_by
from distail.models.saved import SavedNetwork
from distail.problem import Work
from distail.training.recipe import TrainRecipe
from distail.training.validation import balanced_accuracy

TAUS = tuple(step / 10 for step in range(21))
"""What a scan tries: 0 to 2 in steps of 0.1. Source: arXiv:1910.09217, released code."""

Change = Callable[[nn.Linear, float], None]
"""Changes a classifier in place, by τ; 0 leaves it as it is."""


class ScaledClassifier(nn.Linear):
    """A trained linear layer whose logits are multiplied by one learned factor each; nothing else of it is trained."""

    def __init__(self, trained: nn.Linear) -> None:
        super().__init__(trained.in_features, trained.out_features, device="meta")  # the meta device draws no weights
        trained.requires_grad_(False)
        self.weight, self.bias = trained.weight, trained.bias
        self.factors = nn.Parameter(torch.ones_like(trained.bias))

    def forward(self, input: Float[Tensor, "n f"]) -> Float[Tensor, "n k"]:
        """Scaled logits."""
        return self.factors * super().forward(input)


def fit_by_tau(task: Task, tau: float | None, refit: bool, change: Change) -> Fitted:
    """Trains plainly and changes the classifier by τ, which is chosen on validation images where it is not given.

    Args:
        tau: how strong the change is; None to choose the one of `TAUS` with the best balanced accuracy.
        refit: whether to train again on all images once τ is chosen; without, the network is the one that never saw
            the validation images.
        change: from the classifier and τ.
    """
    fitted = train_whole(task)
    fitted.saved.network.require_linear_classifier("The change of a classifier by tau")
    chosen = {}
    if tau is None:
        tau = best_tau(task, fitted.saved, change)
        chosen = {"tau": tau}
        if refit:
            first, fitted = fitted, train_whole(task.on_everything)
            fitted = replace(fitted, reused_seconds=first.reused_seconds + fitted.reused_seconds)
    change(fitted.saved.network.classifier, tau)
    return replace(fitted, chosen=chosen)


def work_by_tau(tau: float | None, refit: bool, counts: tuple[int, ...], recipe: TrainRecipe) -> Work:
    """What `fit_by_tau` passes through networks, but for the validation images."""
    return Work(forward_backward=(2 if tau is None and refit else 1) * recipe.num_epochs * sum(counts))


def best_tau(task: Task, saved: SavedNetwork, change: Change) -> float:
    """The τ with the best balanced accuracy on the validation images; the smallest of several."""
    features = embedded_by(saved, task.held_out.images, task.runtime).embeddings
    own = saved.network.classifier

    def score(tau: float) -> float:
        classifier = deepcopy(own).cpu()
        change(classifier, tau)
        with torch.no_grad():
            predicted = F.linear(features, classifier.weight, classifier.bias).argmax(dim=1)
        return balanced_accuracy(predicted, task.held_out.labels)

    return max(TAUS, key=score)
