"""Which images an epoch looks at: drawn by class probabilities, or every class equally often."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from distail.config import Config
from distail.data.image_set import ImageSet
from distail.problem import Work
from distail.training.class_balance import class_aware_order
from distail.training.recipe import TrainRecipe
from distail.training.technique import Batches


def power_probabilities(counts: tuple[int, ...], rho: float) -> Float[Tensor, " k"]:
    """Class probabilities p_c ∝ n_c^ρ: ρ = 1 is the data's own, ½ the square root, 0 the same for every class.

    Source: Kang et al., ICLR 2020, arXiv:1910.09217, equation 1.
    """
    powers = torch.tensor(counts, dtype=torch.float64) ** rho
    return powers / powers.sum()


def progressive_probabilities(counts: tuple[int, ...], num_epochs: int) -> Callable[[int], Float[Tensor, " k"]]:
    """Class probabilities by epoch: evenly from the data's own in the first to equal ones in the last.

    Source: Kang et al., ICLR 2020, arXiv:1910.09217, equation 2.
    """
    own, equal = power_probabilities(counts, 1.0), power_probabilities(counts, 0.0)

    def probabilities(epoch: int) -> Float[Tensor, " k"]:
        done = epoch / max(num_epochs - 1, 1)
        return (1 - done) * own + done * equal

    return probabilities


def drawn_batches(
    labels: Int64[Tensor, " n"], probabilities: Callable[[int], Float[Tensor, " k"]], batch_size: int
) -> Batches:
    """As many images an epoch as there are, drawn with replacement: a class, then one of its images.

    Args:
        labels: of the images.
        probabilities: of the classes, by epoch.
        batch_size: images a step.
    """
    counts = torch.bincount(labels)

    def batches(epoch: int, generator: torch.Generator) -> list[Tensor]:
        weights = (probabilities(epoch) / counts)[labels]
        drawn = torch.multinomial(weights, len(labels), replacement=True, generator=generator)
        return list(drawn.split(batch_size))

    return batches


class ClassAwareSettings(Config):
    """Of a second stage that trains the classifier on class-aware draws. Fields alone; what is trained is a baseline's.

    Source: Kang et al., ICLR 2020, arXiv:1910.09217.
    """

    classifier_epochs: int = Field(default=10, ge=1)
    """Epochs of the second stage, of classes times largest class draws each (paper: 10)."""
    images_per_visit: int = Field(default=4, ge=1)
    """Images taken from a class each time its turn comes (paper: 4)."""


def work_of_stages(classifier_epochs: int, counts: tuple[int, ...], recipe: TrainRecipe) -> Work:
    """A whole training, then a second stage that passes class-aware draws forward, and backward to the classifier only.

    Args:
        classifier_epochs: of the second stage.
        counts: images of each class.
        recipe: of the whole training.
    """
    second = classifier_epochs * len(counts) * max(counts)
    return Work(forward=second, forward_backward=recipe.num_epochs * sum(counts))


def class_aware_batches(images: ImageSet, images_per_visit: int, batch_size: int) -> Batches:
    """Every class equally often: classes in turn, some of their images at each visit; see `class_aware_order`."""
    classes = tuple(images.indices_of(label) for label in range(images.num_classes))

    def batches(epoch: int, generator: torch.Generator) -> list[Tensor]:
        return list(class_aware_order(classes, images_per_visit, generator).split(batch_size))

    return batches
