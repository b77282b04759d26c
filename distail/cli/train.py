"""`distail train`: train one network and keep it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from distail.cli.options import Compute, Output, Repeatable, Whole, asked_training
from distail.cli.two_stage import TwoStageFlags
from distail.errors import DistailError, counted

if TYPE_CHECKING:
    from distail.scoring import TrainingSource
    from distail.training.recipe import TrainRecipe


def train(
    target: str,
    /,
    *,
    out: Path,
    arch: str = "convnet3",
    epochs: Annotated[int | None, Whole] = None,
    labels: Literal["hard", "static", "teacher"] = "static",
    teacher: Path | None = None,
    imbalance: float | None = None,
    holdout: float | None = None,
    image_size: Annotated[int | None, Whole] = None,
    batch_size: Annotated[int | None, Whole] = None,
    lr: float | None = None,
    schedule: Literal["step", "cosine", "constant"] | None = None,
    augmentation: str | None = None,
    recipe: Annotated[tuple[str, ...], Repeatable] = (),
    seed: Annotated[int, Whole] = 0,
    train: str | None = None,
    stages: TwoStageFlags = TwoStageFlags(),
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
        Passes over the images; as stored with a set, or 1000, when omitted.
    labels
        What to learn from: hard labels, soft labels stored in the set, or a teacher.
    teacher
        File of a network made by this command, for --labels teacher; the run's own when omitted.
    imbalance
        Make an image source long-tailed first: factor (100) or its inverse (0.01).
    holdout
        Leave out the fraction of an image source that distilling set aside for testing.
    image_size
        Resize an image source to this many pixels a side; needed where sizes differ.
    batch_size
        Images a step; as stored with a set, or 256, when omitted.
    lr
        Largest step size; as stored with a set, or 0.01, when omitted. One learned with the set takes precedence.
    schedule
        step: a tenth in the second half; cosine: to zero; constant. As stored with a set, or step, when omitted.
    augmentation
        DSA operations joined by '_', of which each batch gets one; rand or rand-2-9, RandAugment; '+' between such
        parts, as in rand+resized+flip; or 'none'. As stored with a set, or color_crop_cutout_flip_scale_rotate, when
        omitted.
    recipe
        NAME=VALUE of anything else in how to train, such as optimizer=adamw, loss=divergence, mixing=cutmix or
        average=0.99; may be repeated.
    seed
        Source of all randomness.
    train
        Source of the long-tailed images for --two-stage, with --imbalance, where the set does not know it.
    """
    flags = {"epochs": epochs, "batch_size": batch_size, "learning_rate": lr, "schedule": schedule}
    asked = _train_recipe(asked_training(recipe, **flags, augmentation=augmentation))
    from distail.artifact import require_free
    from distail.learn.student import train_student
    from distail.models.saved import save_network
    from distail.opening import open_classroom
    from distail.runtime import resolve_runtime

    require_free(out)
    runtime = resolve_runtime(compute.device, compute.precision)
    if (two_stage := stages.values()) is not None:
        source = _long_tailed(target, train, imbalance, holdout, image_size)
        common = {"train": asked, "labels": labels, "teacher": teacher, "seed": seed, "runtime": runtime}
        output.show(*_in_two_stages(target, two_stage, out, arch, output, training=source, **common))
        return
    if train is not None:
        raise DistailError("--train names images for --two-stage. Pass --two-stage as well, or leave it out.")
    classroom = open_classroom(
        target,
        runtime,
        imbalance=imbalance,
        holdout=holdout,
        image_size=image_size,
        labels=labels,
        teacher=teacher,
        progress=output.progress(),
    )
    how = classroom.training.changed_by(asked)
    student = train_student(
        classroom, arch, how, seed, runtime, progress=output.progress(), provenance={"trained on": target}
    )
    save_network(out, student.saved)
    loss = student.history.losses[-1]
    output.show(
        {"network": str(out), "architecture": arch, "epochs": how.num_epochs, "loss": loss},
        f"Trained {arch} for {counted(how.num_epochs, 'epoch')}, last training loss {loss:.3f}; saved in {out}.",
    )


def _train_recipe(values: dict[str, Any]) -> TrainRecipe:
    from distail.config import parse_config
    from distail.training.recipe import TrainRecipe

    return parse_config(TrainRecipe, values, "train")


def _long_tailed(
    target: str, train: str | None, imbalance: float | None, holdout: float | None, image_size: int | None
) -> TrainingSource:
    """The images of the group stage; `imbalance` is theirs."""
    from distail.opening import is_distilled, require_plain
    from distail.scoring import TrainingSource

    if not is_distilled(Path(target)):
        raise DistailError(
            f"{target} is no distilled set, from which the second of two stages learns. Name a run folder or its "
            "distilled.safetensors, and the long-tailed images with --train SOURCE."
        )
    require_plain(target, imbalance if train is None else None, holdout, image_size)
    return TrainingSource(train, imbalance)


def _in_two_stages(
    target: str, asked: dict[str, Any], out: Path, arch: str, output: Output, **how: Any
) -> tuple[dict[str, Any], str]:
    """Trains, as `train_on_set` is told to, and saves a two-stage network; returns what to show of it."""
    from distail.config import parse_config
    from distail.groups.settings import TwoStageRecipe
    from distail.groups.two_stage import save_two_stage
    from distail.two_stages import train_on_set

    recipe = parse_config(TwoStageRecipe, asked, "train")
    trained = train_on_set(target, recipe, architecture=arch, progress=output.progress(), **how)
    save_two_stage(out, trained.saved)
    grouping = trained.saved.model.grouping.to_json()["groups"]
    learned = ", ".join(f"{stage.title} for {counted(stage.epochs, 'epoch')}" for stage in trained.stages)
    facts = {
        "network": str(out),
        "architecture": arch,
        "groups": grouping,
        "stages": [vars(one) for one in trained.stages],
    }
    return facts, f"Trained {arch} in two stages: {learned}; saved in {out}."
