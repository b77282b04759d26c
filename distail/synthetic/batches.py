"""Which images of a synthetic set are looked at together: positions in class-major order."""

from __future__ import annotations

import torch
from jaxtyping import Int64
from torch import Tensor

from distail.problem import Problem


def class_sorted_batches(problem: Problem, batch_size: int) -> list[Int64[Tensor, " b"]]:
    """All images in their order, class by class."""
    return list(torch.arange(problem.num_classes * problem.images_per_class).split(batch_size))


def whole_class_batches(problem: Problem, batch_size: int) -> list[Int64[Tensor, " b"]]:
    """All images in their order, no class of which is divided; one class a batch, at least."""
    return class_sorted_batches(problem, max(1, batch_size // problem.images_per_class) * problem.images_per_class)


def batches_of_all_classes(problem: Problem, batch_size: int) -> list[Int64[Tensor, " b"]]:
    """One image of each class in a batch; of so many classes as fit, where there are more than that."""
    of_class = torch.arange(problem.num_classes * problem.images_per_class).view(problem.num_classes, -1)
    return [batch for column in of_class.T for batch in column.split(batch_size)]
