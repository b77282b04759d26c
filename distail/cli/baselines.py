"""`distail baselines`: what there is to choose from, and what can be set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distail.cli.options import Output

if TYPE_CHECKING:
    from distail.baselines._baseline import Baseline


def baselines(name: str | None = None, /, *, output: Output = Output()) -> None:
    """List the ways to train on all the long-tailed images, with their papers, or the hyper-parameters of one.

    Parameters
    ----------
    name
        A baseline, to see its hyper-parameters with their defaults and meaning.
    """
    from distail.baselines._registry import baseline_names, find_baseline
    from distail.cli.choices import show_choices

    show_choices("baselines", baseline_names(), find_baseline, name, output, more=_training)


def _training(found: type[Baseline]) -> dict[str, Any]:
    return {"train": found.recipe.model_dump(mode="json")}
