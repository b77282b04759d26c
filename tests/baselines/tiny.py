"""A task small enough for a laptop's blink."""

from typing import Any

import torch

from distail.baselines._baseline import Baseline
from distail.baselines._registry import build_baseline, find_baseline
from distail.baselines._task import Fitted, Task, train_whole, with_validation
from distail.data.image_set import ImageSet
from distail.runtime import Runtime
from distail.training.recipe import TrainRecipe
from tests.methods.tiny import cheap_settings, tiny_images

COUNTS = (12, 5, 2)


def tiny_task(images: ImageSet | None = None, *, counts: tuple[int, ...] = COUNTS, **changes: Any) -> Task:
    """Two epochs of a small ConvNet; `changes` go to the recipe or to the task."""
    images = images or tiny_images(counts)
    training = {"epochs": 2, "batch_size": 8, "learning_rate": 0.05, "schedule": "cosine", "augmentation": "crop_flip"}
    training |= {name: changes.pop(name) for name in list(changes) if name in TrainRecipe.model_fields}
    parts = {"architecture": "convnet2-w8", "seed": 3, "runtime": Runtime(), **changes}
    return Task(everything=images, train=images, validation=None, recipe=TrainRecipe(**training), **parts)


def cheap(name: str, **settings: Any) -> Baseline:
    return build_baseline(name, {**cheap_settings(find_baseline(name)), **settings})


def fit(name: str, task: Task | None = None, **settings: Any) -> Fitted:
    """The baseline on the task, with validation images where it needs them."""
    baseline, task = cheap(name, **settings), task or tiny_task()
    return baseline.fit(with_validation(task) if baseline.needs_validation else task)


def plain_network(task: Task | None = None) -> Fitted:
    return train_whole(task or tiny_task())


def weights(fitted: Fitted) -> dict[str, torch.Tensor]:
    return fitted.saved.network.state_dict()


def assert_same_bits(first: Fitted, second: Fitted) -> None:
    assert weights(first).keys() == weights(second).keys()
    for name, value in weights(first).items():
        assert torch.equal(value, weights(second)[name]), name
