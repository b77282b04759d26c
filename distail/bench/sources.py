"""Content hashes of the data of a grid, found once; names, sizes and times of files say whether they still hold."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from distail.artifact import read_json, write_json
from distail.data.sources import read_source, read_test_source
from distail.data.sources.opening import parse_address
from distail.errors import DistailError
from distail.progress import Progress, SilentProgress
from distail.recipe import DataRecipe
from distail.training_images import read_training_split

_FORMAT = 1
_NOT_HERE = "no file"


class SourceHashes:
    """Content hashes, kept in a file.

    Data of the Hugging Face hub have no files to look at: what was found once counts until the file is removed.
    """

    def __init__(self, file: Path, progress: Progress | None = None) -> None:
        self._file = file
        self._progress = progress or SilentProgress()
        self._known = self._read()
        self._seen: dict[str, str] = {}

    def of_training(self, data: DataRecipe) -> str:
        """The content hash of the whole training split; reads all of it where nothing is known of it yet.

        Raises:
            DistailError: it cannot be read.
        """
        return self._hash("train", data.source, data)

    def of_test(self, data: DataRecipe, test: str | None) -> str | None:
        """The content hash of the test images; None where they are set aside from the training split.

        Raises:
            DistailError: they cannot be read, or there are none.
        """
        if data.holdout is not None and test in (None, data.source):
            return None
        return self._hash("test", test or data.source, data)

    def _hash(self, split: str, source: str, data: DataRecipe) -> str:
        name = f"{split} of {source} at {data.image_size or 'its own'} pixels" + (", strict" if data.strict else "")
        if name in self._seen:
            return self._seen[name]
        stamp = _stamp(source)
        known = self._known.get(name)
        # Where the data are not, as on a machine that only prints tables, they count as they were.
        if known is None or stamp not in (known["stamp"], _NOT_HERE):
            known = {"stamp": stamp, "sha256": self._read_hash(split, source, data)}
            # Another process may have found out about other data meanwhile.
            self._known = {**self._read(), name: known}
            with suppress(OSError):  # a folder that may only be read: next time they are read again
                write_json(self._file, {"format": _FORMAT, "sources": self._known})
        self._seen[name] = known["sha256"]
        return self._seen[name]

    def _read_hash(self, split: str, source: str, data: DataRecipe) -> str:
        if split == "train":
            return read_training_split(data, self._progress).content_hash
        how: dict[str, Any] = {"image_size": data.image_size, "strict": data.strict, "progress": self._progress}
        if source == data.source:
            return read_source(source, "test", **how).images.content_hash
        return read_test_source(source, **how).images.content_hash

    def _read(self) -> dict[str, Any]:
        """What the file holds; nothing where it is missing, damaged or of another format."""
        try:
            written = read_json(self._file)
            return dict(written["sources"]) if written["format"] == _FORMAT else {}
        except (DistailError, KeyError, TypeError):
            return {}


def _stamp(source: str) -> str:
    """Changes when files of a source do: a hash of their names, sizes and times, without reading them."""
    path = Path(parse_address(source).source).expanduser()
    if not path.exists():
        return f"scikit-learn {version('scikit-learn')}" if str(path) == "digits" else _NOT_HERE
    digest = hashlib.sha256()
    for file in sorted(_files(path)):
        facts = file.stat()
        digest.update(f"{file.relative_to(path)}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    """All files of a folder, also behind links to folders, as classes may be; or the file itself."""
    if not path.is_dir():
        yield path
        return
    been: set[tuple[int, int]] = set()
    for folder, inner, names in os.walk(path, followlinks=True):
        facts = Path(folder).stat()
        if (facts.st_dev, facts.st_ino) in been:  # a link that leads back
            inner.clear()
            continue
        been.add((facts.st_dev, facts.st_ino))
        yield from (file for name in names if (file := Path(folder, name)).exists())
