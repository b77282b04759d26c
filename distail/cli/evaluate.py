"""`distail evaluate`: score a distilled set honestly."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from distail.cli.options import Compute, Output, Repeatable, Whole, asked_training, require_place
from distail.cli.two_stage import TwoStageFlags

if TYPE_CHECKING:
    from distail.distilled import DistilledSet
    from distail.evaluation.recipe import EvaluationRecipe
    from distail.evaluation.result import Evaluation


def evaluate(
    target: str,
    /,
    *,
    test: str | None = None,
    arch: Annotated[tuple[str, ...], Repeatable] = ("convnet3",),
    seeds: Annotated[int, Whole] = 3,
    epochs: Annotated[int | None, Whole] = None,
    labels: Literal["hard", "static", "teacher"] = "static",
    teacher: str | None = None,
    reference: Annotated[tuple[Literal["random", "full"], ...], Repeatable] = (),
    full_epochs: Annotated[int | None, Whole] = None,
    select: Literal["last", "validation"] = "last",
    batch_size: Annotated[int | None, Whole] = None,
    lr: float | None = None,
    augmentation: str | None = None,
    recipe: Annotated[tuple[str, ...], Repeatable] = (),
    train: str | None = None,
    imbalance: float | None = None,
    like: Path | None = None,
    networks: Path | None = None,
    out: Path | None = None,
    stages: TwoStageFlags = TwoStageFlags(),
    compute: Compute = Compute(),
    output: Output = Output(),
) -> None:
    """Train students on a distilled set and test them on held-out images.

    Parameters
    ----------
    target
        A run folder, its distilled.safetensors, or an exported set (parquet, folder, npz).
    test
        Source of the test images; the test split of the source the set was made from when omitted.
    arch
        Network of the students; may be repeated.
    seeds
        Students of each network.
    epochs
        Passes over the set, one more with the step schedule; as stored with the set, or 1000, when omitted.
    labels
        What students learn from: hard labels, soft labels stored in the set, or a teacher.
    teacher
        File of a network made by `distail train`, for --labels teacher; the run's own when omitted.
    reference
        Rows to set beside: as many random real images, or the full training set. May be repeated.
    full_epochs
        Epochs of the reference `full`; as many as for the set when omitted.
    select
        Which epoch is scored: the last, or the best on validation images drawn from the training data.
    batch_size
        Images a step; as stored with the set, or 256, when omitted.
    lr
        Largest step size; as stored with the set, or 0.01, when omitted. One learned with the set takes precedence.
    augmentation
        DSA operations joined by '_', of which each batch gets one; rand or rand-2-9, RandAugment; '+' between such
        parts, as in rand+resized+flip; or 'none'. As stored with the set, or color_crop_cutout_flip_scale_rotate, when
        omitted.
    recipe
        NAME=VALUE of anything else in how students are trained, such as optimizer=adamw, loss=divergence,
        mixing=cutmix or average=0.99; may be repeated.
    train
        Source of the training data, for references, validation and two stages, where the set does not know it.
    imbalance
        Long tail of --train, as when distilling.
    like
        Run or set that an exported set came from; its preprocessing is used.
    networks
        Folder to keep trained students in; those that are there are not trained again, such as after a crash.
    out
        File for the result as JSON; in the run folder when omitted.
    """
    flags = {"epochs": epochs, "batch_size": batch_size, "learning_rate": lr, "augmentation": augmentation}
    asked = _recipe(
        architectures=arch,
        seeds=seeds,
        labels=labels,
        teacher=teacher,
        select=select,
        references=tuple(dict.fromkeys(reference)),
        full_epochs=full_epochs,
        two_stage=stages.values(),
        train=asked_training(recipe, **flags),
    )
    from distail import opening, scoring

    folder = Path(target) if (Path(target) / "manifest.json").exists() else None
    require_place(out or evaluation_file(folder))
    asked = scoring.with_teacher(asked, like or target)
    distilled = opening.open_set(target, like=like)
    result = scoring.score(
        distilled,
        asked,
        test=test,
        training=scoring.TrainingSource(train, imbalance),
        device=compute.device,
        precision=compute.precision,
        networks=networks,
        progress=output.progress(),
    )
    report(result, distilled, asked, out or evaluation_file(folder), output, result.to_json())


def _recipe(**values: Any) -> EvaluationRecipe:
    from distail.config import parse_config
    from distail.evaluation.recipe import EvaluationRecipe

    return parse_config(EvaluationRecipe, values, "evaluate")


def evaluation_file(folder: Path | None) -> Path | None:
    """Where in a run folder the next evaluation belongs; None where there is no run folder."""
    from distail.run_folder import RunFolder, unused_path

    return unused_path(RunFolder(folder).evaluation) if folder else None


def report(
    result: Evaluation,
    distilled: DistilledSet,
    recipe: EvaluationRecipe,
    written: Path | None,
    output: Output,
    facts: dict[str, Any],
    *remarks: str,
) -> None:
    """Saves the result as JSON and text, and prints it, also where a full disk refused it.

    Args:
        facts: what is printed as JSON, if that is asked for.
        remarks: what is said below everything else, if not.
    """
    from distail.report.evaluation import evaluation_notes, evaluation_tables, render_text

    tables, notes = evaluation_tables(result, distilled), evaluation_notes(result, distilled, recipe)
    kept: list[str] = []
    try:
        if written:
            from distail.artifact import write_text

            result.save(written)
            write_text(written.with_suffix(".txt"), render_text([*tables, *notes]))
            kept.append(f"Saved in {written}, and as text beside it.")
    finally:
        output.show(facts, *tables, *notes, *kept, *remarks)
