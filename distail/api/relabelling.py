"""Distilled sets with other soft labels."""

from __future__ import annotations

from pathlib import Path

from distail import relabelling
from distail.choices import DeviceName
from distail.data.image_set import ImageSet
from distail.distilled import DistilledSet
from distail.models.saved import SavedNetwork
from distail.progress import Progress


def relabel(
    target: DistilledSet | str | Path,
    *,
    teacher: SavedNetwork | str | Path | None = None,
    views: int | None = None,
    adsa: bool = False,
    train: ImageSet | str | Path | None = None,
    imbalance: float | None = None,
    out: str | Path | None = None,
    device: DeviceName = "auto",
    progress: Progress | None = None,
) -> DistilledSet:
    """Makes a set with other soft labels: those of a teacher, corrected for the long tail, or both.

    What was done, with ADSA's τ, is in the new set's provenance under 'relabelled'.

    Args:
        target: a set, a run folder or a set's file; nothing of it is changed.
        teacher: a network, or its file, whose logits become the labels; a mosaic gets the mean over its cells.
        views: of each image that are drawn anew for the teacher to label, and from which students then learn; 0 stores
            none, None labels the views that the set has.
        adsa: whether labels are corrected by one number, so that classes are equally certain.
        train: the long-tailed images, where the set does not say how many of each class it was made from.
        imbalance: the long tail given to `train`.
        out: folder for the new set; nothing is written when omitted.

    Raises:
        DistailError: bad input of any kind; the message says what to do.
    """
    return relabelling.relabel(
        target,
        teacher=teacher,
        views=views,
        adsa=adsa,
        train=train,
        imbalance=imbalance,
        out=out,
        device=device,
        progress=progress,
    ).distilled
