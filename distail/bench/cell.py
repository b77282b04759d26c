"""Cells: what a grid expands to, each a recipe to run and score, or a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from distail.bench.grid import ROW_KEYS, Grid, combinations
from distail.catalog import CPU, built_in, family_names, recipe_names
from distail.config import elsewhere, merged, nested, parse_config
from distail.errors import DistailError, did_you_mean
from distail.evaluation.recipe import BaselineRecipe, EvaluationRecipe
from distail.recipe import Recipe

_OF_METHODS = ("method", "settings")
"""Keys of a recipe that say nothing without the method of a row."""
_SEEDS = "Leave it out, and write `seeds:` beside `rows:`."

IMBALANCE, IPC = "data.imbalance", "images_per_class"
"""Names of the two keys that families of built-in recipes go by."""

SHORT_NAMES = {IMBALANCE: "IF", IPC: "IPC", "evaluation.labels": "labels", "architecture": "network"}
"""What tables and messages call what varies."""


@dataclass(frozen=True)
class Cell:
    """Something to run, whatever row it stands in.

    Attributes:
        recipe: how the set is made and scored; of a baseline, which data it learns from and is tested on, and where.
        baseline: None where a set is made.
    """

    recipe: Recipe
    baseline: BaselineRecipe | None = None

    @property
    def kind(self) -> str:
        """'set' or 'baseline'."""
        return "set" if self.baseline is None else "baseline"

    @property
    def method(self) -> str:
        """Name of the method or baseline."""
        return self.recipe.method if self.baseline is None else self.baseline.method

    @property
    def evaluation(self) -> EvaluationRecipe:
        """How the set is scored."""
        return self.recipe.evaluation or EvaluationRecipe()

    @property
    def architectures(self) -> tuple[str, ...]:
        """Networks that are trained and tested."""
        return self.evaluation.architectures if self.baseline is None else (self.baseline.architecture,)


@dataclass(frozen=True)
class Place:
    """Where a cell stands in the grid; a baseline stands in several, since images per class mean nothing to it.

    Attributes:
        row: name of its row.
        values: of what varies.
        seed: of the set.
    """

    row: str
    values: Mapping[str, Any]
    seed: int
    cell: Cell


@dataclass(frozen=True)
class LeftOut:
    """A place that holds no cell, and why."""

    row: str
    values: Mapping[str, Any]
    reason: str


@dataclass(frozen=True)
class Expansion:
    """All places of a grid in the order in which they are worth doing, and those that hold nothing."""

    places: tuple[Place, ...]
    left_out: tuple[LeftOut, ...] = ()


def expand(grid: Grid, where: str = "grid") -> Expansion:
    """All cells: every row with every combination of what varies, the first seed of all before the second of any.

    Args:
        where: what the user knows the grid as, for messages.

    Raises:
        DistailError: a key or value that a recipe, method or baseline does not take, with the row that has it.
    """
    places: list[Place] = []
    left_out: list[LeftOut] = []
    _require_known_axes(grid, where)
    _require_possible_values(grid, where)
    for name, row in grid.rows.items():
        _require_possible(row, grid, f"{where}, row {name}")
    for seed in grid.seeds:
        for values in combinations(grid.vary):
            for name, row in grid.rows.items():
                if not belongs(row.get("where", {}), values):
                    continue
                try:
                    cell = _cell(grid.base, name, row, values, seed, where)
                except _NoSuchRecipeError as error:
                    if seed == grid.seeds[0]:
                        left_out.append(LeftOut(name, values, str(error)))
                    continue
                places.append(Place(name, values, seed, cell))
    if not places:
        reason = f" ({left_out[0].reason})" if left_out else ""
        raise DistailError(
            f"{where} has no cells: every place is left out{reason}. Give 'vary' or 'where' other values."
        )
    return Expansion(tuple(places), tuple(left_out))


class _NoSuchRecipeError(Exception):
    """A family of built-in recipes has none for this imbalance and IPC."""


def _require_known_axes(grid: Grid, where: str) -> None:
    """Refuses what no row can vary, before an error about one of them."""
    for name in grid.vary:
        first = name.split(".")[0]
        if first not in Recipe.model_fields or first == "seed":
            known = [key for key in Recipe.model_fields if key != "seed"]
            remedy = (
                _SEEDS
                if first in ("seed", "seeds")
                else elsewhere(name.split(".")[-1], Recipe) or did_you_mean(first, known)
            )
            raise DistailError(f"{where}: 'vary' names '{name}', which is no key of a recipe. {remedy}")
    if "seed" in grid.base:
        raise DistailError(f"{where}: 'base' holds a seed. {_SEEDS}")
    data = sorted({family.rpartition("-")[2] for family in family_names()})
    if grid.published is not None and grid.published not in data:
        raise DistailError(
            f"{where}: no numbers of '{grid.published}' are known to be published. {did_you_mean(grid.published, data)}"
        )


def _require_possible_values(grid: Grid, where: str) -> None:
    """Refuses what no recipe takes where it stands, rather than in the first row that has it."""
    some: dict[str, Any] = {"data": {"source": "any"}, "method": "any"}
    base = merged(some, {key: value for key, value in grid.base.items() if key not in _OF_METHODS})
    parse_config(Recipe, base, f"{where}, base")
    for name, values in grid.vary.items():
        if name.split(".")[0] not in _OF_METHODS:
            for value in values:
                parse_config(Recipe, merged(base, nested({name: value})), f"{where}, vary")


def _require_possible(row: Mapping[str, Any], grid: Grid, where: str) -> None:
    """Refuses what would silently mean nothing in a row."""
    if "seed" in row:
        raise DistailError(f"{where} holds a seed. {_SEEDS}")
    if "recipe" in row and "baseline" in row:
        raise DistailError(f"{where} names a recipe and a baseline. Leave one of them out, or make two rows.")
    require_where(row.get("where", {}), grid.vary, where)


def require_where(asked: Any, vary: Mapping[str, list[Any]], where: str) -> None:
    """Refuses what a `where` cannot hold anything to.

    Raises:
        DistailError: it has no names, or one that does not vary, or a value that is not among those that are varied.
    """
    if not isinstance(asked, Mapping):
        raise DistailError(f"{where}: 'where' has no names. Give names and values, such as {{images_per_class: [10]}}.")
    for name, some in asked.items():
        if name not in vary:
            raise DistailError(f"{where}: 'where' names '{name}', which does not vary. {did_you_mean(name, vary)}")
        for value in _listed(some):
            if value not in vary[name]:
                there = ", ".join(map(str, vary[name]))
                raise DistailError(
                    f"{where}: 'where' asks for {name} {value}, which is not varied. Use some of {there}."
                )


def belongs(asked: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    """Whether a `where` allows these values; what it does not name, it allows."""
    return all(values[name] in _listed(some) for name, some in asked.items() if name in values)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _cell(
    base: Mapping[str, Any], name: str, row: Mapping[str, Any], values: Mapping[str, Any], seed: int, where: str
) -> Cell:
    """What stands in one place."""
    where = f"{where}, row {name}"
    own = {key: value for key, value in row.items() if key not in ROW_KEYS}
    if "baseline" in row:
        return _baseline_cell(base, own, row["baseline"], values, where)
    if "recipe" in row:
        asked = merged(merged(base, own), nested(values))
        base = merged(base, _built_in_values(str(row["recipe"]), asked, where))
    elif "method" not in own and "method" not in base:
        own["method"] = name
    whole = merged(merged(merged(base, own), nested(values)), {"seed": seed})
    return Cell(parse_config(Recipe, whole, where))


def _baseline_cell(
    base: Mapping[str, Any], own: Mapping[str, Any], baseline: Any, values: Mapping[str, Any], where: str
) -> Cell:
    """A baseline on the data of this place; of all that varies, it takes what is about the data and the network."""
    if not isinstance(baseline, str | Mapping):
        raise DistailError(f"{where}: 'baseline' should be a name, or hold `method:` and its settings. Write one.")
    asked = {"method": baseline} if isinstance(baseline, str) else dict(baseline)
    whole = merged(merged(base, own), nested(values))
    common = parse_config(Recipe, {**whole, "method": "random", "settings": {}, "images_per_class": 1}, where)
    evaluation = common.evaluation or EvaluationRecipe()
    defaults = {
        "architecture": evaluation.architectures[0],
        "seeds": evaluation.seeds,
        "preprocessing": common.preprocessing,
    }
    return Cell(
        common.model_copy(update={"evaluation": None, "seed": 0}),
        parse_config(BaselineRecipe, {**defaults, **asked}, f"{where}, baseline"),
    )


def _built_in_values(name: str, values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What a built-in recipe says, but for what the base says of all rows: where the data are, and how many students.

    Raises:
        _NoSuchRecipeError: the family has none for this place.
        DistailError: there is neither such a recipe nor such a family.
    """
    if name not in recipe_names():
        name = _member(name, values, where)
    found: dict[str, Any] = built_in(name).recipe.model_dump(mode="json", exclude_unset=True)
    del found["data"]["source"]
    found.get("evaluation", {}).pop("seeds", None)
    return found


