"""A long-tailed problem small enough for a laptop's blink, and what tests do with it."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import torch
from pydantic import BaseModel
from torch import Tensor
from torch.overrides import TorchFunctionMode

from distail.data.image_set import ImageSet
from distail.data.preprocess import fit_preprocessing
from distail.models import Network
from distail.problem import Problem, Work
from distail.teachers.spec import TeacherSpec

# On tensors this small a second thread only waits for the first: on a busy machine, fifty times as long.
torch.set_num_threads(1)

CHEAP = {
    **{"epochs": 2, "max_start_epoch": 1, "iterations": 2, "steps": 2, "rounds": 2, "experts": 1},
    **{"real_batch": 8, "batch_size": 8},
}
"""Largest value in tests of whole-number hyper-parameters whose names end so."""
CHEAP_TEACHER = TeacherSpec(train={"epochs": 2, "batch_size": 8, "augmentation": "none", "warmup": 0.0})
"""In place of every teacher; it has the network of the problem, with batch norm."""


def tiny_images(counts: Sequence[int] = (9, 4, 1), shape: tuple[int, int, int] = (3, 8, 8), seed: int = 0) -> ImageSet:
    """Classes of these sizes, apart in their means, in an order that mixes them."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=generator)]
    means = 60 + 130 * torch.rand(len(counts), *shape, generator=generator)
    noise = 25 * torch.randn(len(labels), *shape, generator=generator)
    images = (means[labels] + noise).round().clamp(0, 255).to(torch.uint8)
    return ImageSet(images, labels, tuple(f"class {label}" for label in range(len(counts))))


def tiny_problem(
    counts: Sequence[int] = (9, 4, 1),
    shape: tuple[int, int, int] = (3, 8, 8),
    *,
    problem_type: type[Problem] = Problem,
    **settings: Any,
) -> Problem:
    """A problem on `tiny_images`; two images a class and a small ConvNet unless `settings` say otherwise."""
    train = tiny_images(counts, shape)
    settings = {"images_per_class": 2, "architecture": "convnet2-w8", **settings}
    return problem_type(train, fit_preprocessing(train, "normalize"), **settings)


class DoubleProblem(Problem):
    """The same problem in float64, for comparison with a reference to 1e-10."""

    def network(self, *scope: str | int) -> Network:
        return super().network(*scope).double()

    def real(self, indices: Tensor) -> Tensor:
        return self.preprocessing.apply(self.train.images[indices].double() / 255)


def largest_batch(work: Work) -> int:
    """The most images that pass through the network at once."""
    return max((load.images for load in work.loads), default=0)


def cheap_settings(model: type[BaseModel], cheap: Mapping[str, int] = CHEAP) -> dict[str, Any]:
    """Settings that make a method quick, found by the names of its hyper-parameters, in nested groups too."""
    settings: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        options = (field.annotation, *get_args(field.annotation))
        if TeacherSpec in options:
            one = field.annotation is TeacherSpec
            settings[name] = CHEAP_TEACHER if one else (CHEAP_TEACHER, CHEAP_TEACHER.model_copy(update={"seed": 1}))
            continue
        groups = [option for option in options if isinstance(option, type) and issubclass(option, BaseModel)]
        if groups and (nested := cheap_settings(groups[0], cheap)):
            settings[name] = nested
        limits = [limit for ending, limit in cheap.items() if name.endswith(ending)]
        if limits and int in options:
            settings[name] = limits[0]
    return settings


class CountedImages(TorchFunctionMode):
    """Counts the images that enter networks while it is a context, by their first convolution.

    Attributes:
        forward: without a graph. forward_backward: with one. batch: the most at once.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self._channels = channels
        self.forward = self.forward_backward = self.batch = 0

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function is torch.nn.functional.conv2d and args[0].shape[1] == self._channels:
            if torch.is_grad_enabled():
                self.forward_backward += len(args[0])
            else:
                self.forward += len(args[0])
            self.batch = max(self.batch, len(args[0]))
        return function(*args, **(kwargs or {}))
