"""Selecting real images class by class, also where a class has fewer images than asked for."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Int64
from torch import Tensor

from distail.data.image_set import ImageSet
from distail.problem import Problem, Synthetic, class_major_labels

ChooseInClass = Callable[[int, Int64[Tensor, " n"], int], Int64[Tensor, " k"]]
"""choose(label, indices of the class, k) -> k of those indices, without repeats."""


def select_indices(train: ImageSet, images_per_class: int, choose: ChooseInClass) -> Int64[Tensor, " n"]:
    """Positions of IPC images of each class, class by class.

    A class with fewer images than IPC gives all of them, repeated in the order chosen until IPC is reached.
    """
    selected = []
    for label in range(train.num_classes):
        of_class = train.indices_of(label)
        chosen = choose(label, of_class, min(images_per_class, len(of_class)))
        selected.append(chosen[torch.arange(images_per_class) % len(chosen)])
    return torch.cat(selected)


def select_real_images(problem: Problem, choose: ChooseInClass) -> Synthetic:
    """The chosen real images as a synthetic set."""
    indices = select_indices(problem.train, problem.images_per_class, choose)
    images = problem.real(indices).cpu()
    labels = class_major_labels(problem.num_classes, problem.images_per_class)
    return Synthetic(images, labels, real_indices=indices)


def random_choice(problem: Problem) -> ChooseInClass:
    """Uniform choice without replacement, a function of the problem's seed and the class alone."""

    def choose(label: int, of_class: Int64[Tensor, " n"], count: int) -> Int64[Tensor, " k"]:
        order = torch.randperm(len(of_class), generator=problem.generator("random choice", label))
        return of_class[order[:count]]

    return choose
