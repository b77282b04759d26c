"""`distail relabel`: other soft labels for a distilled set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from distail.choices import DeviceName
from distail.cli.options import Output, Whole


def relabel(
    target: Path,
    /,
    *,
    out: Path,
    teacher: Path | None = None,
    views: Annotated[int | None, Whole] = None,
    adsa: bool = False,
    train: str | None = None,
    imbalance: float | None = None,
    device: DeviceName = "auto",
    output: Output = Output(),
) -> None:
    """Make a set with other soft labels: those of a teacher, corrected for the long tail, or both.

    The new set is a run folder that other commands open like any other; the old one stays as it is.

    Parameters
    ----------
    target
        A run folder or its distilled.safetensors.
    out
        Folder for the new set; must not exist.
    teacher
        File of a network whose logits become the labels, made by `distail train` or `distail baseline --save`.
    views
        Random boxes of each image, enlarged, and mixed where the set's students train with CutMix, that the teacher
        labels one by one and the set stores; 0 stores none. When omitted, views that the set has are labelled anew.
    adsa
        Correct the labels by one number, so that classes are equally certain.
    train
        Source of the long-tailed images for --adsa, where the set does not know how many there were of each class.
    imbalance
        Long tail given to --train: factor (100) or its inverse (0.01).
    device
        Device to compute on.
    """
    from distail.relabelling import relabel as make
    from distail.report.labels import labels_report
    from distail.run_folder import RunFolder

    made = make(
        target,
        teacher=teacher,
        views=views,
        adsa=adsa,
        train=train,
        imbalance=imbalance,
        out=out,
        device=device,
        progress=output.progress(),
    )
    steps = [(step.by, step.confidence) for step in made.steps]
    output.show(
        {"out": str(out), "tau": made.tau, "steps": [step.to_json() for step in made.steps]},
        *labels_report(made.distilled.class_names, steps, made.tau),
        f"The new set is in {out}. Score it with `distail evaluate {out} --labels static`"
        + (", or --labels teacher to ask its network." if RunFolder(out).teacher.exists() else "."),
    )
