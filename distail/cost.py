"""What a built-in recipe will take on 2 CPU cores, reckoned without its data.

Times are counts of images that pass through the network, over throughputs that were measured once; good to a factor of
about two. Data of your own are estimated by `distail check`, which measures the machine it runs on.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import cache

import torch

from distail.catalog import About, BuiltIn
from distail.data.image_set import ImageSet
from distail.data.long_tail import long_tail_counts
from distail.data.preprocess import fit_preprocessing
from distail.estimate import FLOAT_COPIES_OF_THE_SET, PROCESS_BYTES
from distail.matching.settings import MatchingSettings
from distail.matching.work import matching_work
from distail.methods._method import Method
from distail.methods._registry import build_method
from distail.models import build_network
from distail.parallel import CHUNK_IMAGES
from distail.problem import Problem, Work
from distail.recipe import Recipe

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
_CORES = 2
_ACTIVATION_BYTES_PER_PIXEL = math.ceil(128 * 3.25 * 4 / 3 * 4)
"""Of one image in a ConvNet: 128 channels; the outputs of convolution, norm and ReLU, and a quarter of one after
pooling; a third more for the blocks behind the first; four bytes each."""
_COPIES_WHILE_MATCHING = 3
"""Values, their tangents, and what flows back."""
_FLOAT_DATA_LIMIT = 2 * 2**30
"""Bytes up to which preprocessed training images are held beside the raw ones; more are preprocessed when used."""
_ZCA_MATRICES = 3
"""Covariance, eigenvectors and work space, in float64."""


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
    needs = method.expert_needs()
    experts = matching_work(problem, needs, iterations=0, batch_size=1, steps=0) if needs else Work()
    whole = method.work(problem)
    rest = Work(whole.forward - experts.forward, whole.forward_backward - experts.forward_backward, whole.batch)
    fused = isinstance(method, MatchingSettings) or method.runs_fused
    slower = _SLOWER[recipe.architecture, about.image_shape[1]]
    return Cost(
        experts_seconds=slower * _seconds(experts, FUSED),
        distillation_seconds=slower * _seconds(rest, FUSED if fused else UNFUSED),
        scoring_seconds=slower * _seconds(_scoring_work(recipe, about, method), FUSED),
        memory_bytes=_memory_bytes(problem, recipe, method, whole),
    )


def _imagined_problem(entry: BuiltIn) -> Problem:
    """The problem with as many images as the recipe will see, all of them the same one, which takes no memory."""
    counts = torch.tensor(class_counts(entry))
    labels = torch.arange(len(counts)).repeat_interleave(counts)
    images = torch.zeros(1, *entry.about.image_shape, dtype=torch.uint8).expand(len(labels), -1, -1, -1)
    train = ImageSet(images, labels, tuple(map(str, range(len(counts)))), entry.about.data)
    return Problem(
        train=train,
        preprocessing=fit_preprocessing(train, "none"),
        images_per_class=entry.recipe.images_per_class,
        architecture=entry.recipe.architecture,
    )


def _seconds(work: Work, throughput: Throughput) -> float:
    return work.forward / throughput.forward + work.forward_backward / throughput.forward_backward


def _scoring_work(recipe: Recipe, about: About, method: Method) -> Work:
    """Training of all students; their few looks at the test images are left out."""
    if recipe.evaluation is None:
        return Work()
    students = recipe.evaluation.seeds * len(recipe.evaluation.architectures)
    images = recipe.images_per_class * about.num_classes * method.images_in_one
    return Work(forward_backward=students * recipe.evaluation.train.num_epochs * images, batch=images)


def _memory_bytes(problem: Problem, recipe: Recipe, method: Method, work: Work) -> int:
    """The process, the data, the set, and the larger of fitting ZCA and what a distillation holds at once."""
    values = math.prod(problem.train.image_shape)
    data = len(problem.train) * values
    as_floats = 4 * data if 4 * data <= _FLOAT_DATA_LIMIT else 0
    synthetic = 4 * FLOAT_COPIES_OF_THE_SET * values * problem.images_per_class * problem.num_classes
    zca = 8 * _ZCA_MATRICES * values**2 if recipe.preprocessing == "zca" else 0
    activations = _ACTIVATION_BYTES_PER_PIXEL * problem.train.image_shape[1] * problem.train.image_shape[2]
    if isinstance(method, MatchingSettings):
        # θ of every step is kept for the second pass; images pass a chunk a core at a time.
        steps = (
            (method.steps + 1)
            * 4
            * _num_parameters(recipe.architecture, problem.train.image_shape, problem.num_classes)
        )
        at_once = steps + _CORES * CHUNK_IMAGES * _COPIES_WHILE_MATCHING * activations
    else:
        at_once = work.batch * activations
    return PROCESS_BYTES + data + as_floats + synthetic + max(zca, at_once)


@cache
def _num_parameters(architecture: str, image_shape: tuple[int, int, int], num_classes: int) -> int:
    network = build_network(architecture, image_shape, num_classes, seed=0)
    return sum(parameter.numel() for parameter in network.parameters())
