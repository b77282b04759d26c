"""What the networks that students asked get of the test images themselves.

    python benchmarks/asked_networks.py bench/cifar10lt-cpu

The result is benchmarks/results/networks-NAME.json, a line for each finished cell whose students asked the network that
its set brought. Lines that stand there already are kept as long as no network is found for their cell. Evaluations tell
the same of themselves; grids that ran before they did, and their committed cells, do not.
"""

import argparse
from functools import cache
from pathlib import Path

import torch
from page_parts import RESULTS

import distail
from distail.artifact import read_json, write_json
from distail.bench.running import open_grid
from distail.evaluation.testing import tested
from distail.models.saved import load_network
from distail.provenance import environment
from distail.run_folder import RunFolder
from distail.runtime import Runtime

load_test = cache(distail.load_test)


def main() -> None:
    """Scores each network once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid", type=Path, help="folder in which a grid was run")
    parser.add_argument("--name", help="of the result; the folder's own when omitted")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    runtime = Runtime("cpu", "fp32")
    opened = open_grid(asked.grid)
    file = RESULTS / f"networks-{asked.name or asked.grid.resolve().name}.json"
    lines = {one["cell"]: one for one in read_json(file)["networks"]} if file.exists() else {}
    for place, result in opened.plan.results(opened.results()):
        if result is None or result.status != "done" or result.labels != "teacher" or result.set is None:
            continue
        folder = opened.store.sets / result.set
        network = RunFolder(folder).teacher
        if not network.exists():
            continue
        recipe = read_json(folder / "manifest.json")["recipe"]
        scores = tested(load_network(network), load_test(recipe["data"]["source"]), None, runtime)
        lines[result.key] = {
            "cell": result.key,
            "row": place.row,
            "values": dict(place.values),
            "seed": place.seed,
            "accuracy": scores.accuracy,
            "worst_class": min(scores.per_class),
        }
        print(place.row, dict(place.values), f"{scores.accuracy:.3f}", flush=True)
    write_json(file, {"networks": list(lines.values()), **environment(runtime)})


if __name__ == "__main__":
    main()
