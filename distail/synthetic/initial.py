"""Real images and soft labels to start from, chosen by what experts already get right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from distail.experts.statistics import measure_statistics
from distail.models import Network
from distail.models.flat import FlatLayout
from distail.models.saved import batch_logits
from distail.problem import Problem, class_major_labels
from distail.synthetic.selection import random_choice, select_real_images

_CHUNK = 256
"""Images looked at together; the released code's value, on which its choice of images depends."""


def initial_set(
    problem: Problem, finished: Sequence[Float[Tensor, " p"]], choice: Literal["correct", "random"]
) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, "n k"]]:
    """Images and label logits to start from, class by class, on the device.

    Args:
        problem: data, seed and device.
        finished: parameters of the trained experts; the first one chooses images, all of them label.
        choice: 'correct' takes images that the first expert classifies correctly, and labels them by the experts that
            do; 'random' takes any, and labels them by all.
    """
    if choice == "correct":
        images = correct_images(problem, network_with(problem, finished[0]))
    else:
        images = select_real_images(problem, random_choice(problem)).images.to(problem.runtime.device)
    experts = (network_with(problem, one) for one in finished)
    return images, mean_logits(problem, images, experts, only_correct=choice == "correct")


def random_start(problem: Problem, kind: Literal["noise", "real"]) -> Float[Tensor, "n c h w"]:
    """IPC images of each class to start from, class by class, on the device.

    Args:
        problem: data, seed and device.
        kind: 'noise' is Gaussian of unit variance, 'real' random real images.
    """
    if kind == "real":
        return select_real_images(problem, random_choice(problem)).images.to(problem.runtime.device)
    shape = (problem.num_classes * problem.images_per_class, *problem.train.image_shape)
    return torch.randn(shape, generator=problem.generator("noise")).to(problem.runtime.device)


def correct_images(problem: Problem, expert: Network) -> Float[Tensor, "n c h w"]:
    """IPC real images of each class that the expert classifies correctly, class by class, on the device.

    Images of a class are tried in random order. Where fewer are correct than wanted, those are repeated in turn; where
    none is, the class starts from Gaussian noise of unit variance.

    Source: Guo et al., DATM, arXiv:2310.05773, released initialisation; used by LAD for CIFAR-10-LT.
    """
    chosen = []
    for label in range(problem.num_classes):
        generator = problem.generator("correct images", label)
        of_class = problem.train.indices_of(label)
        order = of_class[torch.randperm(len(of_class), generator=generator)]
        right = _first_correct(problem, expert, order, label)
        if len(right):
            chosen.append(problem.real(right[torch.arange(problem.images_per_class) % len(right)]))
        else:
            noise = torch.randn(problem.images_per_class, *problem.train.image_shape, generator=generator)
            chosen.append(noise.to(problem.runtime.device))
    return torch.cat(chosen)


def _first_correct(problem: Problem, expert: Network, order: Int64[Tensor, " n"], label: int) -> Int64[Tensor, " k"]:
    found: list[Tensor] = []
    for indices in order.split(_CHUNK):
        predicted = batch_logits(expert, problem.real(indices)).argmax(1).cpu()
        found.append(indices[predicted == label])
        if sum(map(len, found)) >= problem.images_per_class:
            break
    return torch.cat(found)[: problem.images_per_class]


def mean_logits(
    problem: Problem, images: Float[Tensor, "n c h w"], experts: Iterable[Network], *, only_correct: bool
) -> Float[Tensor, "n k"]:
    """Soft labels of class-major images: mean logits of the experts, or of those that classify the image correctly.

    Zero, which is a uniform label, where no expert counts.

    Source: Guo et al., DATM, arXiv:2310.05773; used by LAD with its classifier experts.
    """
    labels = class_major_labels(problem.num_classes, problem.images_per_class).to(images.device)
    total = torch.zeros(len(images), problem.num_classes, device=images.device)
    num_counted = torch.zeros(len(images), 1, device=images.device)
    for expert in experts:
        logits = batch_logits(expert, images)
        counted = (logits.argmax(1) == labels)[:, None] | (not only_correct)
        total += torch.where(counted, logits, 0)
        num_counted += counted
    return total / num_counted.clamp_min(1)


def network_with(problem: Problem, parameters: Float[Tensor, " p"]) -> Network:
    """The problem's architecture with these parameters, ready to predict."""
    network = problem.network("architecture")
    FlatLayout.of(network).load(network, parameters.to(problem.runtime.device))
    network.fused = True
    measure_statistics(network, problem.real, len(problem.train))
    return network
