"""Time and memory that a distillation will take, from a short measurement of this machine."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from distail.errors import DistailError
from distail.memory import Machine, memory_needed
from distail.methods._method import Method
from distail.models import Network
from distail.problem import Problem
from distail.runtime import available_memory_bytes

_PROBE_IMAGES = 64


@dataclass(frozen=True)
class Estimate:
    """What a distillation will take, roughly.

    Attributes:
        seconds: wall time, good to a factor of about two.
        memory_bytes: peak, with the process and its data; of the device alone on CUDA.
    """

    seconds: float
    memory_bytes: int


def estimate(problem: Problem, method: Method) -> Estimate:
    """Times one batch through the network, forward and backward, and scales it by the method's work."""
    work = method.work(problem)
    return Estimate(
        seconds=work.forward * _seconds_per_image(problem, backward=False)
        + work.forward_backward * _seconds_per_image(problem, backward=True)
        if work.forward or work.forward_backward
        else 0.0,
        memory_bytes=memory_needed(problem, method, _machine(problem)).peak,
    )


def require_memory(problem: Problem, method: Method) -> None:
    """Refuses a run that cannot fit.

    Raises:
        DistailError: names what is needed, what is there, and which settings would lower the need.
    """
    machine = _machine(problem)
    needed = memory_needed(problem, method, machine).method  # the process and its data are in memory already
    if needed > machine.available_bytes:
        total = problem.images_per_class * problem.num_classes
        smaller = _fitting_batch(problem, method, machine)
        remedy = f" Or pass fewer through the network at once: --set {smaller}." if smaller else ""
        raise DistailError(
            f"{total} synthetic images ({problem.images_per_class} per class) need about {needed / 2**30:.1f} GiB, but "
            f"{machine.available_bytes / 2**30:.1f} GiB are free. Ask for fewer with --ipc, or smaller ones with "
            f"--image-size.{remedy}"
        )


def _machine(problem: Problem) -> Machine:
    runtime = problem.runtime
    sharing = runtime.peers.size if runtime.device == "cpu" else 1
    return Machine(torch.get_num_threads(), available_memory_bytes(runtime.device) // sharing)


def _fitting_batch(problem: Problem, method: Method, machine: Machine) -> str | None:
    """'batch_size=125', the method's batch halved until it fits; None where it has no batch, or that does not help."""
    if (name := method.batch_field) is None:
        return None
    batch = getattr(method, name)
    while batch > 1:
        batch //= 2
        smaller = method.model_copy(update={name: batch})
        if memory_needed(problem, smaller, machine).method <= machine.available_bytes:
            return f"{name}={batch}"
    return None


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
