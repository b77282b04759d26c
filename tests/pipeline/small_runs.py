"""A small source, a recipe for it, and how two results are compared."""

import json
from pathlib import Path

import numpy as np
import torch

from distail.data.image_set import ImageSet
from distail.distilled import DistilledSet
from distail.recipe import DataRecipe, Recipe
from tests.evaluation.separable import ARCHITECTURE, NAMES, images_of

ITERATIONS = 6
FILES = {"manifest.json", "recipe.yaml", "metrics.jsonl", "start.safetensors", "distilled.safetensors", "images.png"}


def write_source(path: Path, train: ImageSet | None = None, test: ImageSet | None = None) -> Path:
    arrays = {"class_names": np.array(NAMES)}
    for split, images in (("train", train or images_of((12, 12, 12), 1)), ("test", test or images_of((3, 3, 3), 2))):
        arrays[f"{split}_images"] = images.images.permute(0, 2, 3, 1).numpy()
        arrays[f"{split}_labels"] = images.labels.numpy()
    np.savez(path, **arrays)
    return path


def recipe_for(source: Path | str, **changes) -> Recipe:
    data = {"source": str(source), "imbalance": 4.0, **changes.pop("data", {})}
    values = {
        "method": "dm",
        "settings": {"iterations": ITERATIONS, "real_batch": 4, "image_lr": 0.5},
        "images_per_class": 2,
        "architecture": ARCHITECTURE,
        "precision": "fp32",
        "device": "cpu",
        **changes,
    }
    return Recipe(data=DataRecipe(**data), **values)


def assert_same_set(first: DistilledSet, second: DistilledSet) -> None:
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.labels, second.labels)
    assert first.class_names == second.class_names
    assert first.preprocessing.header() == second.preprocessing.header()
    tensors = second.preprocessing.to_tensors()
    for name, tensor in first.preprocessing.to_tensors().items():
        assert torch.equal(tensor, tensors[name])


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def metrics(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
