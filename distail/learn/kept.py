"""`KeptNetworks`: trained students on disk, so that an interrupted or a larger evaluation does not train them again.

A student is kept where all that decides it can be named: the images and targets, the network, the recipe, the seed and
the precision. What is trained by a technique of its own, or watched on validation images, has no such name here; whole
baselines, whose name and settings say it all, have one of their own (`baselines/_fitting.py`) and may share the folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from distail.artifact import identity_hash
from distail.checkpoint import FileCheckpoint
from distail.claims import FOLDER as CLAIMS
from distail.claims import Claims
from distail.errors import DistailError
from distail.models.architecture import architecture_source
from distail.models.saved import SavedNetwork, load_network, save_network
from distail.progress import Progress
from distail.provenance import environment
from distail.runtime import Runtime, preferred_layout
from distail.training.recipe import TrainRecipe
from distail.training.state import History
from distail.training.training_set import TrainingSet

CHECKPOINT_INTERVAL_S = 60.0
"""Least time between two states of a training; shorter ones leave none."""
FORMAT = 1
"""Raised when training makes other networks of the same recipe."""


@dataclass(frozen=True)
class KeptNetworks:
    """A folder of trained networks, each in a file named by a hash of what decides it.

    Several processes may share it: one trains, and the others that need the same network wait for it. Files are written
    atomically, and who trained the same network all the same would make the same bits.

    Attributes:
        wait: whether whoever needs what another process trains waits for it; else `Claimed` is raised.
    """

    folder: Path
    wait: bool = True

    @property
    def claims(self) -> Claims:
        """Which process trains what."""
        return Claims(self.folder / CLAIMS, wait=self.wait)

    @contextmanager
    def find_or_claim(
        self, key: str, runtime: Runtime, what: str, progress: Progress | None = None
    ) -> Iterator[tuple[SavedNetwork, History, float] | None]:
        """What `find` finds, or None in a block in which this process alone trains this network, and keeps it.

        Args:
            key: of the network.
            runtime: where it is to be.
            what: the work, for others who wait for it.
            progress: is told where this process waits itself.

        Raises:
            Claimed: another process trains it, and `wait` is off.
            DistailError: as `find`, or the folder cannot hold claims.
        """
        if found := self.find(key, runtime):
            yield found
            return
        with self.claims.hold(key, what, progress):
            yield self.find(key, runtime)

    def holds(self, key: str) -> bool:
        """Whether there is a network of this key; its file is not read."""
        return self._path(key).exists()

    def find(self, key: str, runtime: Runtime) -> tuple[SavedNetwork, History, float] | None:
        """A network, how its training went, and the seconds that it took; None where there is none of this key.

        The network is in evaluation mode, on the device and in the memory layout of training, so that its answers are
        bit by bit those that it gave when it was kept.

        Raises:
            DistailError: its file is damaged.
        """
        path = self._path(key)
        if not path.exists():
            return None
        saved = load_network(path)
        try:
            facts = saved.provenance["training"]
            looks = [(epoch, score) for epoch, score in facts["history"]["validation"]]  # JSON made lists of them
            history, seconds = History(**{**facts["history"], "validation": looks}), float(facts["seconds"])
        except (KeyError, TypeError, ValueError) as error:
            raise self.unreadable(key, error) from None
        saved.network.to(runtime.device, memory_format=preferred_layout(saved.network))  # type: ignore[call-overload]
        origin = {name: fact for name, fact in saved.provenance.items() if name != "training"}
        return replace(saved, provenance=origin), history, seconds

    def unreadable(self, key: str, error: Exception) -> DistailError:
        """What to raise where the file of this key lacks something that whoever kept it writes."""
        return DistailError(
            f"{self._path(key)} does not say how its network was trained ({error!r}). Remove it; it is trained again."
        )

    def keep(self, key: str, saved: SavedNetwork, history: History, seconds: float, runtime: Runtime) -> None:
        """Writes a trained network, with how and where it was trained."""
        facts = {"history": asdict(history), "seconds": seconds, **environment(runtime)}
        save_network(self._path(key), replace(saved, provenance={**saved.provenance, "training": facts}))
        self.checkpoint(key).clear()

    def checkpoint(self, key: str) -> FileCheckpoint:
        """Where the state of the training of this network is kept until the network is."""
        return FileCheckpoint(self.folder / "unfinished" / f"{key}.safetensors", CHECKPOINT_INTERVAL_S)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"


def training_key(data: TrainingSet, architecture: str, recipe: TrainRecipe, seed: int, runtime: Runtime) -> str | None:
    """Names a network by all that decides its training; None where the data cannot be named."""
    digest = data.digest()
    if digest is None:
        return None
    return identity_hash({"data": digest, **training_identity(architecture, recipe, seed, runtime)})


def training_identity(architecture: str, recipe: TrainRecipe, seed: int, runtime: Runtime) -> dict[str, Any]:
    """All that decides a plain training beside its data, as JSON values."""
    return {
        "format": FORMAT,
        "architecture": architecture,
        "architecture_sha256": architecture_source(architecture),
        "recipe": recipe.model_dump(mode="json"),
        "seed": seed,
        "device": runtime.device,
        "precision": runtime.precision,
        "torch": torch.__version__,
    }
