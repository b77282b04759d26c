"""What a built-in recipe will take on 2 CPU cores, reckoned without its data.

Times are counts of images that pass through the network, over throughputs that were measured once; good to a factor of
about two. Data of your own are estimated by `distail check`, which measures the machine it runs on.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import cache

import torch
from jaxtyping import Int64
from torch import Tensor

from distail.catalog import About, BuiltIn
from distail.data.image_set import ImageSet
from distail.data.long_tail import long_tail_counts
from distail.data.preprocess import Preprocessing
from distail.matching.work import expert_work
from distail.memory import Machine, memory_needed
from distail.methods._method import Method
from distail.methods._registry import build_method
from distail.problem import Problem, Work
from distail.recipe import Recipe
from distail.runtime import Runtime
from distail.training.recipe import TrainRecipe

HARDWARE = "AMD EPYC, 2 cores, bf16"
"""What the throughputs below were measured on, idle otherwise, with torch 2.13."""


@dataclass(frozen=True)
class Throughput:
    """Images a second through ConvNet-3 at 32x32.

    Attributes:
        forward_backward: with the gradients of the parameters.
        forward: forward only.
    """

    forward_backward: float
    forward: float


# A forward pass was measured only roughly, at two and a half to three times the speed of both passes.
FUSED = Throughput(forward_backward=1150, forward=3000)
"""Of networks in training, experts and matched students, and of methods that say `runs_fused`. Matching's second pass,
510 images a second and 360 for the exact gradient, is counted in these by `matching_work`."""
UNFUSED = Throughput(forward_backward=486, forward=800)
"""Of all other methods, with the layers of torch: benchmarks/results/throughput.json, and dm.json for forward only."""

_SLOWER = {("convnet3", 32): 1.0, ("convnet4", 64): 4.2}
"""Time for an image, relative to ConvNet-3 at 32x32, by network and side in pixels; measured."""
_MACHINE = Machine(threads=2, available_bytes=16 * 2**30)


@dataclass(frozen=True)
class Cost:
    """What a recipe takes.

    Attributes:
        experts_seconds: training all experts; none of it where another run has left them.
        distillation_seconds: making the set from there.
        scoring_seconds: training the students of the recipe's evaluation.
        memory_bytes: peak.
    """

    experts_seconds: float
    distillation_seconds: float
    scoring_seconds: float
    memory_bytes: int

    def to_json(self) -> dict[str, float | int]:
        """As JSON values."""
        return asdict(self)


def class_counts(entry: BuiltIn) -> tuple[int, ...]:
    """Training images of each class, where every class of the source has as many as its largest."""
    imbalance = entry.recipe.data.imbalance
    return long_tail_counts(entry.about.largest_class, entry.about.num_classes, 1 if imbalance is None else imbalance)


def cost_on_cpu(entry: BuiltIn) -> Cost:
    """The cost on `HARDWARE`, with no expert trained yet. On a GPU nothing has been measured."""
    recipe, about = entry.recipe, entry.about
    method = build_method(recipe.method, recipe.settings)
    problem = _imagined_problem(entry)
    experts, whole = expert_work(problem, method.expert_needs()), method.work(problem)
    rest = Work(whole.forward - experts.forward, whole.forward_backward - experts.forward_backward)
    fused = method.runs_fused or any(load.passes == "tangents" for load in whole.loads)
    slower = _SLOWER[recipe.architecture, about.image_shape[1]]
    return Cost(
        experts_seconds=slower * _seconds(experts, FUSED),
        distillation_seconds=slower * _seconds(rest, FUSED if fused else UNFUSED),
        scoring_seconds=slower * _seconds(_scoring_work(recipe, about, method), FUSED),
        memory_bytes=memory_needed(problem, method, _MACHINE).peak,
    )


def _imagined_problem(entry: BuiltIn) -> Problem:
    """The problem with as many images as the recipe will see, all of them the same one, which takes no memory."""
    counts = class_counts(entry)
    labels = _labels(counts)
    images = torch.zeros(1, *entry.about.image_shape, dtype=torch.uint8).expand(len(labels), -1, -1, -1)
    train = ImageSet(images, labels, tuple(map(str, range(len(counts)))), entry.about.data)
    return Problem(
        train=train,
        preprocessing=_imagined_preprocessing(entry),
        images_per_class=entry.recipe.images_per_class,
        architecture=entry.recipe.architecture,
        runtime=Runtime("cpu", "bf16"),
    )


@cache
def _labels(counts: tuple[int, ...]) -> Int64[Tensor, " n"]:
    """Many recipes have the same data, ImageNet's among them."""
    return torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))


def _imagined_preprocessing(entry: BuiltIn) -> Preprocessing:
    """Of the recipe's kind where that takes memory; fitted on nothing."""
    shape = entry.about.image_shape
    if entry.recipe.preprocessing != "zca":
        return Preprocessing("none", shape)
    size = math.prod(shape)
    return Preprocessing(
        "zca", shape, mean=torch.zeros(size), components=torch.zeros(0, size), variances=torch.zeros(0)
    )


def _seconds(work: Work, throughput: Throughput) -> float:
    return work.forward / throughput.forward + work.forward_backward / throughput.forward_backward


def _scoring_work(recipe: Recipe, about: About, method: Method) -> Work:
    """Training of all students, and a teacher's looks at their views; their few at test images are left out.

    The teacher counts as the problem's network. A method's own recipe of students takes the place of the common one.
    """
    if recipe.evaluation is None:
        return Work()
    own = getattr(method, "students", None)
    training = own if isinstance(own, TrainRecipe) else recipe.evaluation.train
    students = recipe.evaluation.seeds * len(recipe.evaluation.architectures)
    images = recipe.images_per_class * about.num_classes * method.images_in_one
    views = students * training.num_epochs * images
    return Work(forward=views if recipe.evaluation.labels == "teacher" else 0, forward_backward=views)
