"""`KeptNetworks`: trained students on disk, so that an interrupted or a larger evaluation does not train them again.

A student is kept where all that decides it can be named: the images and targets, the network, the recipe, the seed and
the precision. What is trained by a technique of its own, or watched on validation images, is not kept.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from distail.errors import DistailError
from distail.models.saved import SavedNetwork, load_network, save_network
from distail.plugins import source_hash
from distail.runtime import Runtime
from distail.training.loop import History
from distail.training.recipe import TrainRecipe
from distail.training.training_set import TrainingSet

FORMAT = 1
"""Raised when training makes other networks of the same recipe."""


@dataclass(frozen=True)
class KeptNetworks:
    """A folder of trained networks, each in a file named by a hash of what decides it.

    Several processes may share it: files are written atomically, and who trains the same network makes the same bits.
    """

    folder: Path

    def holds(self, key: str) -> bool:
        """Whether there is a network of this key; its file is not read."""
        return self._path(key).exists()

    def find(self, key: str) -> tuple[SavedNetwork, History, float] | None:
        """A network, how its training went, and the seconds that it took; None where there is none of this key.

        Raises:
            DistailError: its file is damaged.
        """
        path = self._path(key)
        if not path.exists():
            return None
        saved = load_network(path)
        try:
            facts = saved.provenance["training"]
            return saved, History(**facts["history"]), float(facts["seconds"])
        except (KeyError, TypeError, ValueError) as error:
            raise DistailError(
                f"{path} does not say how its network was trained ({error!r}). Remove it; it is trained again."
            ) from None

    def keep(self, key: str, saved: SavedNetwork, history: History, seconds: float) -> None:
        """Writes a trained network."""
        facts = {"history": asdict(history), "seconds": seconds}
        network = SavedNetwork(
            saved.network,
            saved.architecture,
            saved.image_shape,
            saved.class_names,
            saved.preprocessing,
            {**saved.provenance, "training": facts},
        )
        save_network(self._path(key), network)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"


def training_key(data: TrainingSet, architecture: str, recipe: TrainRecipe, seed: int, runtime: Runtime) -> str | None:
    """Names a network by all that decides its training; None where the data cannot be named."""
    digest = data.digest()
    if digest is None:
        return None
    identity: dict[str, Any] = {
        "format": FORMAT,
        "data": digest,
        "architecture": architecture,
        "architecture_sha256": source_hash(architecture),
        "recipe": recipe.model_dump(mode="json"),
        "seed": seed,
        "device": runtime.device,
        "precision": runtime.precision,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
