"""What the processes of a job do in tests; each imports this file."""

from functools import partial
from pathlib import Path
from typing import Any

import torch

from distail import run_folder
from distail.artifact import TensorFile, write_json, write_tensors
from distail.devices import _distill
from distail.errors import DistailError
from distail.experts.bank import ExpertBank
from distail.experts.ground import ExpertGround
from distail.experts.school import train_experts
from distail.experts.spec import ExpertNeed
from distail.methods.lad import LAD
from distail.methods.mtt import MTT
from distail.peers import ALONE, Peers, launch
from distail.problem import Problem, Synthetic
from distail.recipe import DataRecipe, Recipe
from distail.runtime import Runtime
from tests.experts.lessons import FLAT, need, on
from tests.methods.tiny import tiny_problem

BATCHES = {"plain": FLAT.model_copy(update={"batch_size": 13}), "batch norm": FLAT}
NEEDS: dict[str, list[ExpertNeed]] = {
    "plain": [need(BATCHES["plain"], 2, num_experts=2), need(on(BATCHES["plain"]), 1)],
    "batch norm": [need(FLAT, 1)],
}
"""14 images in batches of 13, of which the last has fewer images than there are processes."""
NETWORKS = {"plain": "convnet2-w8", "batch norm": "convnet2-w8-batch"}
SHORT = {"iterations": 3, "steps": 3, "num_experts": 3, "max_start_epoch": 2, "experts_per_iteration": 2}
SHORT |= {"learning_rate_lr": 1e-7}  # so few experts are far from what they should be
METHODS = {
    "mtt": MTT(**SHORT, image_lr=10.0),
    "lad": LAD(**SHORT, classifier_steps=3, num_label_experts=2, expert_epochs=2, classifier_epochs=2, image_lr=10.0),
}


def ground(network: str, peers: Peers = ALONE) -> ExpertGround:
    return tiny_problem(architecture=NETWORKS[network], runtime=Runtime(peers=peers)).ground


def problem(bank: Path, peers: Peers = ALONE, **parts: Any) -> Problem:
    return tiny_problem(experts=ExpertBank(bank), runtime=Runtime(peers=peers), **parts)


def write(path: Path, made: Synthetic) -> None:
    tensors = {"images": made.images, "learning_rate": torch.tensor(made.learning_rate)}
    tensors |= {} if made.soft_labels is None else {"soft_labels": made.soft_labels}
    write_tensors(path, TensorFile("test", tensors, {}))


def everything(peers: Peers, folder: Path, bank: Path) -> None:
    """Sums and broadcasts, experts, and both kinds of matching with finished experts."""
    mine = torch.full((2,), float(peers.rank + 1))
    summed = peers.sum(mine).tolist()
    sent = peers.broadcast({"a": (torch.ones(2), "b")} if peers.is_first else None)
    assert sent is not None
    facts = {"sum": summed, "own": mine.tolist(), "sent": sent["a"][0].tolist(), "share": [peers.share(3).start]}
    write_json(folder / f"facts-{peers.rank}.json", {**facts, "size": peers.size})
    for network, needs in NEEDS.items():
        train_experts(ExpertBank(folder / network), ground(network, peers), needs)
    for name, method in METHODS.items():
        write(folder / f"{name}-{peers.rank}.safetensors", method.distill(problem(bank, peers)))


def fails(peers: Peers) -> None:
    """The second process meets bad input while the first waits for it."""
    if peers.rank == 1:
        raise DistailError("There is no such thing. Use another.")
    peers.sum(torch.ones(1))


RECIPE = Recipe(
    data=DataRecipe(source="digits", imbalance=50),
    method="mtt",
    settings={**SHORT, "iterations": 40, "batch_size": 8, "image_lr": 10.0, "experts": {"batch_size": 64}},
    images_per_class=1,
    architecture="convnet1-w8",
    device="cpu",
    precision="fp32",
)


def distils(peers: Peers, out: Path) -> None:
    """A run that keeps its state after every iteration."""
    run_folder.CHECKPOINT_INTERVAL_S = 0.0
    experts = out.parent / "experts"
    _distill(peers, recipe=RECIPE, out=out, resume=True, training=None, experts=experts, progress=None)


def main(out: str) -> None:
    """That run on two devices, as a process to be killed."""
    launch(partial(distils, out=Path(out)), 2, "cpu")
