"""Baselines trained and scored."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from distail.choices import DeviceName, PrecisionName
from distail.config import parse_config
from distail.data.image_set import ImageSet
from distail.evaluation.recipe import BaselineRecipe
from distail.evaluation.result import Evaluation
from distail.full_data import run_baseline
from distail.models.saved import save_network
from distail.progress import Progress
from distail.recipe import DataRecipe


def baseline(
    source: str | Path | ImageSet,
    method: str = "balanced_softmax",
    *,
    imbalance: float | None = None,
    holdout: float | None = None,
    image_size: int | None = None,
    test: str | Path | ImageSet | None = None,
    architecture: str = "convnet3",
    seeds: int = 3,
    epochs: int | None = None,
    train: Mapping[str, Any] = MappingProxyType({}),
    preprocessing: str = "normalize",
    save: str | Path | None = None,
    networks: str | Path | None = None,
    device: DeviceName = "auto",
    precision: PrecisionName = "auto",
    progress: Progress | None = None,
    **settings: Any,
) -> Evaluation:
    """Trains on all the long-tailed images and tests on held-out ones: what distilling is up against.

    Args:
        source: what `distail baseline` takes, or images in memory.
        method: a built-in baseline's name, or the module path of one of your own.
        imbalance: make the data long-tailed first, by a factor (100) or its inverse (0.01).
        holdout: fraction of each class set aside for testing first, for sources without a test split.
        test: held-out images; the test split of the source when omitted.
        architecture: of the networks.
        seeds: networks to train.
        epochs: passes over the images; the baseline's own number when omitted.
        train: what else differs from how the baseline trains networks, such as {"batch_size": 32}.
        save: file for the network of seed 0, which can serve as a teacher.
        networks: folder in which trained networks are kept, also the plain ones that many baselines begin with; those
            that are there are not trained again.
        progress: how to report; silent when omitted.
        settings: hyper-parameters of the baseline, such as tau=1.

    Raises:
        DistailError: bad input of any kind; the message says what to do.
    """
    origin = source.origin if isinstance(source, ImageSet) else str(source)
    place = {"source": origin, "imbalance": imbalance, "holdout": holdout, "image_size": image_size}
    recipe = {
        "method": method,
        "settings": settings,
        "architecture": architecture,
        "seeds": seeds,
        "train": {**train, **({} if epochs is None else {"epochs": epochs})},
        "preprocessing": preprocessing,
    }
    result = run_baseline(
        parse_config(DataRecipe, place, "distail.baseline"),
        parse_config(BaselineRecipe, recipe, "distail.baseline"),
        images=source if isinstance(source, ImageSet) else None,
        test=test,
        device=device,
        precision=precision,
        networks=networks,
        progress=progress,
    )
    if save is not None:
        save_network(save, result.networks[0])
    return result.evaluation
