"""Images a second of student training, by normalisation and precision: ConvNet-3, 32x32 RGB, batch 128, no DSA.

    python benchmarks/throughput.py throughput

The argument names the result, so that machines of different kinds can stand side by side. Each pair of precisions
is timed alternately in one process, so that their ratio means something on a noisy machine.
"""

import argparse
import statistics
import time

import torch
from page_parts import RESULTS

from distail.artifact import write_json
from distail.models import build_network
from distail.provenance import environment
from distail.runtime import Runtime, resolve_runtime
from distail.training.loop import train_network
from distail.training.recipe import TrainRecipe
from distail.training.targets import Targets
from distail.training.training_set import TensorTrainingSet

BATCH, BATCHES, ROUNDS = 128, 4, 5
RECIPE = TrainRecipe(epochs=1, batch_size=BATCH, schedule="constant", augmentation="none")


def images_per_second(norm: str, precision: str, device: str) -> float:
    """One short training."""
    images = torch.randn(BATCH * BATCHES, 3, 32, 32, device=device)
    data = TensorTrainingSet(images, Targets(torch.arange(len(images), device=device) % 10), 10)
    network = build_network(f"convnet3-{norm}", (3, 32, 32), 10, seed=0)
    begun = time.perf_counter()
    train_network(network, data, RECIPE, seed=0, runtime=Runtime(device, precision))
    return len(images) / (time.perf_counter() - begun)


def main() -> None:
    """Times every norm in both precisions and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="name of the result")
    name = parser.parse_args().name
    device = resolve_runtime().device
    rows = []
    for norm in ("instance", "batch", "group", "none"):
        rates: dict[str, list[float]] = {"fp32": [], "bf16": []}
        for round_ in range(ROUNDS + 1):
            for precision, values in rates.items():
                rate = images_per_second(norm, precision, device)
                if round_:  # the first round pays for set-up
                    values.append(rate)
        medians = {precision: statistics.median(values) for precision, values in rates.items()}
        rows.append(
            {"norm": norm, "n": ROUNDS, "images_per_second": medians, "ratio": medians["bf16"] / medians["fp32"]}
        )
        print(rows[-1])
    facts = environment(Runtime(device, "bf16"))
    write_json(
        RESULTS / f"{name}.json",
        {
            "what": "median images per second of training, ConvNet-3, 32x32 RGB, batch 128, without augmentation",
            "rows": rows,
            **{key: facts[key] for key in ("versions", "hardware", "device", "threads", "written")},
        },
    )


if __name__ == "__main__":
    main()
