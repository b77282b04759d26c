"""Times the gradient of DC's matching loss, without double backward against with it; writes a small JSON.

    python benchmarks/gradient_matching_speed.py

One round of one class: ConvNet-3 on 32x32 images, IPC synthetic ones, and 256 real images or a single one, which leaves
about the time of the synthetic ones alone; random numbers for images. `eager` is what released code does: torch's
layers, and the gradient of a gradient by autograd. `engine` is `match_class`. Both run in this process, in turns, and
the median of the repeats counts; the gradients are compared too.
"""

import argparse
import statistics
import time

import torch
import torch.nn.functional as F
from page_parts import RESULTS

from distail.artifact import write_json
from distail.choices import PrecisionName
from distail.matching import FlatNetwork
from distail.models import build_network
from distail.provenance import environment
from distail.runtime import Runtime, resolve_runtime
from distail.seeding import torch_generator
from distail.synthetic.gradient_matching import match_class, row_cosine_distance

IMAGE = (3, 32, 32)
LABEL = 3


def main() -> None:
    """Measures every precision and size."""
    arguments = _arguments()
    rows = [
        {"precision": precision, "ipc": ipc, "real_images": real, **_measure(precision, ipc, real, arguments.repeats)}
        for precision in ("fp32", "bf16")
        for ipc in (10, 50)
        for real in (256, 1)
    ]
    report = {"repeats": arguments.repeats, "threads": torch.get_num_threads(), "rows": rows}
    facts = {name: value for name, value in environment(Runtime()).items() if name != "precision"}
    write_json(RESULTS / "gradient_matching_speed.json", {**report, **facts})


def _measure(precision: PrecisionName, ipc: int, num_real: int, repeats: int) -> dict[str, float]:
    runtime = resolve_runtime("cpu", precision)
    generator = torch_generator(0, "benchmark")
    network = build_network("convnet3", IMAGE, 10, seed=0)
    real, synthetic = (torch.randn(count, *IMAGE, generator=generator) for count in (num_real, ipc))
    student = FlatNetwork(network, runtime)
    parameters = student.layout.flatten(network)

    def engine() -> torch.Tensor:
        return match_class(student, parameters, real, synthetic, LABEL, row_cosine_distance).views

    def eager() -> torch.Tensor:
        leaf = synthetic.clone().requires_grad_()
        gradients = []
        for images, twice in ((real, False), (leaf, True)):
            with runtime.autocast():
                logits = network(images)
            loss = F.cross_entropy(logits.float(), torch.full((len(images),), LABEL))
            gradients.append(torch.autograd.grad(loss, list(network.parameters()), create_graph=twice))
        return torch.autograd.grad(row_cosine_distance(gradients[1], gradients[0]), leaf)[0]

    # The first calls pay for compiling and for the first memory.
    apart = float((engine() - (wanted := eager())).abs().max() / wanted.abs().max())
    seconds: dict[str, list[float]] = {"eager": [], "engine": []}
    for _ in range(repeats):
        for name, run in (("eager", eager), ("engine", engine)):
            begun = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - begun)
    median = {f"{name}_s": statistics.median(times) for name, times in seconds.items()}
    ratios = [slow / fast for slow, fast in zip(seconds["eager"], seconds["engine"], strict=True)]
    return {
        **median,
        "speedup": median["eager_s"] / median["engine_s"],
        "speedup_std": statistics.stdev(ratios),
        "largest_relative_difference": apart,
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
