"""`distail group`: find groups of similar classes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from distail.choices import PreprocessingKind
from distail.cli.options import Compute, Output, Repeatable, Whole, num_groups, parse_settings
from distail.errors import DistailError

if TYPE_CHECKING:
    from distail.group_study import GroupStudy

_FLAGS = {"num_groups": "--groups", "num_centroids": "--centroids", "features": "--features", "epochs": "--epochs"}


def group(
    source: str,
    /,
    *,
    imbalance: float | None = None,
    groups: str = "2",
    centroids: Annotated[int, Whole] = 5,
    features: Literal["train", "heldout", "test"] = "train",
    test: str | None = None,
    arch: str = "convnet3",
    epochs: Annotated[int, Whole] = 50,
    set: Annotated[tuple[str, ...], Repeatable] = (),
    preprocessing: PreprocessingKind = "normalize",
    seeds: Annotated[int, Whole] = 1,
    compare: Annotated[tuple[str, ...], Repeatable] = (),
    out: Path | None = None,
    networks: Path | None = None,
    holdout: float | None = None,
    image_size: Annotated[int | None, Whole] = None,
    strict: Annotated[bool, Parameter(negative=())] = False,
    seed: Annotated[int, Whole] = 0,
    compute: Compute = Compute(),
    output: Output = Output(),
) -> None:
    """Find groups of similar classes, show why, and how stable they are.

    Trains a network, takes its features of images, and cuts the classes into the groups that are farthest apart.

    Parameters
    ----------
    source
        digits, a folder with one folder per class, a .parquet or .npz file, or hf:NAME; or a run folder or its
        distilled.safetensors, for a network trained on that set.
    imbalance
        Make the data long-tailed first: factor (100) or its inverse (0.01).
    groups
        How many groups, or auto: as many as decide best in two stages on images held out of training.
    centroids
        k-means centres of each class.
    features
        Images whose features are grouped: training images, images held out of them, or, to reproduce the paper, test
        images.
    test
        Source of the test images for --features test; the source's own test split when omitted.
    arch
        Network whose features are grouped.
    epochs
        Passes over the training images; a distilled set is passed over until it took as many steps.
    set
        NAME=VALUE of another setting: max_groups, validation, max_images, batch_size, learning_rate, augmentation.
    preprocessing
        Fitted on the training images; a distilled set brings its own.
    seeds
        Repeat with this many seeds, and tell how well the groups agree.
    compare
        Find groups also with a network trained on: balanced, an imbalance factor (10), or a distilled set (its run
        folder), and tell how well they agree. May be repeated.
    out
        Folder for the grouping, the pictures and a manifest; nothing is written when omitted.
    networks
        Folder to keep trained networks in; those that are there are not trained again.
    holdout
        Leave out the fraction of each class that distilling sets aside for testing.
    image_size
        Resize images to this many pixels a side; needed where sizes differ.
    strict
        Fail on an unreadable image instead of leaving it out.
    seed
        Source of all randomness; with --seeds, the first of them.
    """
    from distail.config import parse_config
    from distail.group_data import GroupRecipe
    from distail.group_study import study_groups

    recipe = parse_config(
        GroupRecipe,
        {
            "data": {
                "source": source,
                "imbalance": imbalance,
                "holdout": holdout,
                "image_size": image_size,
                "strict": strict,
            },
            "settings": {
                **_settings(set),
                "num_groups": num_groups(groups),
                "num_centroids": centroids,
                "features": features,
                "epochs": epochs,
            },
            "architecture": arch,
            "preprocessing": preprocessing,
            "seed": seed,
            "seeds": seeds,
            "compare": compare,
            "test": test,
            "device": compute.device,
            "precision": compute.precision,
        },
        "group",
    )
    study = study_groups(recipe, out=out, networks=networks, progress=output.progress())
    output.show(study.to_json(), *_report(study, out))


def _settings(set: tuple[str, ...]) -> dict[str, Any]:
    """Settings that have no flag of their own."""
    settings = parse_settings(set)
    for name in settings.keys() & _FLAGS.keys():
        raise DistailError(f"--set {name}=… does what {_FLAGS[name]} is for. Use that.")
    return settings


def _report(study: GroupStudy, out: Path | None) -> list[Any]:
    from distail.report.groups import (
        agreement_table,
        classes_table,
        groups_notes,
        groups_table,
        others_table,
        tried_table,
    )

    found = study.main
    parts: list[Any] = [groups_table(found), "", classes_table(found), ""]
    if found.tried:
        parts += [tried_table(found.tried, found.grouping.num_groups), ""]
    if study.agreement:
        parts += [agreement_table(study.agreement), "", others_table(study.found), ""]
    parts += groups_notes(found)
    if out:
        parts.append(f"The grouping is in {out / 'grouping.json'}, with pictures and a manifest beside it.")
    return parts
