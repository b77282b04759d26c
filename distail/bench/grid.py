"""A grid as a text: rows that are compared, and what varies, in YAML. Imports no torch.

base:                                  # what all cells have in common: a recipe
  data: {source: digits, holdout: 0.2}
  evaluation: {seeds: 3}
rows:                                  # what is compared: what a row changes of it
  random: {method: random}
  lad: {recipe: lad-cifar10lt-cpu}     # a family of built-in recipes: the one for each imbalance and IPC
  tailor, asked: {method: tailor, evaluation: {labels: teacher}}
  all images: {baseline: {method: balanced_softmax, train: {epochs: 20}}}
vary:                                  # every row with every combination; the most important values first
  data.imbalance: [100, 10]
  images_per_class: [10, 50]
seeds: 1                               # sets of each cell; students of each set are evaluation.seeds
published: cifar10lt                   # published numbers to set beside: those of METHOD-cifar10lt recipes
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import field_validator

from distail.config import Config, parse_config
from distail.errors import DistailError
from distail.recipe import parse_yaml, to_yaml, yaml_fault

ROW_KEYS = ("recipe", "baseline", "where")
"""Keys of a row beside those of a recipe."""


class Grid(Config):
    """Rows, and what varies."""

    base: dict[str, Any] = {}
    """What all cells have in common, with the keys of a recipe."""
    rows: dict[str, dict[str, Any]]
    """By name, what each row changes of it. `recipe` names a family of built-in recipes or one of them; `baseline`
    holds a baseline instead of a method; `where` holds the row to some of the values that vary."""
    vary: dict[str, list[Any]] = {}
    """By the dotted name of a key of the recipe, the values that every row is run with."""
    seeds: list[int] = [0]
    """Seeds of the sets; a whole number n stands for 0 to n-1."""
    published: str | None = None
    """Data of built-in recipes, such as cifar10lt, whose published numbers stand beside."""

    @field_validator("rows", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        """A list of methods is short for rows of that name; a row that says nothing is a method's."""
        if isinstance(value, list):
            if len({str(name) for name in value}) < len(value):
                raise ValueError("a row stands there twice: remove one, or give each a name of its own")
            value = {str(name): {} for name in value}
        if value == {}:
            raise ValueError("nothing is compared: name at least one method, as in rows: [random]")
        if isinstance(value, dict):
            return {str(name): {} if row is None else row for name, row in value.items()}
        return value

    @field_validator("seeds", mode="before")
    @classmethod
    def _counted(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            if value < 1:
                raise ValueError("ask for at least 1")
            return list(range(value))
        if not isinstance(value, list | tuple):
            raise ValueError("give a number of seeds, or a list of them")
        return value

    @field_validator("vary")
    @classmethod
    def _not_empty(cls, value: dict[str, list[Any]]) -> dict[str, list[Any]]:
        for name, values in value.items():
            if not values:
                raise ValueError(f"'{name}' has no values: give some, or leave it out")
            if any(values.count(one) > 1 for one in values):
                raise ValueError(f"'{name}' has a value twice: leave one out")
        return value

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, value: list[int]) -> list[int]:
        if not value or len(set(value)) != len(value):
            raise ValueError("give at least one seed, and none twice")
        return value


def load_grid(path: str | Path) -> tuple[Grid, str]:
    """Reads a grid, and gives it back with its text.

    Raises:
        DistailError: the file is missing, not YAML, or has an unknown key or impossible value.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise DistailError(f"Grid {file} cannot be read: {reason}. Check the path.") from None
    return parse_grid(text, f"grid {file}"), text


def parse_grid(text: str, where: str) -> Grid:
    """A grid from its text.

    Raises:
        DistailError: it is not YAML, or has an unknown key or impossible value.
    """
    try:
        values = parse_yaml(text)
        twice = _twice(yaml.compose(text, yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise DistailError(f"{where} is not valid YAML: {yaml_fault(error)}. Correct it.") from None
    if twice is not None:
        raise DistailError(f"{where}: '{twice}' stands there twice, and one would be lost. Remove or rename one.")
    if not isinstance(values, dict):
        raise DistailError(f"{where} holds no settings; it should have `base:` and `rows:`. Write them.")
    return parse_config(Grid, values, where)


def _twice(node: yaml.Node | None) -> str | None:
    """A key that a group holds twice, of which YAML would silently take the last; None where there is none."""
    inside: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        names = [str(key.value) for key, _ in node.value]
        if repeated := [name for name in names if names.count(name) > 1]:
            return repeated[0]
        inside = [value for _, value in node.value]
    if isinstance(node, yaml.SequenceNode):
        inside = node.value
    return next((found for one in inside if (found := _twice(one)) is not None), None)


def combinations(vary: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """Every combination of the values that vary, the last key's values changing fastest."""
    if not vary:
        yield {}
        return
    *others, last = vary
    for rest in combinations({name: vary[name] for name in others}):
        for value in vary[last]:
            yield {**rest, last: value}


def grid_text(grid: Grid) -> str:
    """The grid as YAML that `parse_grid` reads back equal."""
    return to_yaml(grid.model_dump(mode="json", exclude_unset=True))
