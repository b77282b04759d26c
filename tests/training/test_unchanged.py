"""Recipes that name no optimiser, loss, mixing or average of their own train the networks that they always trained."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from distail.data.augment import DSA
from distail.models import Network
from distail.parallel import map_chunks
from distail.runtime import Runtime, preferred_layout
from distail.seeding import torch_generator
from distail.training.recipe import TrainRecipe
from distail.training.targets import Targets
from distail.training.training_set import TensorTrainingSet
from tests.training.test_loop import LABELS, NUM_CLASSES, SEED, assert_same_weights, new_network, recipe, train

SIZE = 75  # more than one part of a batch, and an odd rest
IMAGES = torch.randn(SIZE, 3, 8, 8, generator=torch.Generator().manual_seed(5))
HARD = torch.arange(SIZE) % NUM_CLASSES
SOFT = 3 * torch.randn(SIZE, NUM_CLASSES, generator=torch.Generator().manual_seed(6))


def rate(how: TrainRecipe, epoch: int, step: int, steps: int) -> float:
    done = (epoch + step / steps) / how.num_epochs
    if how.schedule == "cosine":
        return how.learning_rate * (1 + math.cos(math.pi * done)) / 2
    return how.learning_rate * 0.1 if how.schedule == "step" and epoch > how.epochs // 2 + 1 else how.learning_rate


def gradients(network: Network, images: Tensor, targets: Tensor, runtime: Runtime) -> list[Tensor]:
    def of_part(part: slice) -> tuple[Tensor, ...]:
        with torch.enable_grad():
            with runtime.autocast():
                logits = network(images[part].contiguous(memory_format=preferred_layout(network)))
            loss = F.cross_entropy(logits.float(), targets[part], reduction="sum") / len(images)
            return torch.autograd.grad(loss, list(network.parameters()))

    whole = slice(0, len(images))
    parts = [of_part(whole)] if network.mixes_images else map_chunks(of_part, len(images))
    return [torch.stack(own).sum(0) if len(parts) > 1 else own[0] for own in zip(*parts, strict=True)]


def train_as_ever(network: Network, targets: Tensor, how: TrainRecipe, runtime: Runtime) -> None:
    """The loop of the common evaluation and nothing else: DSA, cross-entropy, torch's SGD."""

    def new_optimizer() -> torch.optim.SGD:
        return torch.optim.SGD(
            network.parameters(), lr=how.learning_rate, momentum=how.momentum, weight_decay=how.weight_decay
        )

    network.to(memory_format=preferred_layout(network))
    network.train()
    network.fused = True
    optimizer, augment = new_optimizer(), DSA(how.augmentation)
    for epoch in range(how.num_epochs):
        generator = torch_generator(SEED, "epoch", epoch)
        batches = torch.randperm(SIZE, generator=generator).split(how.batch_size)
        for step, picked in enumerate(batches):
            optimizer.param_groups[0]["lr"] = rate(how, epoch, step, len(batches))
            views = augment(IMAGES[picked], generator)
            found = gradients(network, views, targets[picked], runtime)
            for parameter, gradient in zip(network.parameters(), found, strict=True):
                parameter.grad = gradient
            optimizer.step()
        if how.schedule == "step" and epoch == how.epochs // 2 + 1:
            optimizer = new_optimizer()


@pytest.mark.parametrize("architecture", ["convnet2-w8", "convnet2-w8-batch"])
@pytest.mark.parametrize("schedule", ["step", "cosine", "constant"])
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "static"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_bits_as_ever(architecture, schedule, soft, precision):
    augmentation = {"step": "color_crop_cutout_flip_scale_rotate", "cosine": "crop_flip", "constant": "none"}[schedule]
    how = recipe(epochs=3, batch_size=40, schedule=schedule, augmentation=augmentation)
    data = TensorTrainingSet(IMAGES, Targets(HARD, SOFT) if soft else Targets(HARD), NUM_CLASSES)
    found, expected = new_network(architecture), new_network(architecture)
    train(found, data, recipe=how, runtime=Runtime("cpu", precision))
    train_as_ever(expected, SOFT.softmax(1) if soft else HARD, how, Runtime("cpu", precision))
    assert_same_weights(found, expected)


@pytest.mark.parametrize(
    "values",
    [
        {"optimizer": "adamw"},
        {"schedule": "half_cosine"},
        {"schedule": "late_steps"},
        {"schedule": "late_linear"},
        {"schedule": "one_cycle"},
        {"augmentation": "resized+flip"},
        {"loss": "squared_error"},
        {"loss": "divergence"},
        {"hard_weight": 0.5},
        {"mixing": "cutmix"},
        {"mixing": "mixup"},
        {"average": 0.5},
    ],
)
def test_every_new_value_makes_another_network(values):
    """Nothing that a recipe can say is ignored."""
    soft = TensorTrainingSet(IMAGES[:11], Targets(LABELS, SOFT[:11]), NUM_CLASSES)
    plain, changed = new_network(), new_network()
    how = recipe(schedule="constant")
    train(plain, soft, recipe=how)
    train(changed, soft, recipe=how.model_copy(update=values))
    assert not torch.equal(plain.classifier.weight, changed.classifier.weight)


@pytest.mark.parametrize(
    ("base", "values"),
    [
        ({"mixing": "cutmix"}, {"mixing_probability": 0.5}),
        ({"augmentation": "resized"}, {"smallest_crop": 0.5}),
        ({"loss": "divergence"}, {"temperature": 4.0}),
    ],
)
def test_every_value_that_belongs_to_another_makes_another_network(base, values):
    soft = TensorTrainingSet(IMAGES[:11], Targets(LABELS, SOFT[:11]), NUM_CLASSES)
    plain, changed = new_network(), new_network()
    how = recipe(schedule="constant", **base)
    train(plain, soft, recipe=how)
    train(changed, soft, recipe=how.model_copy(update=values))
    assert not torch.equal(plain.classifier.weight, changed.classifier.weight)
