"""What a page shows of images: of each class real and distilled ones, and how the set changed on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from distail.data.long_tail import shot_group
from distail.distilled import DistilledSet, load_distilled
from distail.errors import DistailError, counted
from distail.methods._registry import find_method
from distail.report.page.origin import relabellings
from distail.report.page.pictures import COLUMNS, Picture, Reduction, reduction_for, strip
from distail.report.page.run_facts import RunFacts

REAL_PER_CLASS = 8
"""Real images of each class that are shown."""

MAX_STAGES = 6
"""Sets on the way that are shown, the first and the last included."""


@dataclass(frozen=True, eq=False)
class RealSamples:
    """Real images to show.

    Attributes:
        by_class: a few of each class, uint8 (n, channels, height, width), in label order; empty where there are none.
        reason: why there are none, in a sentence.
    """

    by_class: tuple[UInt8[Tensor, "_ c h w"], ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Budget:
    """Bytes of a page that images may take, in all.

    Attributes:
        made: distilled images.
        real: real ones.
        way: sets on the way.
    """

    made: int = 4_600_000
    real: int = 1_600_000
    way: int = 900_000

    def halved(self) -> Budget:
        """Half of everything."""
        return Budget(self.made // 2, self.real // 2, self.way // 2)


@dataclass(frozen=True)
class ClassImages:
    """One class: its name, its training images and many, medium or few, where known, and its images."""

    name: str
    count: int | None
    shot: str | None
    num_made: int
    made: Picture | None
    real: Picture | None


@dataclass(frozen=True)
class Stage:
    """The set as it was at one time: its name, such as 'after 100 iterations', and an image of each class."""

    name: str
    picture: Picture


@dataclass(frozen=True)
class Gallery:
    """All images of a page.

    Attributes:
        classes: in label order.
        stages: the set on the way, in order of time; empty where nothing was kept.
        notes: what is left out or reduced, in sentences.
        about_start: how the images changed from the start, where no stages tell.
        no_real: why there are no real images; empty where there are.
    """

    classes: tuple[ClassImages, ...]
    stages: tuple[Stage, ...] = ()
    notes: tuple[str, ...] = ()
    about_start: str = ""
    no_real: str = ""


def gallery(facts: RunFacts, real: RealSamples, budget: Budget) -> Gallery:
    """The images of a run that fit into the budget."""
    distilled = facts.distilled
    if distilled is None:
        return Gallery((), no_real=real.reason)
    counts = facts.class_counts
    made_by = reduction_for(distilled.num_classes, max(distilled.class_counts), distilled.image_shape, budget.made)
    real_by = _real_reduction(real, budget)
    classes = []
    for label, name in enumerate(distilled.class_names):
        own = (distilled.labels == label).nonzero().flatten()
        shown = made_by.apply(_pixels(distilled, own[: made_by.per_class]))
        beside = real_by.apply(real.by_class[label]) if real.by_class else None
        classes.append(
            ClassImages(
                name=name,
                count=counts[label] if counts else None,
                shot=shot_group(counts[label]) if counts else None,
                num_made=len(own),
                made=strip(shown, f"{counted(len(shown), 'distilled image')} of {name}") if len(shown) else None,
                real=strip(beside, f"{counted(len(beside), 'real image')} of {name}")
                if beside is not None and len(beside)
                else None,
            )
        )
    stages = tuple(_stages(facts, distilled, budget.way))
    notes = [*_notes(distilled, made_by), *_real_notes(real_by)]
    return Gallery(tuple(classes), stages, tuple(notes), "" if stages else _about_start(facts), real.reason)


def _real_reduction(real: RealSamples, budget: Budget) -> Reduction:
    if not real.by_class:
        return Reduction(REAL_PER_CLASS)
    _, channels, height, width = real.by_class[0].shape
    largest = max(map(len, real.by_class))
    return reduction_for(len(real.by_class), largest, (channels, height, width), budget.real, wanted=10)


def _notes(distilled: DistilledSet, made_by: Reduction) -> list[str]:
    notes = []
    if made_by.per_class == 0:
        notes.append("Distilled images are not shown: there are too many classes for a page.")
    elif max(distilled.class_counts) > made_by.per_class:
        notes.append(f"Shown are the first {made_by.per_class} of up to {max(distilled.class_counts)} images a class.")
    if made_by.step > 1:
        notes.append(_smaller("Distilled images", made_by))
    if distilled.mosaic > 1:
        cells = f"{distilled.mosaic}x{distilled.mosaic}"
        notes.append(f"Each image is a mosaic of {cells} smaller ones, shown as it is stored.")
    if distilled.image_shape[0] not in (1, 3):
        notes.append(f"Shown is the mean of {distilled.image_shape[0]} channels.")
    return notes


def _real_notes(real_by: Reduction) -> list[str]:
    if real_by.per_class == 0:
        return ["Real images are not shown: there are too many classes for a page."]
    return [_smaller("Real images", real_by)] if real_by.step > 1 else []


def _smaller(what: str, reduction: Reduction) -> str:
    return f"{what} are shown at 1/{reduction.step} of their size, so that the page stays small."


def _pixels(distilled: DistilledSet, indices: Int64[Tensor, " k"]) -> UInt8[Tensor, "k c h w"]:
    """Some images of the set as ordinary pixels; a large set is not turned into them as a whole."""
    if len(indices) == 0:
        return torch.zeros(0, *distilled.image_shape, dtype=torch.uint8)
    images, labels = distilled.images[indices], distilled.labels[indices]
    return replace(distilled, images=images, labels=labels, soft_labels=None, views=None).to_pixels().cpu()


def _stages(facts: RunFacts, distilled: DistilledSet, max_bytes: int) -> list[Stage]:
    """The first image of each class, at the start, some iterations and the end; nothing where only the end was kept."""
    iterations = _spread(sorted(facts.snapshots), MAX_STAGES - 1 - (facts.start is not None))
    if not iterations and facts.start is None:
        return []
    whole = [int((distilled.labels == label).nonzero()[0]) for label, n in enumerate(distilled.class_counts) if n]
    first = torch.tensor(whole[: 2 * COLUMNS])
    by = reduction_for(1, len(first) * (len(iterations) + 2), distilled.image_shape, max_bytes, wanted=1)
    reduction = Reduction(len(first), by.step)
    stages = [] if facts.start is None else [_stage("at the start", reduction.apply(facts.start[first]))]
    for iteration in iterations:
        try:
            earlier = load_distilled(facts.snapshots[iteration])
        except DistailError:
            continue
        if earlier.images.shape == distilled.images.shape:
            stages.append(_stage(f"after {iteration:,} iterations", reduction.apply(_pixels(earlier, first))))
    return [*stages, _stage("at the end", reduction.apply(_pixels(distilled, first)))] if stages else []


def _stage(name: str, pixels: UInt8[Tensor, "n c h w"]) -> Stage:
    return Stage(name, strip(pixels, f"The first image of each of {len(pixels)} classes {name}"))


def _spread(values: Sequence[int], count: int) -> list[int]:
    """Some of the values, evenly chosen, the first and the last among them."""
    if len(values) <= count:
        return list(values)
    return [values[round(place * (len(values) - 1) / (count - 1))] for place in range(count)]


def _about_start(facts: RunFacts) -> str:
    if facts.real_indices is not None:
        return "The images are real ones, chosen and not changed."
    if earlier := relabellings(facts.provenance):
        return f"The images are those of {earlier[0].source}, whose page shows how they changed, if they did."
    try:
        settings = find_method(facts.method).model_fields if facts.method else {}
    except DistailError:
        settings = {}
    if "iterations" in settings:
        return "How the images changed cannot be shown: the run kept none of those that it began with."
    return "How the images changed cannot be shown: the method told of none that it began with."
