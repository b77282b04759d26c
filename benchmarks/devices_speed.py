"""Times one process against several that share a job, each on one thread of a CPU, or on a GPU of its own.

    python benchmarks/devices_speed.py --device cpu --devices 2

An epoch of a ConvNet-3 expert on 2,560 random images of 32x32 pixels in batches of 256, and an iteration of MTT and of
LAD with as many experts as processes. Figures are ratios within one run: seconds of one process over those of several.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from page_parts import RESULTS

from distail.artifact import read_json, write_json
from distail.data.image_set import ImageSet
from distail.data.preprocess import fit_preprocessing
from distail.experts.bank import ExpertBank
from distail.experts.school import train_experts
from distail.experts.spec import ExpertNeed, RepresentationSpec
from distail.methods.lad import LAD
from distail.methods.mtt import MTT
from distail.peers import Peers, launch
from distail.problem import Problem
from distail.provenance import environment
from distail.runtime import Runtime

CLASSES, PER_CLASS, IPC, REPEATS = 10, 256, 10, 3
SHORT = {"num_experts": 2, "max_start_epoch": 2, "steps": 5, "learning_rate_lr": 0.0, "image_lr": 1.0}


def problem(bank: Path, device: str, peers: Peers) -> Problem:
    """Random images, which take as long as others."""
    labels = torch.arange(CLASSES).repeat_interleave(PER_CLASS)
    pixels = torch.randint(0, 256, (len(labels), 3, 32, 32), generator=torch.Generator().manual_seed(0))
    images = ImageSet(pixels.to(torch.uint8), labels, tuple(map(str, range(CLASSES))))
    runtime = Runtime(device, peers=peers)
    return Problem(images, fit_preprocessing(images, "normalize"), IPC, runtime=runtime, experts=ExpertBank(bank))


def measure(peers: Peers, folder: Path, device: str, turns: int) -> None:
    """What each process does; the first one writes the seconds of every piece of work."""
    if device == "cpu":
        torch.set_num_threads(1)
    posed = problem(folder / "bank", device, peers)
    settings = {**SHORT, "experts_per_iteration": turns}
    mtt, lad = MTT(**settings), LAD(**settings, classifier_steps=5, num_label_experts=1, expert_epochs=3)
    for method in (mtt, lad):
        train_experts(ExpertBank(folder / "bank"), posed.ground, method.expert_needs())
    found = {"expert epoch": _seconds(lambda number: _train(posed, folder / f"epochs-{peers.size}-{number}"))}
    for name, method in {"mtt": mtt, "lad": lad}.items():
        one, three = (method.model_copy(update={"iterations": number}) for number in (1, 3))
        short, long = (_seconds(lambda _, which=which: which.distill(posed)) for which in (one, three))
        found[f"{name} iteration"] = (long - short) / 2
    if peers.is_first:
        write_json(folder / f"{peers.size}.json", {"seconds": found, **environment(posed.runtime)})


def _train(posed: Problem, folder: Path) -> None:
    need = ExpertNeed(spec=RepresentationSpec(), num_experts=1, epochs=1)
    train_experts(ExpertBank(folder), posed.ground, [need])


def _seconds(work: Callable[[int], object]) -> float:
    """The least of some runs, which others on the machine disturb least, after one that pays for compiling."""
    found = []
    for number in range(REPEATS + 1):
        begun = time.perf_counter()
        work(number)
        found.append(time.perf_counter() - begun)
    return min(found[1:])


def main() -> None:
    """Measures both and writes the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--devices", type=int, default=2)
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for devices in (1, asked.devices):
            launch(partial(measure, folder=folder, device=asked.device, turns=asked.devices), devices, asked.device)
        alone, together = read_json(folder / "1.json"), read_json(folder / f"{asked.devices}.json")
    faster = {work: alone["seconds"][work] / seconds for work, seconds in together["seconds"].items()}
    for work, ratio in faster.items():
        print(f"{work}: {alone['seconds'][work]:.2f} s by one process, {ratio:.2f} times as fast by {asked.devices}")
    result = {"times_as_fast": faster, "alone": alone, "together": together}
    write_json(RESULTS / f"devices_speed-{asked.device}.json", result)


if __name__ == "__main__":
    main()
