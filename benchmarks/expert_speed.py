"""Times the ways to train several representation experts at once on a CPU, and counts what a recipe needs of them.

    python benchmarks/expert_speed.py

Four ConvNet-3 experts on 32x32 images, batches of 256, plain gradient steps in bf16: one after another with a part of
the batch for each thread (what `train_experts` does), one process for each core, `torch.func.vmap` over the experts,
and grouped convolutions. Rates are images a second over all experts.
"""

import statistics
import subprocess
import sys
import time

import torch
import torch.nn.functional as F
from page_parts import RESULTS
from torch.func import functional_call, grad, vmap

from distail.artifact import write_json
from distail.experts.school import with_bases
from distail.experts.spec import ClassifierSpec, ExpertNeed
from distail.methods.lad import LAD
from distail.models import build_network
from distail.provenance import environment
from distail.runtime import resolve_runtime
from distail.training.gradients import batch_gradients
from distail.training.targets import Targets

BATCH, EXPERTS, REPEATS = 256, 4, 3
COUNTS = (5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50)
CLASSIFIER_EPOCH = len(COUNTS) * COUNTS[0]
FORWARD_SHARE = 1 / 3
"""A forward pass, in forward and backward passes."""


def main() -> None:
    """Times every way and writes the result."""
    if len(sys.argv) > 1:
        torch.set_num_threads(1)
        sys.stdout.write(str(_seconds(_one_after_another, EXPERTS // 2)))
        return
    runtime = resolve_runtime("cpu")
    ways = {
        "one after another, threads share a batch": lambda: _seconds(_one_after_another, EXPERTS),
        "a process for each core": _processes,
        "vmap over experts": lambda: _seconds(_vmap, EXPERTS),
        "grouped convolutions": lambda: _seconds(_grouped, EXPERTS),
    }
    rates = {}
    for name, seconds in ways.items():
        rates[name] = BATCH * EXPERTS / statistics.median(seconds() for _ in range(REPEATS))
        print(f"{name}: {rates[name]:.0f} images/s", flush=True)
    write_json(
        RESULTS / "expert_speed.json",
        {"images_per_second": rates, "work": _work(), **environment(runtime)},
    )


def _work() -> dict[str, dict[str, float]]:
    """Passes over images that experts take: 100 of 100 epochs as the authors train them, and what is needed here.

    In forward and backward passes of one image; GSAM takes two, a frozen backbone a forward pass.
    """
    images = sum(COUNTS)
    authors = {"representation": 100 * 100 * images * 2.0, "classifier": 100 * 10 * CLASSIFIER_EPOCH * 2.0}
    needed = {"authors": authors}
    for name, method in {
        "IF 100, IPC 10, all 100 experts, 5 of them to the end": LAD(num_label_experts=5),
        "IF 100, IPC 10, 20 experts, 5 of them to the end": LAD(num_experts=20, num_label_experts=5),
    }.items():
        parts = {"representation": 0.0, "classifier": 0.0}
        for need in with_bases(method.expert_needs()):
            epochs = sum(need.epochs_of(expert) for expert in range(need.total))
            parts[need.spec.kind] += epochs * _epoch_cost(need, images)
        needed[name] = parts
    return {
        name: {**parts, "times_less": sum(authors.values()) / sum(parts.values())} for name, parts in needed.items()
    }


def _epoch_cost(need: ExpertNeed, images: int) -> float:
    return CLASSIFIER_EPOCH * FORWARD_SHARE if isinstance(need.spec, ClassifierSpec) else images * 2.0


def _seconds(way, experts: int) -> float:
    way(experts)  # pays for compiling
    begun = time.perf_counter()
    way(experts)
    return time.perf_counter() - begun


def _one_after_another(experts: int) -> None:
    runtime = resolve_runtime("cpu")
    for seed in range(experts):
        network = build_network("convnet3", (3, 32, 32), 10, seed)
        network.fused = True
        batch_gradients(network, torch.randn(BATCH, 3, 32, 32), Targets(torch.arange(BATCH) % 10), runtime)


def _processes() -> float:
    running = [subprocess.Popen([sys.executable, __file__, "child"], stdout=subprocess.PIPE) for _ in range(2)]
    return max(float(process.communicate()[0]) for process in running)


def _vmap(experts: int) -> None:
    networks = [build_network("convnet3", (3, 32, 32), 10, seed) for seed in range(experts)]
    names = [name for name, _ in networks[0].named_parameters()]
    stacked = {name: torch.stack([dict(one.named_parameters())[name].detach() for one in networks]) for name in names}
    images, labels = torch.randn(experts, BATCH, 3, 32, 32), (torch.arange(BATCH) % 10).expand(experts, -1)

    def loss(parameters: dict[str, torch.Tensor], images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            logits = functional_call(networks[0], parameters, (images,))
        return F.cross_entropy(logits.float(), labels)

    vmap(grad(loss))(stacked, images, labels)


def _grouped(experts: int) -> None:
    """All experts as one network: channels of one stand beside those of the others."""
    width, maps = 128, torch.randn(BATCH, 3 * experts, 32, 32)
    parameters = []
    with torch.autocast("cpu", torch.bfloat16):
        for inputs in (3, width, width):
            weight = (0.05 * torch.randn(width * experts, inputs, 3, 3)).requires_grad_()
            scale, shift = (
                torch.ones(width * experts, requires_grad=True),
                torch.zeros(width * experts, requires_grad=True),
            )
            parameters += [weight, scale, shift]
            maps = F.conv2d(maps, weight, padding=1, groups=experts)
            maps = F.avg_pool2d(F.group_norm(maps, width * experts, scale, shift).relu(), 2)
        features = maps.view(BATCH, experts, -1).transpose(0, 1)  # experts b f
        classifier = (0.02 * torch.randn(experts, features.shape[2], 10)).requires_grad_()
        logits = torch.bmm(features, classifier)
    loss = F.cross_entropy(logits.float().flatten(0, 1), torch.arange(BATCH).remainder(10).repeat(experts))
    torch.autograd.grad(loss, [*parameters, classifier])


if __name__ == "__main__":
    main()
