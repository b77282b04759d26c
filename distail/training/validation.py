"""Judging networks on images held out of the training data, so that the test images select nothing."""

from __future__ import annotations

import torch
from jaxtyping import Int64
from torch import Tensor

from distail.data.image_set import ImageSet
from distail.data.preprocess import Preprocessing
from distail.models.network import Network
from distail.models.saved import SavedNetwork
from distail.runtime import Runtime
from distail.training.loop import Selection
from distail.training.recipe import TrainRecipe

VALIDATION_FRACTION = 0.1
"""Share of each class that is held out."""

VALIDATION_LOOKS = 20
"""How often the validation images are looked at during one training."""


def balanced_accuracy(predicted: Int64[Tensor, " n"], labels: Int64[Tensor, " n"]) -> float:
    """Mean over the classes present of the share of right answers, so that small classes count like large ones."""
    hits = (predicted == labels).double()
    present = [hits[labels == label] for label in labels.unique()]
    return float(torch.stack([own.mean() for own in present]).mean())


def validation_score(saved: SavedNetwork, held_out: ImageSet, runtime: Runtime) -> float:
    """Balanced accuracy of a network on held-out images."""
    with runtime.autocast():
        predicted = saved.predict_logits(held_out.images).argmax(dim=1).cpu()
    return balanced_accuracy(predicted, held_out.labels)


def selection_on(held_out: ImageSet, preprocessing: Preprocessing, recipe: TrainRecipe, runtime: Runtime) -> Selection:
    """Keeps the epoch with the best balanced accuracy on held-out images, of about 20 looks."""

    def score(network: Network) -> float:
        saved = SavedNetwork(network, "", held_out.image_shape, held_out.class_names, preprocessing, {})
        return validation_score(saved, held_out, runtime)

    return Selection(score, every=max(1, recipe.num_epochs // VALIDATION_LOOKS))
