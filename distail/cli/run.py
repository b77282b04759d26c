"""`distail run`: reproduce a run from its recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from distail.cli.distill import default_folder, make
from distail.cli.options import Output


def run(
    recipe: Path,
    /,
    *,
    out: Path | None = None,
    source: str | None = None,
    test: str | None = None,
    resume: Annotated[bool, Parameter(negative=())] = False,
    output: Output = Output(),
) -> None:
    """Make, and if the recipe says so score, the set that a recipe describes.

    Parameters
    ----------
    recipe
        A YAML file, such as the recipe.yaml in a run folder.
    out
        Folder for the run.
    source
        Where the data are, if not where the recipe says.
    test
        Where the test images are, if not where the recipe says.
    resume
        Go on with the killed run in --out.
    """
    from distail.recipe import load_recipe

    loaded = load_recipe(recipe)
    if source:
        loaded = loaded.model_copy(update={"data": loaded.data.model_copy(update={"source": source})})
    if test:
        loaded = loaded.model_copy(update={"test": test})
    folder = out or default_folder(loaded)
    made = make(loaded, folder, resume, output)
    if loaded.evaluation is None:
        output.show(made)
        return
    from distail import scoring
    from distail.cli.evaluate import evaluation_file, report
    from distail.distilled import load_distilled

    distilled = load_distilled(folder)
    result = scoring.score(
        distilled,
        loaded.evaluation,
        test=loaded.test,
        device=loaded.device,
        precision=loaded.precision,
        progress=output.progress(),
    )
    report(result, distilled, loaded.evaluation, evaluation_file(folder), output)
    output.show({**made, "evaluation": result.to_json()})
