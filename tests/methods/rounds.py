"""DC and DSA written out, on the batches, draws and trained networks that their named generators give."""

from __future__ import annotations

import torch
from torch import Tensor

from distail.data.augment import DSA
from distail.problem import Problem
from distail.seeding import derive_seed
from distail.training.loop import train_network
from distail.training.recipe import TrainRecipe
from distail.training.targets import Targets
from distail.training.training_set import TensorTrainingSet
from tests.reference import gradient_matching as reference


def plain_loss(problem: Problem, method, network, images: Tensor, augment: DSA, scope: tuple[int, int]) -> Tensor:
    """Summed over classes, with a graph to `images`."""
    generator = problem.generator("gradient matching batch", *scope)
    total = torch.zeros((), dtype=torch.float64)
    for label, own in enumerate(images.split(problem.images_per_class)):
        of_class = problem.train.indices_of(label)
        picked = of_class[torch.randperm(len(of_class), generator=generator)[: method.real_batch]]
        draw = augment.sample(len(picked), problem.train.image_shape, generator, shared=True)
        real = augment.apply(problem.real(picked), draw)
        total = total + reference.class_loss(network, real, augment.apply(own, draw), label, reference.row_cosines)
    return total


def plain_rounds(problem: Problem, method, augment: DSA, start: Tensor, rounds: int, epochs: int) -> Tensor:
    """The images after all iterations: SGD on the plain loss, and training in between."""
    leaf = start.clone().requires_grad_()
    optimizer = torch.optim.SGD([leaf], lr=method.image_lr, momentum=method.momentum)
    for iteration in range(method.iterations):
        network = problem.network("gradient matching network", iteration)
        for number in range(rounds):
            optimizer.zero_grad()
            plain_loss(problem, method, network, leaf, augment, (iteration, number)).backward()
            optimizer.step()
            if number + 1 < rounds:
                labels = torch.arange(problem.num_classes).repeat_interleave(problem.images_per_class)
                recipe = TrainRecipe(
                    epochs=epochs,
                    batch_size=method.network_batch_size,
                    learning_rate=method.network_lr,
                    momentum=0,
                    weight_decay=0,
                    schedule="constant",
                    augmentation=augment.strategy,
                )
                train_network(
                    network,
                    TensorTrainingSet(leaf.detach().clone(), Targets(labels), problem.num_classes),
                    recipe,
                    seed=derive_seed(problem.seed, "gradient matching training", iteration, number),
                    runtime=problem.runtime,
                )
    return leaf.detach()
