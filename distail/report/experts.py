"""The table of an expert bank."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from distail.experts.inventory import Kind
from distail.report.names import one_line

_BY_SETTINGS = "with --set"


def experts_table(kinds: Sequence[Kind]) -> Table:
    """One line for each kind of experts on each data set."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("key", no_wrap=True)
    table.add_column("data")
    table.add_column("network")
    table.add_column("trained", min_width=len("representation,"))
    table.add_column("experts", min_width=len("100 × 100"))
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("for methods", min_width=len("for methods"))
    for kind in kinds:
        source = one_line(Path(kind.source).name or kind.source)
        counted = sorted(Counter(kind.epochs).items())
        cells = (
            kind.key,
            f"{source} ({kind.data_sha256[:6]}), {kind.preprocessing}",
            kind.architecture,
            f"{kind.kind}, {training_in_words(kind)}",
            ", ".join(f"{count} × {epochs}" for epochs, count in counted) + " epochs",
            f"{kind.num_bytes / 1e6:,.1f} MB",
            ", ".join(kind.usable_by) or _BY_SETTINGS,
        )
        table.add_row(*(Text(cell) for cell in cells))
    return table


def experts_note(kinds: Sequence[Kind]) -> tuple[str, ...]:
    """What stands below the table: a line that explains its words, where they occur."""
    if all(kind.usable_by for kind in kinds):
        return ()
    return (
        f"{_BY_SETTINGS}: trained with other settings than any method's defaults, such as those of a recipe. Which "
        "they are stands in about.json in the folder of that key.",
    )


def training_in_words(kind: Kind) -> str:
    """What tells this kind of training from plain SGD."""
    spec = kind.spec
    parts = [f"lr {spec['learning_rate']:g}"]
    parts += ["GSAM"] if spec["gsam_rho"] else []
    parts += [f"decay {spec['weight_decay']:g}"] if spec["weight_decay"] else []
    parts += ["class-balanced loss"] if spec.get("loss") == "class_balanced" else []
    parts += ["MaxNorm"] if spec.get("max_norm") is not None else []
    parts += [f"on {spec['base_epochs']} epochs"] if "base_epochs" in spec else []
    return ", ".join(parts)
