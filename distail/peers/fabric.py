"""Processes started and connected by lightning-fabric. Only imported where several are asked for."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor

from distail.peers.group import Peers

T = TypeVar("T")

_PATIENCE = timedelta(days=30)
"""One process may wait for long, as where it waits itself for a third; that one died is noticed in another way."""
_OF_FABRIC = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")
"""Variables by which its processes find each other. Those of an outer job are not meant for them."""


class Together(Peers):
    """Several processes."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        return self._fabric.global_rank

    @property
    def size(self) -> int:
        """How many there are."""
        return self._fabric.world_size

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum, on this process's device; the tensor stays as it is."""
        found = self._fabric.all_reduce(tensor.detach().clone().contiguous(), reduce_op="sum")  # overwrites the clone
        assert isinstance(found, Tensor)
        return found

    def broadcast(self, value: T) -> T:
        """The first process's value; others need not give it."""
        return self._fabric.broadcast(_on_cpu(value))


class _Processes(DDPStrategy):
    """New processes that connect without a word. No network is ever handed to it, so none is wrapped."""

    def __init__(self) -> None:
        environment = LightningEnvironment()
        super().__init__(cluster_environment=environment, start_method="spawn", timeout=_PATIENCE)

    def setup_environment(self) -> None:
        """Connects this process with the others."""
        logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
        super().setup_environment()


def start(work: Callable[[Fabric], None], devices: int, device: str) -> None:
    """Runs `work` in so many new processes, and returns when all have ended."""
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # whoever calls says why processes ended
    with _own_variables():
        Fabric(accelerator=device, devices=devices, strategy=_Processes()).launch(work)


def disconnect() -> None:
    """Ends this process's connection."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@contextmanager
def _own_variables() -> Iterator[None]:
    before = {name: os.environ.pop(name, None) for name in _OF_FABRIC}
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _on_cpu(value: Any) -> Any:
    """The same with tensors that any process can take."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, dict):
        return {name: _on_cpu(part) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(map(_on_cpu, value))
    return value
