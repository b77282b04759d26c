"""The table of built-in recipes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from distail.catalog import BuiltIn
from distail.cost import HARDWARE, Cost

_MISSING = "–"
_NOTED = " *"
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_HEADS = (
    ("", 33),
    ("published", 10),
    ("experts", 7),
    ("distil", 7),
    ("score", 7),
    ("memory", 8),
    ("-cpu:\nexperts", 7),
    ("\ndistil", 7),
)
"""Columns and their widths, the same for all families; together 100 with the gaps between them."""


@dataclass(frozen=True)
class RecipeRow:
    """One line of the table.

    Attributes:
        entry: the recipe.
        cost: of it.
        cpu_cost: of its variant for a CPU.
    """

    entry: BuiltIn
    cost: Cost
    cpu_cost: Cost


def recipes_table(rows: Sequence[RecipeRow]) -> Group:
    """A line a recipe, family by family, and below what the columns mean."""
    parts: list[RenderableType] = []
    for number, (_, members) in enumerate(groupby(rows, key=lambda row: row.entry.family)):
        of_family = list(members)
        title = _title([row.entry for row in of_family])
        # The heads stand above the first family alone; all tables have the same columns.
        parts += [_family_table([], heads=True)] * (number == 0) + [title, _family_table(of_family, heads=False)]
    return Group(*parts, _legend(any(_is_noted(row.entry) for row in rows)))


def short_duration(seconds: float) -> str:
    """Two digits and a unit: '45 s', '18 min', '3.2 h', '14 d'."""
    if not seconds:
        return _MISSING
    # A value that would round up to the next unit's one is written in that: '1.0 h', never '60 min'.
    size, unit = next((size, unit) for size, unit in _UNITS if seconds >= 0.995 * size or size == 1)
    amount = seconds / size
    return f"{amount:.1f} {unit}" if amount < 9.95 and unit in "hd" else f"{max(amount, 1):.0f} {unit}"


def published_text(entry: BuiltIn) -> str:
    """'53.4 ± 0.1', without a deviation where none is published, or a dash."""
    if entry.published is None:
        return _MISSING
    std = entry.published.std
    return f"{entry.published.accuracy:.1f}" + ("" if std is None else f" ± {std:.1f}")


def _is_noted(entry: BuiltIn) -> bool:
    """Whether there is more to know than the table says, such as another source than the family's."""
    elsewhere = entry.published is not None and entry.published.source != entry.about.published_in
    return bool(entry.row_note) or elsewhere


def _title(entries: Sequence[BuiltIn]) -> Text:
    method, about = entries[0].recipe.method, entries[0].about
    facts = [
        f"{about.num_classes} classes of up to {about.largest_class:,} images, "
        f"{about.image_shape[1]}x{about.image_shape[2]}"
    ]
    if any(entry.published for entry in entries):
        facts.append(about.published_in)
    return Text(f"\n{method} on {about.data}", style="bold").append(f" · {' · '.join(facts)}", style="not bold dim")


def _family_table(rows: Sequence[RecipeRow], *, heads: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, show_header=heads)
    for head, width in _HEADS:
        # Names are folded where the terminal is narrower, so that they can still be copied.
        table.add_column(head, width=width, overflow="fold", justify="right" if head else "left", vertical="bottom")
    for row in rows:
        name = Text(row.entry.name).append(_NOTED if _is_noted(row.entry) else "", style="dim")
        cells = (
            published_text(row.entry),
            short_duration(row.cost.experts_seconds),
            short_duration(row.cost.distillation_seconds),
            short_duration(row.cost.scoring_seconds),
            f"{row.cost.memory_bytes / 2**30:.1f} GiB",
            short_duration(row.cpu_cost.experts_seconds),
            short_duration(row.cpu_cost.distillation_seconds),
        )
        table.add_row(name, *(Text(cell) for cell in cells))
    return table


def _legend(noted: bool) -> Text:
    lines = [
        "",
        "published: accuracy in percent that the table named above the rows reports; no result of distail.",
        f"Times and memory: estimates for {HARDWARE}, good to a factor of about two.",
        f"On a GPU: {_MISSING} (not measured).",
        "experts: all that a recipe needs, trained once for all recipes that need the same.",
        "-cpu: same data and scoring, which takes as long as the row's; far less computing to distil, by",
        "settings that its note names; not expected to reach what is published. What some reached: docs/results.md.",
    ]
    lines += ["* has a note, or is published elsewhere."] if noted else []
    lines += ["All notes: distail recipes --json"]
    return Text("\n".join(lines), style="dim")
