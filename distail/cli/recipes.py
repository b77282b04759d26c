"""`distail recipes`: the rows of published tables that can be run by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distail.cli.options import Output
from distail.errors import DistailError, did_you_mean

if TYPE_CHECKING:
    from distail.catalog import BuiltIn
    from distail.cost import Cost

_EXAMPLE = "lad-cifar10lt-if100-ipc10-cpu"


def recipes(*, method: str | None = None, output: Output = Output()) -> None:
    """List the built-in recipes with published accuracies and what they will take on 2 CPU cores.

    Parameters
    ----------
    method
        List those of this method alone.
    """
    from distail.catalog import CPU, built_in, recipe_names
    from distail.cost import cost_on_cpu
    from distail.report.recipes import RecipeRow, recipes_table

    entries = _of_method([built_in(name) for name in recipe_names()], method)
    costs = {name: cost_on_cpu(entry) for name, entry in entries.items()}
    rows = [RecipeRow(entry, costs[name], costs[name + CPU]) for name, entry in entries.items() if not entry.is_for_cpu]
    example = _EXAMPLE if _EXAMPLE in entries else rows[0].entry.name + CPU
    output.show(
        {"recipes": [_as_json(entry, costs[name]) for name, entry in entries.items()]},
        recipes_table(rows),
        f"Run one: distail run {example} --source PATH",
    )


def _of_method(entries: list[BuiltIn], method: str | None) -> dict[str, BuiltIn]:
    methods = {entry.recipe.method for entry in entries}
    if method is not None and method not in methods:
        raise DistailError(f"There is no built-in recipe of a method '{method}'. {did_you_mean(method, methods)}")
    return {entry.name: entry for entry in entries if method in (None, entry.recipe.method)}


def _as_json(entry: BuiltIn, cost: Cost) -> dict[str, Any]:
    """What is known of a recipe; what is published stands with the row, not with its variant for a CPU."""
    from distail.catalog import CPU

    published = None if entry.published is None else entry.published.model_dump(mode="json")
    return {
        "name": entry.name,
        "data": entry.about.data,
        "variant_of": entry.name.removesuffix(CPU) if entry.is_for_cpu else None,
        "published": None if entry.is_for_cpu else published,
        "note": entry.note,
        "cost": {"cpu": cost.to_json(), "gpu": None},  # no GPU has been measured
        "recipe": entry.recipe.model_dump(mode="json"),
    }
