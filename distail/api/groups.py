"""Groups of similar classes found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from distail.choices import DeviceName, PrecisionName
from distail.config import parse_config
from distail.data.image_set import ImageSet
from distail.group_data import GroupRecipe
from distail.group_study import GroupStudy, study_groups
from distail.groups.settings import FeatureImages
from distail.progress import Progress


def find_groups(
    source: str | Path | ImageSet,
    *,
    num_groups: int | Literal["auto"] = 2,
    imbalance: float | None = None,
    holdout: float | None = None,
    image_size: int | None = None,
    features: FeatureImages = "train",
    test: str | Path | ImageSet | None = None,
    architecture: str = "convnet3",
    preprocessing: str = "normalize",
    seed: int = 0,
    seeds: int = 1,
    compare: Sequence[str | Path | float] = (),
    device: DeviceName = "auto",
    precision: PrecisionName = "auto",
    out: str | Path | None = None,
    networks: str | Path | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> GroupStudy:
    """Finds groups of similar classes; `.grouping` of the result is the partition.

    Args:
        source: what `distail group` takes, or images in memory.
        num_groups: how many, or 'auto' for as many as decide best in two stages on held-out training images.
        imbalance: make the data long-tailed first, by a factor (100) or its inverse (0.01).
        holdout: leave out the fraction of each class that distilling sets aside for testing.
        features: images whose features are grouped: 'train', 'heldout', or 'test' as in the paper.
        test: test images for features='test'; the test split of the source when omitted.
        seeds: groupings found on each data set, with `seed` and the following ones.
        compare: 'balanced', imbalance factors, and distilled sets to find groups with as well.
        out: folder for the grouping, pictures and a manifest; nothing is written when omitted.
        networks: folder in which trained networks are kept; those that are there are not trained again.
        progress: how to report; silent when omitted.
        settings: other fields of `GroupingSettings`, such as epochs=20.

    Raises:
        DistailError: bad input of any kind; the message says what to do.
    """
    recipe = parse_config(
        GroupRecipe,
        {
            "data": {
                "source": source.origin if isinstance(source, ImageSet) else str(source),
                "imbalance": imbalance,
                "holdout": holdout,
                "image_size": image_size,
            },
            "settings": {**settings, "num_groups": num_groups, "features": features},
            "architecture": architecture,
            "preprocessing": preprocessing,
            "seed": seed,
            "seeds": seeds,
            "compare": tuple(map(str, compare)),
            "test": None if test is None or isinstance(test, ImageSet) else str(test),
            "device": device,
            "precision": precision,
        },
        "distail.find_groups",
    )
    return study_groups(
        recipe,
        source=source if isinstance(source, ImageSet) else None,
        test=test if isinstance(test, ImageSet) else None,
        out=out,
        networks=networks,
        progress=progress,
    )