def _member(family: str, values: Mapping[str, Any], where: str) -> str:
    """'lad-cifar10lt-if100-ipc10-cpu' for the family 'lad-cifar10lt-cpu', in the place that these values name."""
    stem = family.removesuffix(CPU)
    if stem not in family_names():
        raise DistailError(
            f"{where}: there is no built-in recipe '{family}', nor a family of that name. "
            f"{did_you_mean(stem, family_names())} `distail recipes` lists all."
        )
    data = values.get("data", {})
    if "imbalance" not in data or IPC not in values:
        raise DistailError(
            f"{where}: '{family}' is a family of recipes, of which one is chosen by {IMBALANCE} and {IPC}. Give both "
            "in base or vary, or name one recipe."
        )
    name = f"{stem}-if{shown(data['imbalance'])}-ipc{shown(values[IPC])}{family.removeprefix(stem)}"
    if name not in recipe_names():
        raise _NoSuchRecipeError(f"there is no recipe {name}")
    return name


def shown(value: object) -> str:
    """A value as tables and names of recipes print it: 100, not 100.0."""
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def in_short(values: Mapping[str, Any]) -> str:
    """'IF 100, IPC 10'; empty where nothing varies."""
    return ", ".join(f"{SHORT_NAMES.get(name, name)} {shown(_factor(name, value))}" for name, value in values.items())


def _factor(name: str, value: Any) -> Any:
    """An imbalance of 0.01 as the factor that it is the inverse of; any other value as it is."""
    return 1 / value if name == IMBALANCE and isinstance(value, float) and 0 < value < 1 else value
