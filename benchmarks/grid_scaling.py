"""Times a grid by one worker and by several, each in a folder of its own on the same machine.

    python benchmarks/grid_scaling.py [GRID] [--workers 2] [--row NAME ...]

The result is benchmarks/results/grid_scaling.json: seconds from the command's start to its end, of as many cells, with
threads divided among workers. Nothing else should run meanwhile.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from page_parts import RESULTS, ROOT

from distail.artifact import write_json
from distail.provenance import environment
from distail.runtime import resolve_runtime


def main() -> None:
    """Runs both, prints the seconds, and writes them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid", type=Path, nargs="?", default=ROOT / "grids" / "digits.yaml")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--row", action="append", default=[], help="run this row alone; may be repeated")
    asked = parser.parse_args()
    runs = [_timed(asked.grid, count, asked.row) for count in (1, asked.workers)]
    for run in runs:
        print(f"{run['workers']} workers: {run['seconds']:.0f} s, {run['done']} cells done, {run['failed']} failed")
    write_json(
        RESULTS / "grid_scaling.json",
        {
            "grid": asked.grid.stem,
            "rows": asked.row,
            "runs": runs,
            "times_as_fast": runs[0]["seconds"] / runs[1]["seconds"],
            **environment(resolve_runtime("cpu", "auto")),
        },
    )


def _timed(grid: Path, workers: int, rows: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "distail", "bench", str(grid), "--out", f"{folder}/grid", "--json", "--quiet"]
        command += ["--workers", str(workers), *(part for row in rows for part in ("--row", row))]
        begun = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - begun
    told = json.loads(done.stdout)
    return {"workers": workers, "seconds": seconds, "done": told["done"], "failed": told["failed"]}


if __name__ == "__main__":
    main()
