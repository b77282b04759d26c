"""Reading one split of a source: the functions that the rest of distail calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from distail.data.holdout import hold_out_for_testing
from distail.data.image_set import MIN_IMAGE_SIZE, ImageSet
from distail.data.sources.base import Source, require_split
from distail.data.sources.contents import RawSplit, SourceContents, UnreadableImage
from distail.data.sources.opening import open_source, parse_address
from distail.errors import DistailError
from distail.progress import Progress, SilentProgress


def read_source(
    source: str | Path,
    split: str = "train",
    *,
    image_size: int | tuple[int, int] | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> SourceContents:
    """Reads one split of a source, with what there is to know about its files.

    A source that makes no difference between splits answers to 'train' only. The class names are those of the
    training split where the split's own are a subset of them.

    Args:
        source: 'digits', a folder, a .parquet or .npz file, or 'hf:NAME[:CONFIG]'; 'SOURCE#SPLIT' overrides
            `split`.
        split: 'train', 'test', 'validation' (or 'val'), or any other that a hub dataset has.
        image_size: a side, or (height, width), in pixels, that every image is resized to, without keeping its
            aspect ratio; needed where images differ in size.
        strict: treat an unreadable image as an error instead of leaving it out.
        progress: shows how far reading has come; nothing where None.

    Raises:
        DistailError: there is no such source or split, it cannot be read, its labels or sizes are unusable,
            it has fewer than two classes, no image is readable, or one is not and `strict` is set.
    """
    address = parse_address(source)
    opened = open_source(address.source)
    found = require_split(opened, address.split or split)
    names = opened.class_names("train") if found != "train" and "train" in opened.splits else ()
    return _read(opened, found, names, image_size, strict, progress or SilentProgress())


def read_test_source(
    source: str | Path,
    *,
    class_names: Sequence[str] = (),
    image_size: int | tuple[int, int] | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> SourceContents:
    """Reads a source that was named for testing: its test split, or its only one.

    Args:
        source: as for `read_source`; 'SOURCE#SPLIT' picks a split.
        class_names: the classes of the training data. Where the test data know a subset of them, labels are
            mapped to them by name; any other difference is left for `require_same_classes` to report.
        image_size: as for `read_source`.
        strict: as for `read_source`.
        progress: as for `read_source`.

    Raises:
        DistailError: as for `read_source`, or the source has several splits and none is called 'test'.
    """
    address = parse_address(source)
    opened = open_source(address.source)
    only = opened.splits[0] if len(opened.splits) == 1 else "test"
    found = require_split(opened, address.split or only)
    return _read(opened, found, tuple(class_names), image_size, strict, progress or SilentProgress())


def load(
    source: str | Path,
    split: str = "train",
    image_size: int | tuple[int, int] | None = None,
    *,
    progress: Progress | None = None,
) -> ImageSet:
    """The readable images of one split; see `read_source` for the arguments and errors."""
    progress = progress or SilentProgress()
    return read_source(source, split, image_size=image_size, progress=progress).readable(progress)


def load_test(
    source: str | Path,
    image_size: int | tuple[int, int] | None = None,
    class_names: Sequence[str] = (),
    *,
    holdout: float | None = None,
) -> ImageSet:
    """The test images of a source: its test split, or those that were set aside when it was distilled.

    Args:
        source: as for `read_source`; 'SOURCE#SPLIT' picks a split.
        image_size: as for `read_source`; as when distilling.
        class_names: as for `read_test_source`.
        holdout: the fraction of each class that was set aside, as when distilling; gives exactly those images.

    Raises:
        DistailError: as for `read_source`, or the source has no test split and nothing says which of its images are
            for testing.
    """
    if holdout is not None:
        whole = load(source, image_size=image_size)
        return whole.subset(hold_out_for_testing(whole, holdout).held_out)
    if parse_address(source).split is None and source_splits(source) == ("train",):
        raise DistailError(
            f"{source} has no test split, and all its images may have been trained on. Give holdout=0.2, the fraction "
            "that was set aside with --holdout, for exactly these images; name a source of held-out images; or use "
            "distail.load, if all of these are held out."
        )
    return read_test_source(source, class_names=class_names, image_size=image_size).images


def source_splits(source: str | Path) -> tuple[str, ...]:
    """The splits a source holds, train first; ('train',) where it makes no difference between splits.

    Raises:
        DistailError: there is no such source, or it cannot be read.
    """
    address = parse_address(source)
    opened = open_source(address.source)
    return (require_split(opened, address.split),) if address.split else opened.splits


def _read(
    source: Source,
    split: str,
    class_names: tuple[str, ...],
    image_size: int | tuple[int, int] | None,
    strict: bool,
    progress: Progress,
) -> SourceContents:
    raw = _named_like(source.read(split, _checked_size(image_size), progress), class_names)
    if strict and raw.unreadable:
        raise DistailError(f"{source.origin}: {_shown(raw.unreadable)}. Repair or remove them.")
    origin = source.origin if split == "train" else f"{source.origin}#{split}"
    images = ImageSet(torch.from_numpy(raw.pixels), torch.from_numpy(raw.labels), raw.class_names, origin)
    return SourceContents(images, split, raw.unreadable, raw.sizes)


def _named_like(raw: RawSplit, class_names: tuple[str, ...]) -> RawSplit:
    """The same images under `class_names`, where the split merely lacks some of these.

    Another order of the names is left alone, for the caller to refuse: it may be names that are wrong, not order.
    """
    if tuple(name for name in class_names if name in raw.class_names) != raw.class_names:
        return raw
    position = np.asarray([class_names.index(name) for name in raw.class_names], dtype=np.int64)
    return RawSplit(raw.pixels, position[raw.labels], class_names, raw.unreadable, raw.sizes)


def _checked_size(image_size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if image_size is None:
        return None
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if min(height, width) < MIN_IMAGE_SIZE:
        raise DistailError(
            f"Image size {height}x{width} is too small: the networks need at least {MIN_IMAGE_SIZE} pixels a side. "
            f"Pass --image-size {MIN_IMAGE_SIZE} or more."
        )
    return height, width


def _shown(unreadable: Sequence[UnreadableImage], limit: int = 5) -> str:
    shown = "; ".join(f"{image.where}: {image.reason}" for image in unreadable[:limit])
    more = f"; and {len(unreadable) - limit} more" if len(unreadable) > limit else ""
    return f"{len(unreadable)} unreadable image{'s' if len(unreadable) > 1 else ''}: {shown}{more}"
