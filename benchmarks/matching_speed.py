"""Times one LAD iteration, engine against oracle, and says what each idea brings; writes a small JSON.

    python benchmarks/matching_speed.py --repeats 3

Both phases, ConvNet-3 on 32x32 images of 10 classes, random parameters and images, full batches. Every variant runs in
a process of its own, one after another, and is timed on fewer steps than the recipe's 80 + 80; a step costs the same
wherever it stands, which the last row checks for the engine. Memory is the process's peak above what it held before the
first step. The plain variant is the released loop's arithmetic: eager double backward for both phases, the backbone's
gradient zeroed in the second.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import torch
from page_parts import RESULTS

from distail.artifact import write_json
from distail.data.augment import DSA
from distail.matching import FlatNetwork, InnerLoop, InnerLoss, Steps, match_classifier, match_trajectory
from distail.matching import backbone as backbone_module
from distail.matching.plain import match_classifier_plainly, match_trajectory_plainly
from distail.models import build_network, fused
from distail.provenance import environment
from distail.runtime import Runtime, resolve_runtime
from distail.seeding import torch_generator

VARIANTS = {
    "plain": "oracle: double backward in both phases, fp32",
    "memory": "oracle, and freed memory is kept by the process",
    "tangents": "and tangents instead of double backward, closed form for the classifier",
    "kernels": "and fused kernels for norm, ReLU and pooling",
    "threads": "and a part of the batch for each thread",
    "bf16": "and bf16 convolutions (the engine as it runs)",
}
"""Each has what the one before it has."""
IMAGE = (3, 32, 32)


def main() -> None:
    """Runs every variant, or one of them where a child process is told to."""
    arguments = _arguments()
    if arguments.variant:
        sys.stdout.write(json.dumps(_measure(arguments.variant, arguments.ipc, arguments.steps)) + "\n")
        return
    report = {"steps_in_recipe": "80 + 80", "variants": VARIANTS, "ipc": {}}
    for ipc, plain_steps, steps in ((10, 6, 10), (50, 2, 4)):
        rows = {
            name: _repeated(
                name, ipc, plain_steps if name in ("plain", "memory") else steps, arguments.repeats if ipc == 10 else 1
            )
            for name in VARIANTS
        }
        rows["bf16, more steps"] = _repeated("bf16", ipc, 4 * steps, 1)
        report["ipc"][ipc] = _summary(rows)
    runtime = resolve_runtime("cpu", "bf16")
    report["arithmetic"] = _limit(report["ipc"][10]["bf16"])
    write_json(RESULTS / "matching_speed.json", {**report, **environment(runtime)})


def _repeated(variant: str, ipc: int, steps: int, repeats: int) -> list[dict[str, float]]:
    command = [sys.executable, __file__, "--variant", variant, "--ipc", str(ipc), "--steps", str(steps)]
    return [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(repeats)]


def _summary(rows: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Median over repeats; seconds of the whole 80 + 80 steps, and ratios to the plain variant."""
    summary = {}
    for name, runs in rows.items():
        median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        median["iteration_s"] = 80 * (median["phase1_step_s"] + median["phase2_step_s"])
        summary[name] = median
    for median in summary.values():
        median["speedup"] = summary["plain"]["iteration_s"] / median["iteration_s"]
        median["memory_ratio"] = summary["plain"]["peak_bytes"] / median["peak_bytes"]
    return summary


def _measure(variant: str, ipc: int, num_steps: int) -> dict[str, float]:
    runtime = Runtime("cpu", "bf16" if variant == "bf16" else "fp32")
    if variant != "plain":
        resolve_runtime("cpu")
    if variant in ("plain", "memory", "tangents"):
        fused.usable = lambda maps: False
    if variant in ("plain", "memory", "tangents", "kernels"):
        backbone_module.map_chunks = lambda function, num_images, device: [function(slice(0, num_images))]
    slow = variant in ("plain", "memory")
    whole = match_trajectory_plainly if slow else match_trajectory
    last = match_classifier_plainly if slow else match_classifier
    built = build_network("convnet3", IMAGE, 10, seed=0)
    network, augment, generator = FlatNetwork(built, runtime), DSA(), torch_generator(0, "benchmark")
    images, labels = torch.randn(10 * ipc, *IMAGE, generator=generator), torch.randn(10 * ipc, 10, generator=generator)
    start = torch.cat([parameter.detach().flatten() for parameter in built.parameters()])
    target = start + 0.01 * torch.randn(len(start), generator=generator)
    target_of_classifier = torch.cat([start[: network.classifier_start], target[network.classifier_start :]])
    rate, batch = torch.tensor(0.01), 500
    dam = InnerLoss.distribution_agnostic([5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50])

    def phase1(count: int) -> None:
        steps = Steps.draw(len(images), count, batch, IMAGE, augment, torch_generator(0, "steps"))
        loop = InnerLoop(images, labels, rate, steps, augment, dam)
        whole(network, loop, start, target, matched="backbone")

    def phase2(count: int) -> None:
        steps = Steps.draw(len(images), count, batch, IMAGE, augment, torch_generator(0, "steps"))
        loop = InnerLoop(images, labels, rate, steps, augment, InnerLoss.plain())
        last(network, loop, start, target_of_classifier)

    before = _peak_bytes()
    for phase in (phase1, phase2):
        phase(1)  # pays for compiling and for the first memory
    seconds = {}
    for name, phase in (("phase1_step_s", phase1), ("phase2_step_s", phase2)):
        begun = time.perf_counter()
        phase(num_steps)
        seconds[name] = (time.perf_counter() - begun) / num_steps
    return {**seconds, "peak_bytes": _peak_bytes() - before}


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _limit(engine: dict[str, float]) -> dict[str, float]:
    """Counted operations of the convolutions, and the machine's rate in a large product of matrices."""
    forward = sum(9 * inputs * 128 * side * side for inputs, side in ((3, 32), (128, 16), (128, 8)))
    first = 9 * 3 * 128 * 32 * 32
    # Phase 1: a forward pass, gradients by maps and weights; then values and tangents (3 products a layer, 2 in the
    # first) and their reverse (3, and 2). Phase 2: forward; forward and reverse by maps.
    phase1 = (3 * forward - first) + (6 * forward - 2 * first)
    phase2 = 3 * forward
    operations = 2 * 100 * 80 * (phase1 + phase2)
    left, right = torch.randn(4096, 4096).bfloat16(), torch.randn(4096, 4096).bfloat16()
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        left @ right
        times.append(time.perf_counter() - begun)
    rate = 2 * 4096**3 / min(times)
    return {
        "operations_of_an_iteration": operations,
        "bf16_operations_per_second": rate,
        "least_seconds": operations / rate,
        "engine_over_least": engine["iteration_s"] / (operations / rate),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--variant", choices=VARIANTS, help="measure one variant in this process")
    parser.add_argument("--ipc", type=int, default=10)
    parser.add_argument("--steps", type=int, default=4)
    return parser.parse_args()


if __name__ == "__main__":
    main()
