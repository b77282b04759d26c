"""The page of a run: what it shows, put together from the facts, and its HTML."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType

from distail.catalog import BuiltIn, built_in, recipe_names
from distail.cost import class_counts
from distail.data.long_tail import shot_group
from distail.distilled import DistilledSet
from distail.errors import DistailError
from distail.methods._registry import find_method
from distail.progress import format_bytes, format_seconds
from distail.provenance import making_seconds
from distail.report.evaluation import evaluation_tables
from distail.report.group_pictures import MAX_MARKED_CLASSES
from distail.report.page.charts import HEIGHT, WIDTH, LineChart, line_chart
from distail.report.page.commands import Commands
from distail.report.page.gallery import Budget, RealSamples, gallery
from distail.report.page.html import render
from distail.report.page.origin import (
    Making,
    about_silence,
    about_unreadable,
    can_be_made_again,
    provenance_rows,
    relabellings,
)
from distail.report.page.pictures import Picture, file_picture
from distail.report.page.run_facts import FoundGroups, RunFacts, Scored
from distail.report.page.scores import SHOT_MEANINGS, EvaluationView, evaluation_view

MAX_BYTES = 10_000_000
"""No page is larger."""

OPEN_CLASSES = 20
"""Classes shown at once; the others are folded away."""

_MEANINGS = {
    "loss": "what the method makes smaller; each step looks at other images, so it need not fall evenly",
    "loss1": "the first of the terms that are added up",
    "loss2": "the second of them",
    "cross_entropy": "how unsure the trained network is of the classes of the images",
    "statistics": "how far what its layers see in the images is from what they see in real ones",
    "learning_rate": "the step size for students, learned with the set",
    "skipped": "1 at steps that changed nothing, since the loss was above a threshold",
}
"""Of the figures that a method logs."""


@dataclass(frozen=True)
class Groups:
    """Groups of similar classes: names of the members of each, and pictures."""

    members: tuple[tuple[str, ...], ...]
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Data:
    """The images that were distilled: of each class name, count and many, medium or few, and in numbers."""

    classes: tuple[tuple[str, int, str], ...]
    total: int
    largest: int
    smallest: int
    imbalance: float
    shots: dict[str, int]
    raw_bytes: int


def run_page(facts: RunFacts, real: RealSamples) -> str:
    """HTML of a run, below `MAX_BYTES`: images are shown fewer and smaller until they fit.

    Raises:
        DistailError: even without most of its images the page would be larger, as with very many classes.
    """
    views = tuple(evaluation_view(scored, facts.distilled) for scored in facts.scored)
    budget = Budget()
    for _ in range(4):
        page = render("run.html.j2", **_values(facts, views, real, budget))
        if len(page.encode()) < MAX_BYTES:
            return page
        budget = budget.halved()
    raise DistailError(
        f"The page of {facts.folder} would be larger than {format_bytes(MAX_BYTES)}: {len(facts.class_names)} classes "
        f"scored {len(views)} times are too much. Move some of its evaluations elsewhere, and make the page again."
    )


def _values(facts: RunFacts, views: Sequence[EvaluationView], real: RealSamples, budget: Budget) -> dict[str, Any]:
    data = _data(facts)
    return {
        "facts": facts,
        "views": views,
        "data": data,
        "gallery": gallery(facts, real, budget),
        "curves": _curves(facts),
        "constants": _constants(facts),
        "legend": _legend(facts),
        "groups": _groups(facts.groups) if facts.groups else None,
        "commands": Commands(facts),
        "lead": lead(facts),
        "making": Making.of(facts.provenance),
        "about_method": _about_method(facts),
        "provenance": provenance_rows(facts),
        "relabelled": relabellings(facts.provenance),
        "silence": about_silence(facts),
        "unreadable": about_unreadable(facts),
        "again": can_be_made_again(facts),
        "published": _published(facts),
        "open_classes": OPEN_CLASSES,
        "shot_meanings": SHOT_MEANINGS,
        "chart": {"width": WIDTH, "height": HEIGHT},
        "one_protocol": len({view.labels for view in views}) <= 1,
    }


def lead(facts: RunFacts) -> str:
    """The run in a sentence."""
    distilled = facts.distilled
    if distilled is None:
        by = f" by {facts.method}" if facts.method else ""
        return f"A run{by} that is not finished."
    counts = set(distilled.class_counts)
    each = f"{counts.pop()} of each" if len(counts) == 1 else "not the same number of each"
    what = "images" if distilled.mosaic == 1 else f"mosaics of {distilled.mosaic}x{distilled.mosaic} images"
    found = f"{len(distilled):,} {what}, {each} of {distilled.num_classes} classes"
    if facts.class_counts:
        found += f", stand for {sum(facts.class_counts):,} real ones"
    if "relabelled" in facts.provenance:
        by = f" made by {facts.method}" if facts.method else " of another run"
        return f"{found}; images{by}, relabelled."
    return f"{found}; made by {facts.method}." if facts.method else f"{found}."


def _data(facts: RunFacts) -> Data | None:
    if not (counts := facts.class_counts) or facts.distilled is None:
        return None
    shots = [shot_group(count) for count in counts]
    return Data(
        classes=tuple(zip(facts.class_names, counts, shots, strict=True)),
        total=sum(counts),
        largest=max(counts),
        smallest=min(counts),
        imbalance=max(counts) / max(min(counts), 1),
        shots={name: shots.count(name) for name in ("many", "medium", "few")},
        raw_bytes=sum(counts) * math.prod(facts.distilled.image_shape),
    )


def _curves(facts: RunFacts) -> tuple[LineChart, ...]:
    figures = facts.metrics.figures or {}
    charts = (
        line_chart(name.replace("_", " "), facts.metrics.steps, values)
        for name, values in figures.items()
        if not _constant(values)
    )
    return tuple(chart for chart in charts if chart is not None)


def _constants(facts: RunFacts) -> tuple[str, ...]:
    """'skipped 0' for each figure that never changed, which a curve would only show at length."""
    figures = (facts.metrics.figures or {}).items()
    return tuple(f"{name.replace('_', ' ')} {values[0]:g}" for name, values in figures if _constant(values))


def _legend(facts: RunFacts) -> tuple[tuple[str, str], ...]:
    """(figure, what it means) of those that methods of distail log."""
    logged = facts.metrics.figures or {}
    return tuple((name.replace("_", " "), meaning) for name, meaning in _MEANINGS.items() if name in logged)


def _constant(values: Sequence[float | None]) -> bool:
    return values[0] is not None and len(set(values)) == 1


def _groups(found: FoundGroups) -> Groups:
    names, grouping = found.grouping.class_names, found.grouping
    alts, pictures = _group_alts(len(names)), []
    for name, path in found.pictures.items():
        try:
            pictures.append(file_picture(path, alts[name]))
        except OSError:
            continue
    members = tuple(tuple(names[label] for label in grouping.members(group)) for group in range(grouping.num_groups))
    return Groups(members, tuple(pictures))


def _group_alts(num_classes: int) -> dict[str, str]:
    """What the pictures of `distail group` show; of very many classes, planes are drawn by group alone."""
    by_class = num_classes <= MAX_MARKED_CLASSES
    one = "on the left coloured by class, on the right by group" if by_class else "coloured by group"
    each = "coloured by class above and by group below" if by_class else "coloured by group"
    return {
        "features": f"t-SNE of features of images, {one}; marks with an edge are centroids",
        "distances": "Distances between the classes, those of a group side by side",
        "compared": f"t-SNE of features of networks that were trained on each of the data sets compared, {each}; marks "
        "with an edge are centroids",
    }


def _about_method(facts: RunFacts) -> str:
    """What the method does, and its paper; nothing for one that is not installed here."""
    try:
        method = find_method(facts.method) if facts.method else None
    except DistailError:
        return ""
    return f"{method.summary} ({method.paper})" if method else ""


def _published(facts: RunFacts) -> tuple[BuiltIn, ...]:
    """Published rows on data with the same counts and image size, and as many images a class."""
    distilled, recipe = facts.distilled, facts.recipe
    if distilled is None or recipe is None or not facts.class_counts:
        return ()
    found = []
    ending = f"-ipc{recipe.images_per_class}"
    for name in recipe_names():
        if not name.endswith(ending):
            continue
        row = built_in(name)
        same = row.about.image_shape == distilled.image_shape and class_counts(row) == facts.class_counts
        if same and row.published:
            found.append(row)
    return tuple(sorted(found, key=lambda row: -row.published.accuracy if row.published else 0))


def run_text(facts: RunFacts) -> list[RenderableType]:
    """What the page tells first, for a terminal."""
    commands, distilled = Commands(facts), facts.distilled
    parts: list[RenderableType] = [lead(facts)]
    if not facts.complete:
        parts.append(f"It is not finished. Go on with: {commands.resume}")
    for each in relabellings(facts.provenance):
        parts.append("; ".join(f"{what}: {value}" for what, value in each.rows if "SHA" not in what) + ".")
    seconds = making_seconds(facts.provenance)
    if distilled and seconds is not None:
        size = distilled.stored_bytes().total
        made = "Its images were made" if "relabelled" in facts.provenance else "Made"
        parts.append(f"{made} in {format_seconds(seconds)}; {format_bytes(size)} with all labels that are stored.")
    for scored in facts.scored:
        parts += ["", f"{scored.file}:", evaluation_tables(scored.result, _explainable(scored, distilled))[0]]
    if facts.complete and not facts.scored:
        parts += [f"The page of its grid has its scores: {commands.grid}"] if commands.grid else []
        parts.append(f"Not scored {'by itself ' if commands.grid else ''}yet: {commands.evaluate}")
    return [*parts, *facts.unreadable]


def _explainable(scored: Scored, distilled: DistilledSet | None) -> DistilledSet | None:
    """The set, unless the evaluation is from before it said how students were trained."""
    return distilled if "train" in scored.result.provenance else None
