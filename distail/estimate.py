"""Time and memory that a distillation will take, from a short measurement of this machine."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from distail.errors import DistailError
from distail.methods._method import Method
from distail.models import Network
from distail.problem import Problem
from distail.runtime import available_memory_bytes

_PROBE_IMAGES = 64
PROCESS_BYTES = 500 * 2**20
"""What Python and torch occupy before any image, measured on Linux with torch 2.13 on the CPU."""
FLOAT_COPIES_OF_THE_SET = 5
"""Images, momentum, gradient, update and one temporary."""


@dataclass(frozen=True)
class Estimate:
    """What a distillation will take, roughly.

    Attributes:
        seconds: wall time, good to a factor of about two.
        memory_bytes: peak, with the data.
    """

    seconds: float
    memory_bytes: int


def estimate(problem: Problem, method: Method) -> Estimate:
    """Times one batch through the network, forward and backward, and scales it by the method's work."""
    work = method.work(problem)
    return Estimate(
        seconds=work.forward * _seconds_per_image(problem, backward=False)
        + work.forward_backward * _seconds_per_image(problem, backward=True)
        if work.batch
        else 0.0,
        memory_bytes=_memory_bytes(problem, method),
    )


def require_memory(problem: Problem, method: Method) -> None:
    """Refuses a run that cannot fit.

    Raises:
        DistailError: names what is needed and what is there.
    """
    needed, available = (
        _set_bytes(problem) + _activation_bytes(problem, method),
        available_memory_bytes(problem.runtime.device),
    )
    if needed > available:
        total = problem.images_per_class * problem.num_classes
        raise DistailError(
            f"{total} synthetic images ({problem.images_per_class} per class) need about {needed / 2**30:.1f} GiB, but "
            f"{available / 2**30:.1f} GiB are free. Ask for fewer with --ipc, or smaller ones with --image-size."
        )


def _memory_bytes(problem: Problem, method: Method) -> int:
    return PROCESS_BYTES + problem.train.images.nbytes + _set_bytes(problem) + _activation_bytes(problem, method)


def _set_bytes(problem: Problem) -> int:
    channels, height, width = problem.train.image_shape
    per_image = 4 * channels * height * width
    return FLOAT_COPIES_OF_THE_SET * per_image * problem.images_per_class * problem.num_classes


def _activation_bytes(problem: Problem, method: Method) -> int:
    """Bytes of all layer outputs of the largest batch, found by running two images through the network."""
    batch = method.work(problem).batch
    if not batch:
        return 0
    network = problem.network("estimate")
    total = 0

    def count(module: torch.nn.Module, inputs: object, output: torch.Tensor) -> None:
        nonlocal total
        total += output.nbytes

    hooks = [module.register_forward_hook(count) for module in network.modules() if not list(module.children())]
    with torch.no_grad():
        network(_probe(problem, 2))
    for hook in hooks:
        hook.remove()
    return total // 2 * batch


def _seconds_per_image(problem: Problem, *, backward: bool) -> float:
    network = problem.network("estimate")
    images = _probe(problem, _PROBE_IMAGES)
    _pass(problem, network, images, backward)  # the first pass pays for set-up
    begun = time.perf_counter()
    _pass(problem, network, images, backward)
    return (time.perf_counter() - begun) / len(images)


def _pass(problem: Problem, network: Network, images: torch.Tensor, backward: bool) -> None:
    with problem.runtime.autocast(), torch.set_grad_enabled(backward):
        total = network(images).float().sum()
    if backward:
        total.backward()
    float(total.detach())  # waits for the device


def _probe(problem: Problem, count: int) -> torch.Tensor:
    return problem.real(torch.arange(count) % len(problem.train))
