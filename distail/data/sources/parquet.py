"""Parquet files: the Hugging Face image layout, or any with a column of image bytes and one of labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from distail.data.sources.base import SPLIT_NAMES, Source, canonical_split, in_split_order
from distail.data.sources.columns import Columns, choose_columns, image_items, label_values
from distail.data.sources.contents import RawSplit, UnreadableImage
from distail.data.sources.decode import BATCH_ROWS, Undecoded, decode_images
from distail.data.sources.labels import encode_labels
from distail.errors import DistailError
from distail.progress import Progress


class ParquetSource(Source):
    """One or more Parquet files a split. Rows are streamed, so encoded images never fill the memory."""

    def __init__(self, origin: str, files: dict[str, tuple[Path, ...]]) -> None:
        self.origin = origin
        self._files = files

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that the files' names tell apart."""
        return in_split_order(self._files)

    def class_names(self, split: str) -> tuple[str, ...]:
        """The names in the schema, the distinct string labels, or '0' to the highest integer label."""
        return self._labels(split)[1]

    def read(self, split: str, image_size: tuple[int, int] | None, progress: Progress) -> RawSplit:
        """Decodes all rows of a split's files, in file and row order."""
        labels, names = self._labels(split)
        decoded = decode_images(
            self._batches(split), len(labels), image_size=image_size, origin=self.origin, progress=progress
        )
        unreadable = tuple(UnreadableImage(self._where(split, row), reason) for row, reason in decoded.failures)
        return RawSplit(decoded.pixels, labels[decoded.kept], names, unreadable, decoded.sizes)

    def _columns(self, split: str) -> Columns:
        with _readable(self._files[split][0]) as path:
            schema = pq.read_schema(path)
        return choose_columns(schema, self.origin)

    def _labels(self, split: str) -> tuple[np.ndarray, tuple[str, ...]]:
        columns = self._columns(split)
        parts = []
        for file in self._files[split]:
            with _readable(file) as path, pq.ParquetFile(path) as parquet:
                self._require_columns(parquet.schema_arrow.names, columns, file)
                parts.append(label_values(parquet.read(columns=[columns.label]).column(0)))
        values = np.concatenate([values for values, _ in parts])
        missing = np.concatenate([missing for _, missing in parts])
        return encode_labels(values, missing, columns.class_names, self.origin)

    def _require_columns(self, names: Sequence[str], columns: Columns, file: Path) -> None:
        absent = [name for name in (columns.image, columns.label) if name not in names]
        if absent:
            raise DistailError(
                f"{file} has no column '{absent[0]}', unlike the other files of {self.origin}. "
                "All files of a split need the same columns."
            )

    def _batches(self, split: str) -> Iterator[list[Undecoded]]:
        image = self._columns(split).image
        for file in self._files[split]:
            with _readable(file) as path, pq.ParquetFile(path) as parquet:
                for batch in parquet.iter_batches(BATCH_ROWS, columns=[image]):
                    yield image_items(batch.column(0), follow_paths=False)

    def _where(self, split: str, row: int) -> str:
        for file in self._files[split]:
            rows = pq.read_metadata(file).num_rows
            if row < rows:
                return f"{file} row {row}"
            row -= rows
        raise IndexError(row)


def parquet_files(folder: Path) -> dict[str, tuple[Path, ...]]:
    """The Parquet files of a folder or of its `data` sub-folder, by split; empty where there are none.

    The split is the file name up to the first '-' or '.': train.parquet, train-00000-of-00002.parquet. Where
    no file is named after a split, all files together are the training split.
    """
    for place in (folder, folder / "data"):
        files = sorted(place.glob("*.parquet"))
        if files:
            break
    else:
        return {}
    by_split: dict[str, tuple[Path, ...]] = {}
    for file in files:
        split = canonical_split(file.name.split(".")[0].split("-")[0])
        by_split[split] = (*by_split.get(split, ()), file)
    return by_split if set(by_split) & set(SPLIT_NAMES) else {"train": tuple(files)}


@contextmanager
def _readable(file: Path) -> Iterator[Path]:
    """Turns Arrow's complaints about this file into one that says which file it was."""
    try:
        yield file
    except (pa.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DistailError(
            f"{file} cannot be read as a Parquet file: {reason} Download or write the file again, "
            "or correct its ending if it is of another kind."
        ) from error
