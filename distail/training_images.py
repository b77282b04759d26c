"""The images that methods may see: read, without those set aside for testing, with a long tail if asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace

from jaxtyping import Int64
from torch import Tensor

from distail.data.holdout import hold_out_for_testing, require_two_of_each
from distail.data.image_set import ImageSet
from distail.data.long_tail import make_long_tailed
from distail.data.sources import SourceContents, UnreadableImage, load, read_source
from distail.distilled import DistilledSet
from distail.errors import DistailError
from distail.progress import Progress, SilentProgress
from distail.recipe import DataRecipe


@dataclass(frozen=True, eq=False)
class TrainingImages:
    """The images to distil, and which of the source's images they are.

    Attributes:
        images: long-tailed, as the method will see them.
        kept: their positions in the source, or None where all were kept.
        source_hash: content hash of the whole source, which a test set must not have.
        unreadable: files of the source that were left out.
    """

    images: ImageSet
    kept: Int64[Tensor, " n"] | None = None
    source_hash: str | None = None
    unreadable: tuple[UnreadableImage, ...] = ()


def load_training_images(data: DataRecipe, progress: Progress | None = None) -> TrainingImages:
    """Reads the source's training split, sets test images aside if asked to, and makes it long-tailed if asked to.

    Raises:
        DistailError: the source cannot be read, or a class would be empty.
    """
    progress = progress or SilentProgress()
    contents = _read(data, progress)
    found = training_images(contents.readable(progress), imbalance=data.imbalance, holdout=data.holdout)
    return replace(found, unreadable=contents.unreadable)


def read_training_split(data: DataRecipe, progress: Progress) -> ImageSet:
    """The source's training split as it is; says which files are unreadable.

    Raises:
        DistailError: the source cannot be read.
    """
    return _read(data, progress).readable(progress)


def _read(data: DataRecipe, progress: Progress) -> SourceContents:
    return read_source(data.source, "train", image_size=data.image_size, strict=data.strict, progress=progress)


def training_images(
    source: ImageSet, *, imbalance: float | None = None, holdout: float | None = None
) -> TrainingImages:
    """The part of a source that methods may see: without the held-out images, with the long tail asked for.

    Raises:
        DistailError: a class is empty, or so small that nothing of it can be held out, or would become empty.
    """
    source.require_no_empty_class()
    kept = None
    if holdout is not None:
        advice = "leave out --holdout and name test images with --test when evaluating"
        require_two_of_each(source, "for testing", advice)
        kept = hold_out_for_testing(source, holdout).rest
    images = source if kept is None else source.subset(kept)
    if imbalance is not None:
        tail = make_long_tailed(images, imbalance)
        images, kept = tail.images, tail.indices if kept is None else kept[tail.indices]
    return TrainingImages(images, kept, source.content_hash)


def held_out_images(
    data: DataRecipe,
    image_size: tuple[int, int],
    source_hash: str | None = None,
    progress: Progress | None = None,
) -> ImageSet:
    """The test images of a source that were set aside when distilling.

    Args:
        data: the source, and the fraction set aside.
        image_size: (height, width).
        source_hash: content hash of the source when it was split, where known.
        progress: hears which files are unreadable.

    Raises:
        DistailError: nothing was set aside, or the source has changed since.
    """
    if data.holdout is None:
        raise DistailError(f"No image of {data.source} was set aside. Distil with --holdout, or name a test source.")
    source = load(data.source, image_size=image_size, progress=progress)
    if source_hash not in (None, source.content_hash):
        raise DistailError(
            f"{data.source} has changed since the set was made from it, so images set aside now may be among those "
            "that the set was made from. Name other held-out images with --test."
        )
    return source.subset(hold_out_for_testing(source, data.holdout).held_out)


def training_images_of(distilled: DistilledSet, progress: Progress | None = None) -> TrainingImages:
    """The images that a set was made from, read again from the source that its provenance names.

    Raises:
        DistailError: the source is gone or has changed since.
    """
    try:
        data = DataRecipe(**distilled.provenance["recipe"]["data"])
        expected = distilled.provenance["data_sha256"]
    except KeyError:
        raise DistailError(
            "The set does not say which data it was made from. Name them with --train SOURCE and --imbalance."
        ) from None
    training = load_training_images(data, progress)
    if training.images.content_hash != expected:
        raise DistailError(
            f"{data.source} has changed since the set was made from it: its content hash differs. "
            "Name the original data with --train SOURCE."
        )
    return training
