"""`distail check`: look at a source before distilling it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from distail.cli.options import Compute, Output, Repeatable, Whole, parse_settings
from distail.errors import DifferentSizesError, counted

if TYPE_CHECKING:
    from distail.data.image_set import ImageSet
    from distail.data.inspection import Inspection
    from distail.estimate import Estimate

_LOOK_AT = 32
"""Pixels a side of images of different sizes, unless asked otherwise: what the usual networks were made for."""
_SHOWN = 5
"""Unreadable files and duplicates named in full before the rest is counted."""


def check(
    source: str,
    /,
    *,
    test: str | None = None,
    imbalance: float | None = None,
    image_size: Annotated[int | None, Whole] = None,
    strict: Annotated[bool, Parameter(negative=())] = False,
    method: str = "tailor",
    ipc: Annotated[int, Whole] = 10,
    arch: str = "convnet3",
    set: Annotated[tuple[str, ...], Repeatable] = (),
    compute: Compute = Compute(),
    output: Output = Output(),
) -> None:
    """Show what is in SOURCE: class counts, imbalance, sizes, unreadable files, duplicates, and the cost of distilling.

    Parameters
    ----------
    source
        digits, a folder with one folder per class, a .parquet or .npz file, or hf:NAME.
    test
        Source of the test images, to look for duplicates across; the source's own test split when omitted.
    imbalance
        Show the data as they would be after making them long-tailed: factor (100) or its inverse (0.01).
    image_size
        Resize images to this many pixels a side; where sizes differ and this is omitted, 32 or fewer.
    strict
        Fail on an unreadable image instead of naming it.
    method
        Method whose time and memory are estimated.
    ipc
        Images per class for that estimate.
    arch
        Network for that estimate.
    set
        NAME=VALUE of a hyper-parameter of the method, for that estimate; may be repeated.
    """
    from dataclasses import asdict, replace

    from distail.data.image_set import MIN_IMAGE_SIZE
    from distail.data.inspection import inspect
    from distail.data.sources import read_source, read_test_source, source_splits
    from distail.estimate import estimate
    from distail.methods._registry import build_method
    from distail.training_images import training_images

    chosen = build_method(method, parse_settings(set))
    progress = output.progress()
    try:
        contents = read_source(source, "train", image_size=image_size, strict=strict, progress=progress)
    except DifferentSizesError as error:
        size = max(MIN_IMAGE_SIZE, min(error.smaller, _LOOK_AT))
        contents = read_source(source, "train", image_size=size, strict=strict, progress=progress)
        progress.warn(
            f"Images have different sizes, so they are looked at as {size}x{size} pixels. Choose a size for distilling "
            f"with --image-size, such as --image-size {size}."
        )
    other = None
    if test or "test" in source_splits(source):
        _, height, width = contents.images.image_shape
        other = read_test_source(
            test or source, image_size=(height, width), strict=strict, class_names=contents.images.class_names
        )
    found = inspect(contents, other)
    empty = found.empty_classes
    kept = contents.images if empty else training_images(contents.images, imbalance=imbalance).images
    cost = None if empty else estimate(_problem(kept, ipc, arch, compute), chosen)
    shown = inspect(replace(contents, images=kept), None) if imbalance else found
    result: dict[str, Any] = found.to_json()
    if imbalance:
        result["long_tailed"] = {
            "num_images": len(kept),
            "class_counts": list(kept.class_counts),
            "imbalance_factor": kept.imbalance_factor,
        }
    result["estimate"] = None if cost is None else {"method": method, **asdict(cost)}
    output.show(result, *_report(source, found, shown, kept, other is not None, cost, f"{method}, {ipc} per class"))


def _problem(images: ImageSet, ipc: int, arch: str, compute: Compute) -> Any:
    from distail.data.preprocess import fit_preprocessing
    from distail.problem import Problem
    from distail.runtime import resolve_runtime

    preprocessing = fit_preprocessing(images, "normalize")
    runtime = resolve_runtime(compute.device, compute.precision)
    return Problem(images, preprocessing, ipc, arch, runtime=runtime)


def _report(
    source: str,
    found: Inspection,
    shown: Inspection,
    kept: ImageSet,
    has_test: bool,
    cost: Estimate | None,
    what: str,
) -> list[Any]:
    from distail.data.long_tail import FEW_BELOW, MANY_ABOVE
    from distail.progress import format_seconds
    from distail.report.terminal import class_count_bars

    channels, height, width = found.image_shape
    lines: list[Any] = [
        f"{source}: {counted(found.num_images, 'image')}, {len(found.class_names)} classes, {height}x{width} pixels, "
        f"{'grayscale' if channels == 1 else 'RGB' if channels == 3 else f'{channels} channels'}."
    ]
    if shown is not found:
        lines.append(f"Made long-tailed: {counted(len(kept), 'image')} kept.")
    lines.append(class_count_bars(shown.class_names, shown.class_counts, width=90))
    shots = [shown.shot_groups.count(name) for name in ("many", "medium", "few")]
    lines.append(
        f"Imbalance factor {kept.imbalance_factor:.4g} (largest over smallest class). Classes with many "
        f"(>{MANY_ABOVE}), medium ({FEW_BELOW}-{MANY_ABOVE}), few (<{FEW_BELOW}) images: "
        f"{shots[0]}, {shots[1]}, {shots[2]}."
    )
    if len(found.sizes) > 1:
        sizes = sorted(found.sizes.items(), key=lambda item: -item[1])[:_SHOWN]
        lines.append(
            f"{len(found.sizes)} image sizes, most often " + ", ".join(f"{h}x{w} ({n})" for (h, w), n in sizes)
        )
    lines += _problems(found, has_test)
    if cost is not None:
        lines.append(
            f"Distilling ({what}) takes about {format_seconds(cost.seconds)} and "
            f"{cost.memory_bytes / 2**30:.1f} GiB of memory here."
        )
    return lines


def _problems(found: Inspection, has_test: bool) -> list[str]:
    lines = []
    if found.empty_classes:
        lines.append(f"EMPTY CLASSES, to be filled or removed: {', '.join(found.empty_classes)}.")
    if found.unreadable:
        are = "is" if len(found.unreadable) == 1 else "are"
        lines.append(f"{counted(len(found.unreadable), 'unreadable file')} {are} left out:")
        lines += [f"  {bad.where}: {bad.reason}" for bad in found.unreadable[:_SHOWN]]
        if len(found.unreadable) > _SHOWN:
            lines.append(f"  and {len(found.unreadable) - _SHOWN} more (all of them with --json)")
    else:
        lines.append("Every file is readable.")
    within, conflicting = (
        found.duplicates_within,
        sum(group.labels_disagree for group in found.duplicates_within),
    )
    lines.append(
        f"Exact duplicates inside the split: {counted(len(within), 'group')}, {conflicting} of them with different "
        "labels."
    )
    if has_test:
        across = len(found.duplicates_across)
        advice = "; remove them from training, or scores will be too good" if across else ""
        lines.append(f"Images that also stand in the test split: {across}{advice}.")
    else:
        lines.append("There is no test split; use --holdout when you distil, or --test when you evaluate.")
    return lines
