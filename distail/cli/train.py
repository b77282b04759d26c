"""`distail train`: train one network and keep it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from distail.cli.options import Compute, Output, Whole


def train(
    target: str,
    /,
    *,
    out: Path,
    arch: str = "convnet3",
    epochs: Annotated[int, Whole] = 1000,
    labels: Literal["hard", "static", "teacher"] = "static",
    teacher: Path | None = None,
    imbalance: float | None = None,
    holdout: float | None = None,
    image_size: Annotated[int | None, Whole] = None,
    batch_size: Annotated[int, Whole] = 256,
    lr: float = 0.01,
    schedule: Literal["step", "cosine", "constant"] = "step",
    augmentation: str = "color_crop_cutout_flip_scale_rotate",
    seed: Annotated[int, Whole] = 0,
    compute: Compute = Compute(),
    output: Output = Output(),
) -> None:
    """Train one network on a distilled set, or on real images, and save it.

    The file holds weights, class names and preprocessing: it classifies raw images, and serves as a teacher.

    Parameters
    ----------
    target
        A run folder, its distilled.safetensors, or any image source.
    out
        File for the network (.safetensors).
    arch
        Network to train.
    epochs
        Passes over the images.
    labels
        What to learn from: hard labels, soft labels stored in the set, or a teacher.
    teacher
        File of a network made by this command, for --labels teacher.
    imbalance
        Make an image source long-tailed first: factor (100) or its inverse (0.01).
    holdout
        Leave out the fraction of an image source that distilling set aside for testing.
    image_size
        Resize an image source to this many pixels a side; needed where sizes differ.
    batch_size
        Images a step.
    lr
        Initial step size; a learning rate learned with the set takes precedence.
    schedule
        step: a tenth in the second half; cosine: to zero; constant.
    augmentation
        DSA operations joined by '_', or 'none'.
    seed
        Source of all randomness.
    """
    from distail.config import parse_config
    from distail.training.recipe import TrainRecipe

    recipe = parse_config(
        TrainRecipe,
        {
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": lr,
            "schedule": schedule,
            "augmentation": augmentation,
        },
        "train",
    )
    from distail.artifact import require_free
    from distail.learn.student import train_student
    from distail.models.saved import save_network
    from distail.runtime import resolve_runtime
    from distail.scoring import open_classroom

    require_free(out)
    runtime = resolve_runtime(compute.device, compute.precision)
    classroom = open_classroom(
        target,
        runtime,
        imbalance=imbalance,
        holdout=holdout,
        image_size=image_size,
        labels=labels,
        teacher=teacher,
    )
    student = train_student(
        classroom, arch, recipe, seed, runtime, progress=output.progress(), provenance={"trained on": target}
    )
    save_network(out, student.saved)
    loss = student.history.losses[-1]
    output.show(
        {"network": str(out), "architecture": arch, "epochs": recipe.num_epochs, "loss": loss},
        f"Trained {arch} for {recipe.num_epochs} epochs, last training loss {loss:.3f}; saved in {out}.",
    )
