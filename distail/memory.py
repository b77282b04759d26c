"""How much memory a distillation will take: the one reckoning behind refusals, estimates and the table of recipes.

Layer outputs of one image are counted by running two images through the network; what the passes keep of them was
measured on the CPU (benchmarks/results/matching_speed.json). Good to a factor of about 1.6.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

from distail.experts.ground import FLOAT_IMAGES_SHARE
from distail.matching.backbone import goes_by_tangents
from distail.methods._method import Method
from distail.models import build_network
from distail.models.size import network_size
from distail.parallel import num_parts
from distail.problem import Load, Problem

PROCESS_BYTES = 500 * 2**20
"""What Python, torch and reading a source leave behind: 220 MiB of torch 2.13 on Linux, for the CPU; 550 MiB in all in
a run of `random` on CIFAR-10-LT (benchmarks/results/random.json)."""
_KERNEL_BYTES = 80 * 2**20
"""The fused kernels and what compiles them; seen in the kernels' row of matching_speed.json."""
_FLOAT_COPIES_OF_THE_SET = 5
"""Images, momentum, gradient, update and one temporary."""
_ZCA_MATRICES = 3
"""Covariance, eigenvectors and work space, in float64."""
_BACKWARD_COPIES = 1.0
_FUSED_TANGENT_COPIES = 3.0
"""Layer outputs, their tangents, and what flows back; the kernels keep few of each."""
_TANGENT_COPIES = 5.0
"""By separate layers, as everywhere but on the CPU; not measured on a GPU."""
_DOUBLE_BACKWARD_COPIES = 3.3
"""Between 2 where freed memory goes back to the system, and 5 where the process keeps it, as on Linux."""


@dataclass(frozen=True)
class Machine:
    """What the answer depends on beside the problem.

    Attributes:
        threads: of the CPU, which share batches.
        available_bytes: free memory of the device.
    """

    threads: int
    available_bytes: int


@dataclass(frozen=True)
class Memory:
    """Memory by its use, in bytes. On CUDA only the device's counts, and the first three are zero.

    Attributes:
        process: before any image.
        data: training images as bytes.
        fitting: of the preprocessing, given back before the method begins.
        method: what the method adds.
    """

    process: int
    data: int
    fitting: int
    method: int

    @property
    def peak(self) -> int:
        """The most that is held at one time."""
        return self.process + self.data + max(self.fitting, self.method)


def memory_needed(problem: Problem, method: Method, machine: Machine) -> Memory:
    """The memory of a distillation, the process and its data included."""
    loads = [_load_bytes(problem, load, machine) for load in method.work(problem).loads]
    added = _set_bytes(problem) + max(loads, default=0)
    if problem.runtime.device == "cuda":
        return Memory(0, 0, 0, added)
    return Memory(PROCESS_BYTES, problem.train.images.numel(), _fitting_bytes(problem), added)


def _set_bytes(problem: Problem) -> int:
    values = math.prod(problem.train.image_shape) * problem.images_per_class * problem.num_classes
    return 4 * _FLOAT_COPIES_OF_THE_SET * values


def _fitting_bytes(problem: Problem) -> int:
    if problem.preprocessing.kind != "zca":
        return 0
    side = min(len(problem.train), math.prod(problem.train.image_shape))
    return 8 * _ZCA_MATRICES * side**2


def _load_bytes(problem: Problem, load: Load, machine: Machine) -> int:
    named = load.architecture or problem.architecture, problem.train.image_shape, problem.num_classes
    network = network_size(*named, problem.runtime)
    on_cpu = problem.runtime.device == "cpu"
    passes, splits = load.passes, load.shared and on_cpu and not network.mixes_images
    if passes == "tangents" and not _has_tangents(*named):
        passes, splits = "double_backward", False
    parts = num_parts(load.images) if splits else 1
    at_once = min(machine.threads * -(-load.images // parts), load.images)
    vectors = load.parameter_vectors + (0 if passes == "forward" else parts)  # a gradient of each part
    kept = vectors * network.vector_bytes + load.feature_vectors * network.feature_bytes
    if load.float_images:
        kept += _float_images_bytes(problem, machine)
    if passes == "forward":
        return kept + at_once * network.widest_bytes
    if passes == "backward":
        return kept + int(_BACKWARD_COPIES * load.graphs * at_once * network.output_bytes)
    if passes == "tangents" and on_cpu:
        return kept + _KERNEL_BYTES + int(_FUSED_TANGENT_COPIES * at_once * network.output_bytes)
    copies = _TANGENT_COPIES if passes == "tangents" else _DOUBLE_BACKWARD_COPIES * load.graphs
    return kept + int(copies * at_once * network.output_bytes)


def _float_images_bytes(problem: Problem, machine: Machine) -> int:
    """As `ExpertGround.training_set` decides."""
    size = 4 * problem.train.images.numel()
    return size if size <= machine.available_bytes // FLOAT_IMAGES_SHARE else 0


@cache
def _has_tangents(architecture: str, image_shape: tuple[int, int, int], num_classes: int) -> bool:
    return goes_by_tangents(build_network(architecture, image_shape, num_classes, seed=0))
