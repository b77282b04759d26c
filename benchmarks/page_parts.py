"""Pieces of the pages that are written from committed results."""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def results() -> dict[str, Any]:
    """All committed results by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}


def percent(value: dict[str, float] | None) -> str:
    """'47.5 ± 0.2' of a summary of fractions, '47.5' where there is one value, or a dash."""
    if value is None:
        return "–"
    return f"{100 * value['mean']:.1f}" + (f" ± {100 * value['std']:.1f}" if value["n"] > 1 else "")


def table(heads: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    """A table."""
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
