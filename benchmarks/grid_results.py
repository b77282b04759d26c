"""Keeps what a grid has found, small enough to be committed, for docs/results.md.

    python benchmarks/grid_results.py bench/cifar10lt-cpu

The result is benchmarks/results/grid-NAME.json: the grid's text, and every finished cell with the figures of each of
its students, its cost, versions and hardware. The page is made from it without the data. Cells that stand in the result
already and in the grid still are kept, so that several machines can add to one result without a folder in common.
"""

import argparse
from collections.abc import Collection
from pathlib import Path
from typing import Any

from page_parts import RESULTS

from distail.artifact import read_json, write_json
from distail.bench.result import described
from distail.bench.running import open_grid

_ENVIRONMENT = ("versions", "hardware", "threads", "precision")


def main() -> None:
    """Reads the folder of a grid and writes its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid", type=Path, help="folder in which a grid was run")
    parser.add_argument("--name", help="of the result; the folder's own when omitted")
    asked = parser.parse_args()
    opened = open_grid(asked.grid)
    known = opened.results()
    data = opened.grid.base.get("data", {})
    # Where the data lay says nothing to a reader; what the folder was called does.
    base = {**opened.grid.base, "data": {**data, "source": Path(data["source"]).name}}
    file = RESULTS / f"grid-{asked.name or asked.grid.resolve().name}.json"
    cells = _kept(file, opened.plan.keys)
    for key, result in known.items():
        facts = opened.store.content(key)["environment"]
        cells[key] = {**result.to_json(), **{name: facts[name] for name in _ENVIRONMENT if name in facts}}
    write_json(
        file,
        {
            "grid": opened.grid.model_copy(update={"base": base}).model_dump(mode="json", exclude_unset=True),
            "places": {
                described(place): key for place, key in zip(opened.plan.expansion.places, opened.plan.keys, strict=True)
            },
            "cells": list(cells.values()),
        },
    )


def _kept(file: Path, keys: Collection[str]) -> dict[str, dict[str, Any]]:
    """By key, cells that were committed before and whose keys the grid still has."""
    before = read_json(file)["cells"] if file.exists() else []
    return {cell["key"]: cell for cell in before if cell["key"] in keys}


if __name__ == "__main__":
    main()
