"""The loops of DC and DSA: images descend on gradient matching while a network trains on them."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from distail.config import Config
from distail.data.augment import DSA
from distail.errors import DistailError
from distail.matching import FlatNetwork
from distail.matching.work import TANGENT_PASS
from distail.models import Network
from distail.problem import Load, Problem, Synthetic, Work, class_major_labels
from distail.seeding import derive_seed
from distail.synthetic.gradient_matching import match_class, matching_loads, row_cosine_distance
from distail.synthetic.image_state import ImageState, divergence
from distail.training.loop import train_network
from distail.training.recipe import TrainRecipe
from distail.training.targets import Targets
from distail.training.training_set import TensorTrainingSet

_LOOPS = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}
"""Rounds and epochs by images per class, as released."""
_STATISTICS_IMAGES = 16
"""Real images of each class from which batch normalisation takes its statistics, as released."""


class GradientMatchingSettings(Config):
    """Fields of the methods that match gradients along the training of networks."""

    iterations: int = Field(default=1000, ge=1)
    """Outer iterations, each with a new random network (paper: 1,000)."""
    rounds: int | None = Field(default=None, ge=1)
    """Image updates an iteration, between which the network trains; by IPC when null (paper: 1 for IPC 1, 10 for 10, 20
    for 20, 30 for 30, 40 for 40, 50 for 50; other IPC take those of the nearest)."""
    network_epochs: int | None = Field(default=None, ge=1)
    """Epochs that the network trains on the synthetic set between two rounds; by IPC when null (paper: 1, 50, 25, 20,
    15, 10)."""
    real_batch: int = Field(default=256, ge=1)
    """Real images of each class a round, without repeats; smaller classes give all they have (paper: 256)."""
    image_lr: float = Field(default=0.1, gt=0)
    """SGD step size on the images (paper: 0.1)."""
    momentum: float = Field(default=0.5, ge=0, lt=1)
    """SGD momentum on the images (paper: 0.5)."""
    network_lr: float = Field(default=0.01, gt=0)
    """SGD step size of the network, without momentum (paper: 0.01)."""
    network_batch_size: int = Field(default=256, ge=1)
    """Synthetic images a step of the network (paper: 256)."""


def loops(settings: GradientMatchingSettings, images_per_class: int) -> tuple[int, int]:
    """(rounds, network epochs), those of the nearest published IPC where a field is null.

    >>> loops(GradientMatchingSettings(network_epochs=5), 12)
    (10, 5)
    """
    nearest = min(_LOOPS, key=lambda published: (abs(published - images_per_class), published))
    rounds, epochs = _LOOPS[nearest]
    return settings.rounds or rounds, settings.network_epochs or epochs


def gradient_matching_work(problem: Problem, settings: GradientMatchingSettings) -> Work:
    """Every round passes a real batch of each class and all synthetic images, which then train the network."""
    rounds, epochs = loops(settings, problem.images_per_class)
    real = sum(min(settings.real_batch, count) for count in problem.train.class_counts)
    synthetic = problem.num_classes * problem.images_per_class
    each = rounds * (real + (1 + TANGENT_PASS) * synthetic) + (rounds - 1) * epochs * synthetic
    largest = min(settings.real_batch, max(problem.train.class_counts))
    matched = matching_loads(problem, largest, problem.images_per_class)
    training = Load(min(settings.network_batch_size, synthetic), shared=True, parameter_vectors=1)
    loads = (*matched, training) if rounds > 1 else matched
    if _has_statistics(problem.network("architecture")):
        statistics = sum(min(_STATISTICS_IMAGES, count) for count in problem.train.class_counts)
        loads = (*loads, Load(statistics, "forward", parameter_vectors=1))
    return Work(forward_backward=int(settings.iterations * each), loads=loads)


def match_gradients(
    problem: Problem,
    settings: GradientMatchingSettings,
    name: str,
    start: Float[Tensor, "n c h w"],
    augment: DSA,
) -> Synthetic:
    """Descends from `start`, resuming from the problem's checkpoint. Logs the mean `loss` of each iteration's rounds.

    Args:
        problem: data, seed and network.
        settings: of the loops.
        name: of the method, for messages.
        start: initial images, class by class.
        augment: with one draw a class for real and synthetic images alike, and with one an image while the network
            trains.

    Raises:
        DistailError: the loss or the images are no longer finite. The last good state is in the checkpoint.
    """
    state = ImageState.resumed(problem, start)
    with problem.progress.task(name, settings.iterations, state.iteration) as advance:
        while state.iteration < settings.iterations:
            iteration = state.iteration
            after, loss = _iteration(problem, settings, state, augment)
            if not after.is_finite(loss):
                problem.checkpoint.save(*state.packed(), now=True)
                raise divergence(name, loss, iteration, settings.image_lr, network_lr=settings.network_lr)
            state = replace(after, iteration=iteration + 1)
            problem.log(iteration, loss=loss)
            problem.checkpoint.save(*state.packed())
            advance(loss=loss)
    return Synthetic(state.images.cpu(), class_major_labels(problem.num_classes, problem.images_per_class))


def _iteration(
    problem: Problem, settings: GradientMatchingSettings, state: ImageState, augment: DSA
) -> tuple[ImageState, float]:
    """All rounds with one network, and their mean loss; ends at the first that is not finite."""
    rounds, epochs = loops(settings, problem.images_per_class)
    network = problem.network("gradient matching network", state.iteration)
    total = 0.0
    for round_number in range(rounds):
        scope = (state.iteration, round_number)
        generator = problem.generator("gradient matching batch", *scope)
        loss, gradient = set_gradient(problem, settings, network, state.images, augment, generator)
        state = state.moved(gradient, settings.image_lr, settings.momentum)
        total += loss
        if not state.is_finite(total):
            break
        if round_number + 1 < rounds:  # nothing looks at what the last round would train
            try:
                _train(problem, settings, network, state.images, augment, epochs, scope)
            except DistailError:  # huge images, whose loss is no longer finite
                total = float("nan")
                break
    return state, total / rounds


def set_gradient(
    problem: Problem,
    settings: GradientMatchingSettings,
    network: Network,
    images: Float[Tensor, "n c h w"],
    augment: DSA,
    generator: torch.Generator,
) -> tuple[float, Float[Tensor, "n c h w"]]:
    """The matching loss of all classes in a network, and its gradient by the images.

    Args:
        problem: gives the real batches.
        settings: their size.
        network: its parameters stay, its batch normalisation moves its running statistics to real images.
        images: class by class.
        augment: one draw for each class.
        generator: of batches and augmentations.
    """
    student = _frozen(problem, network, generator)
    parameters = student.layout.flatten(network)
    total, gradients = 0.0, []
    for label, own in enumerate(images.split(problem.images_per_class)):
        of_class = problem.train.indices_of(label)
        picked = of_class[torch.randperm(len(of_class), generator=generator)[: settings.real_batch]]
        draw = augment.sample(len(picked), problem.train.image_shape, generator, shared=True)
        leaf = own.detach().requires_grad_()
        views = augment.apply(leaf, draw)
        real = augment.apply(problem.real(picked), draw)
        match = match_class(student, parameters, real, views, label, row_cosine_distance)
        gradients += torch.autograd.grad(views, leaf, match.views)
        total += match.loss
    return total, torch.cat(gradients)


def _frozen(problem: Problem, network: Network, generator: torch.Generator) -> FlatNetwork:
    """The network as a function, with batch normalisation held at statistics of real images of all classes."""
    if not _has_statistics(network):
        return FlatNetwork(network, problem.runtime)
    picked = []
    for label in range(problem.num_classes):
        of_class = problem.train.indices_of(label)
        picked.append(of_class[torch.randperm(len(of_class), generator=generator)[:_STATISTICS_IMAGES]])
    with torch.no_grad(), problem.runtime.autocast():
        network.train()(problem.real(torch.cat(picked)))
    return FlatNetwork(network, problem.runtime, frozen_statistics=True)


def _has_statistics(network: Network) -> bool:
    return any(isinstance(module, _BatchNorm) for module in network.modules())


def _train(
    problem: Problem,
    settings: GradientMatchingSettings,
    network: Network,
    images: Float[Tensor, "n c h w"],
    augment: DSA,
    epochs: int,
    scope: tuple[int, int],
) -> None:
    """Some epochs on the synthetic images, with fused kernels."""
    labels = class_major_labels(problem.num_classes, problem.images_per_class).to(images.device)
    recipe = TrainRecipe(
        epochs=epochs,
        batch_size=settings.network_batch_size,
        learning_rate=settings.network_lr,
        momentum=0.0,
        weight_decay=0.0,
        schedule="constant",
        augmentation=augment.strategy,
    )
    seed = derive_seed(problem.seed, "gradient matching training", *scope)
    data = TensorTrainingSet(images, Targets(labels), problem.num_classes)
    train_network(network, data, recipe, seed=seed, runtime=problem.runtime)
