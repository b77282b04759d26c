"""Randomness without global state: every random number comes from a seed derived from a name.

A generator made from (seed, "dm", iteration) depends on nothing that ran before it. That is what makes a killed
run resume with the same bits: no random state has to be saved, only the iteration.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive_seed(seed: int, *scope: str | int) -> int:
    """A 63-bit seed that is a pure function of `seed` and the names in `scope`; independent across scopes."""
    text = "\x1f".join(str(part) for part in (seed, *scope))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def torch_generator(seed: int, *scope: str | int) -> torch.Generator:
    """A CPU generator for this scope. Parameters are drawn on the CPU so that every device sees the same ones."""
    return torch.Generator().manual_seed(derive_seed(seed, *scope))


@contextmanager
def isolated_seed(seed: int, *scope: str | int) -> Iterator[None]:
    """Seeds the global CPU generator inside the block and restores it after.

    For code that takes no generator, such as the weight initialisation of `torch.nn` layers.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, *scope))
        yield
