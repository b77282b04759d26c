"""Datasets of the Hugging Face hub, and local folders in its layouts. Code of a dataset is never run."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from distail.data.sources.base import Source, canonical_split, in_split_order
from distail.data.sources.columns import Columns, choose_columns, image_items, label_values
from distail.data.sources.contents import RawSplit, UnreadableImage
from distail.data.sources.decode import BATCH_ROWS, Undecoded, decode_images
from distail.data.sources.labels import encode_labels
from distail.errors import DistailError
from distail.progress import Progress

SAVED_MARKERS = ("dataset_dict.json", "state.json")
"""A folder with one of these was written by `save_to_disk`."""


class HubSource(Source):
    """A dataset by its hub name or local folder, and configuration where it has several."""

    def __init__(self, origin: str, name: str, config: str | None) -> None:
        self.origin = origin
        self._name = name
        self._config = config

    @property
    def splits(self) -> tuple[str, ...]:
        """The dataset's splits; loads it."""
        return in_split_order(self._datasets)

    def class_names(self, split: str) -> tuple[str, ...]:
        """The names in the ClassLabel feature, the distinct string labels, or '0' to the highest label."""
        return self._labels(split)[1]

    def read(self, split: str, image_size: tuple[int, int] | None, progress: Progress) -> RawSplit:
        """Decodes one split in its own order."""
        labels, names = self._labels(split)
        decoded = decode_images(
            self._batches(split), len(labels), image_size=image_size, origin=self.origin, progress=progress
        )
        unreadable = tuple(
            UnreadableImage(f"{self.origin} {split} row {row}", reason) for row, reason in decoded.failures
        )
        return RawSplit(decoded.pixels, labels[decoded.kept], names, unreadable, decoded.sizes)

    @cached_property
    def _datasets(self) -> dict[str, Any]:
        """Each split's `datasets.Dataset`, handing out Arrow tables, whose images are still encoded."""
        loaded = _load(self._name, self._config, self.origin)
        return {canonical_split(split): part.with_format("arrow") for split, part in loaded.items()}

    def _columns(self, split: str) -> Columns:
        return choose_columns(self._datasets[split].features.arrow_schema, self.origin)

    def _labels(self, split: str) -> tuple[Any, tuple[str, ...]]:
        columns = self._columns(split)
        table = self._datasets[split].select_columns([columns.label])[:]
        return encode_labels(*label_values(table.column(0)), columns.class_names, self.origin)

    def _batches(self, split: str) -> Iterator[list[Undecoded]]:
        images = self._datasets[split].select_columns([self._columns(split).image])
        for table in images.iter(BATCH_ROWS):
            for chunk in table.column(0).chunks:
                yield image_items(chunk, follow_paths=True)


def open_hub(origin: str, text: str) -> HubSource:
    """Reads NAME, NAME:CONFIG or a local folder, as written after 'hf:'.

    Raises:
        DistailError: nothing is written there.
    """
    if not text:
        raise DistailError("hf: needs the name of a dataset, such as hf:OWNER/NAME or hf:OWNER/NAME:CONFIG.")
    if Path(text).exists() or ":" not in text:
        return HubSource(origin, text, None)
    name, _, config = text.rpartition(":")
    return HubSource(origin, name, config)


def _load(name: str, config: str | None, origin: str) -> dict[str, Any]:
    import datasets

    # Only versions before 4 can run a dataset's own code at all.
    safely = {"trust_remote_code": False} if int(datasets.__version__.split(".")[0]) < 4 else {}
    try:
        if any((Path(name) / marker).exists() for marker in SAVED_MARKERS):
            loaded = datasets.load_from_disk(name)
        else:
            loaded = datasets.load_dataset(name, config, **safely)
    except Exception as error:  # network, authentication and dataset errors share no base class
        reason = (str(error).splitlines() or [""])[0]
        raise DistailError(
            f"{origin} cannot be loaded: {type(error).__name__}: {reason} Check the name, the configuration "
            "(hf:NAME:CONFIG) and the network; private and gated datasets need a login with "
            "the hub's own tool. Without a network, name a local copy: a folder, Parquet files, or hf:FOLDER."
        ) from error
    return dict(loaded) if isinstance(loaded, dict) else {"train": loaded}
