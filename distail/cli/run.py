"""`distail run`: reproduce a run from its recipe, or a row of a published table by its name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from distail.cli.distill import default_folder, make
from distail.cli.options import Devices, Output, Repeatable, asked_recipe

if TYPE_CHECKING:
    from distail.catalog import BuiltIn
    from distail.recipe import Recipe
    from distail.training_images import TrainingImages


def run(
    recipe: str,
    /,
    *,
    out: Path | None = None,
    source: str | None = None,
    test: str | None = None,
    set: Annotated[tuple[str, ...], Repeatable] = (),
    experts: Path | None = None,
    resume: Annotated[bool, Parameter(negative=())] = False,
    devices: Devices = 1,
    output: Output = Output(),
) -> None:
    """Make, and if the recipe says so score, the set that a recipe describes.

    Parameters
    ----------
    recipe
        A YAML file, such as the recipe.yaml in a run folder, or a name that `distail recipes` lists. Where there is
        such a file, the file is meant.
    out
        Folder for the run; runs/NAME, or as for distill where the recipe is a file, when omitted.
    source
        Where the data are, if not where the recipe says.
    test
        Where the test images are, if not where the recipe says.
    set
        NAME=VALUE of a hyper-parameter to change; may be repeated.
    experts
        Folder of experts, for methods that imitate some; here in `experts` when omitted.
    resume
        Go on with the killed run in --out.
    devices
        Devices of this machine to compute on at once, a process each; for methods that imitate experts. They decide
        how long it takes, and not the result.
    """
    loaded, named = asked_recipe(recipe, source=source, settings=set)
    if test:
        loaded = loaded.model_copy(update={"test": test})
    folder = out or (Path("runs") / named.name if named else default_folder(loaded))
    if loaded.evaluation is None:
        output.show(make(loaded, folder, resume, output, experts, devices))
        return
    from distail import devices as several
    from distail import scoring
    from distail.cli.evaluate import evaluation_file, report
    from distail.distilled import load_distilled
    from distail.run_folder import RunFolder

    training = None
    if not (resume and RunFolder(folder).is_complete):
        several.require_ready(loaded, devices=devices, out=folder, resume=resume)
        training = _scorable_images(loaded, output)
    made = make(loaded, folder, resume, output, experts, devices, training if devices == 1 else None)
    distilled = load_distilled(folder)
    evaluation = scoring.with_teacher(loaded.evaluation, folder)
    result = scoring.score(
        distilled,
        evaluation,
        test=loaded.test,
        device=loaded.device,
        precision=loaded.precision,
        progress=output.progress(),
    )
    facts, remarks = {**made, "evaluation": result.to_json()}, []
    if named and named.published:
        facts["published"] = named.published.model_dump(mode="json")
        remarks.append(_published_line(named))
    report(result, distilled, evaluation, evaluation_file(folder), output, facts, *remarks)


def _scorable_images(recipe: Recipe, output: Output) -> TrainingImages:
    """The images to learn from, if the test images can score what comes of them: nobody should wait for what cannot."""
    from distail import scoring
    from distail.evaluation.apart import require_held_out
    from distail.training_images import load_training_images

    progress = output.progress()
    training = load_training_images(recipe.data, progress)
    test = scoring.open_test_images(recipe.data, recipe.test, training.images, training.source_hash, progress)
    require_held_out(test, training.images, training.source_hash, "the set is made from")
    return training


def _published_line(named: BuiltIn) -> str:
    from distail.report.recipes import published_text

    source = named.published.source if named.published else ""
    remark = " This variant for a CPU does not aim at it." if named.is_for_cpu else ""
    return f"Published for this row: {published_text(named)} in {source}, by other code.{remark}"
