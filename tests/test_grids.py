"""The grids that come with the project: all of them expand, and the one on digits runs, cut short."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from distail.bench.cell import expand
from distail.bench.grid import load_grid
from distail.bench.running import open_grid
from distail.methods._registry import build_method, method_names

GRIDS = Path(__file__).parents[1] / "grids"
SHORT = {"iterations": 1, "rounds": 1, "epochs": 1, "selection_epochs": 1, "real_batch": 4, "steps": 2, "views": 2}
SHORT |= {
    "pilot_steps": 2,
    "classifier_steps": 2,
    "max_start_epoch": 1,
    "initial_max_start_epoch": 1,
    "expert_epochs": 2,
}
"""The least of everything that takes time."""


def shortened(values: Any) -> Any:
    """The same settings, with the least of everything that takes time, wherever it stands."""
    if isinstance(values, Mapping):
        return {key: SHORT[key] if key in SHORT else shortened(value) for key, value in values.items()}
    return [shortened(value) for value in values] if isinstance(values, list) else values


@pytest.mark.parametrize("file", sorted(GRIDS.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_cell_of_a_grid_is_one_that_could_run(file):
    grid, _ = load_grid(file)
    expansion = expand(grid)
    for place in expansion.places:
        build_method(place.cell.recipe.method, place.cell.recipe.settings)
    assert {row for place in expansion.places for row in [place.row]} == set(grid.rows)


def test_the_grid_on_digits_runs(tmp_path):
    grid, _ = load_grid(GRIDS / "digits.yaml")
    short = grid.model_dump(exclude_unset=True)
    short = {**short, "base": shortened(short["base"]), "rows": shortened(short["rows"])}
    short["base"]["evaluation"]["seeds"] = 1
    short["vary"] = {"data.imbalance": [50], "images_per_class": [1]}
    opened = open_grid(type(grid).model_validate(short), out=tmp_path / "digits")
    results = opened.run(workers=1)
    assert {result.row: result.error for result in results.values() if result.error} == {}
    assert {result.row for result in results.values()} == set(grid.rows)
    ran = {result.method for result in results.values() if result.kind == "set"}
    assert len(ran) > 12
    assert ran <= set(method_names())
