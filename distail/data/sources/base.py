"""`Source`: the one interface behind which folders, files and hub datasets look alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

from distail.data.sources.contents import RawSplit
from distail.errors import DistailError
from distail.progress import Progress

SPLIT_NAMES = ("train", "test", "validation")
"""The splits that folders and files are searched for, in the order in which they are listed."""

SPLIT_ALIASES = {"val": "validation", "valid": "validation"}


class Source(ABC):
    """Labelled images in some place, in one or more splits.

    Attributes:
        origin: the source as the user typed it, for messages.
    """

    origin: str

    @property
    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """The splits this source holds; only 'train' where it makes no difference between splits."""

    @abstractmethod
    def class_names(self, split: str) -> tuple[str, ...]:
        """The classes of one split, found without decoding an image."""

    @abstractmethod
    def read(self, split: str, image_size: tuple[int, int] | None, progress: Progress) -> RawSplit:
        """Decodes one split.

        Args:
            split: one of `splits`.
            image_size: (height, width) to resize to; the images' own size where None.
            progress: shows how far reading has come.

        Raises:
            DistailError: no image is readable, sizes differ and no `image_size` is given, or labels are
                unusable.
        """


def canonical_split(name: str) -> str:
    """The split's one name: lower case, with 'val' and 'valid' read as 'validation'."""
    lowered = name.lower()
    return SPLIT_ALIASES.get(lowered, lowered)


def in_split_order(names: Iterable[str]) -> tuple[str, ...]:
    """Distinct split names: train, test, validation, then any others by name."""
    return tuple(sorted(set(names), key=lambda name: (_rank(name), name)))


def _rank(name: str) -> int:
    return SPLIT_NAMES.index(name) if name in SPLIT_NAMES else len(SPLIT_NAMES)


def require_split(source: Source, split: str) -> str:
    """The canonical name of `split`, which `source` must hold.

    Raises:
        DistailError: the source has no such split; says which it has and how to name another.
    """
    wanted = canonical_split(split)
    if wanted in source.splits:
        return wanted
    if source.splits == ("train",):
        remedy = (
            "Set some of its images aside with --holdout 0.2, for a run when it is distilled; or name a separate "
            "source that holds it, such as --test OTHER_SOURCE."
        )
    else:
        remedy = (
            f"It has {', '.join(source.splits)}: pick one with {source.origin}#{source.splits[0]}, "
            "or name a separate source such as --test OTHER_SOURCE."
        )
    raise DistailError(f"{source.origin} has no {wanted} split. {remedy}")
