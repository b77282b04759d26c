"""NumPy archives of images and labels, read without ever unpickling."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distail.data.sources.arrays import resized, uint8_images
from distail.data.sources.base import SPLIT_NAMES, Source, canonical_split, in_split_order
from distail.data.sources.contents import RawSplit
from distail.data.sources.labels import encode_labels, texts
from distail.errors import DistailError
from distail.progress import Progress

IMAGE_KEYS = ("images", "image", "x", "data", "imgs")
LABEL_KEYS = ("labels", "label", "y", "targets", "target")
NAME_KEYS = ("class_names", "classes", "label_names")


@dataclass(frozen=True)
class _Keys:
    images: str
    labels: str


class NpzSource(Source):
    """Images and labels under the usual keys.

    Keys: images/labels or x/y, alone or with a split before or after (train_images, x_test), and class_names
        if there are any. Layouts and scales: see `uint8_images`. Labels are (n,) or (n, 1), integers or
        strings.
    """

    def __init__(self, origin: str, path: Path) -> None:
        self.origin = origin
        self._path = path
        with self._opened() as archive:
            self._keys = _find_keys(archive.files, origin)
            self._name_key = next((key for key in archive.files if key.lower() in NAME_KEYS), None)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that the keys tell apart."""
        return in_split_order(self._keys)

    def class_names(self, split: str) -> tuple[str, ...]:
        """What the archive says, the distinct string labels, or '0' to the highest integer label."""
        return self._labels(split)[1]

    def read(self, split: str, image_size: tuple[int, int] | None, progress: Progress) -> RawSplit:
        """Loads one split's arrays; the others stay on disk."""
        labels, names = self._labels(split)
        keys = self._keys[split]
        images = uint8_images(self._array(keys.images), self.origin)
        if len(images) != len(labels):
            raise DistailError(
                f"{self.origin}: {len(images)} images in '{keys.images}' but {len(labels)} labels in "
                f"'{keys.labels}'. Every image needs exactly one label."
            )
        height, width = images.shape[1:3]
        pixels = resized(images, image_size, self.origin, progress)
        return RawSplit(pixels, labels, names, (), {(height, width): len(images)})

    def _labels(self, split: str) -> tuple[np.ndarray, tuple[str, ...]]:
        key = self._keys[split].labels
        labels = self._array(key)
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if labels.ndim != 1:
            raise DistailError(
                f"{self.origin}: labels '{key}' have shape {labels.shape}. Save one class an image, as (n,) or (n, 1)."
            )
        names = texts(self._array(self._name_key)) if self._name_key else None
        return encode_labels(labels, np.zeros(len(labels), dtype=bool), names, self.origin)

    def _opened(self) -> np.lib.npyio.NpzFile:
        if not zipfile.is_zipfile(self._path):
            raise DistailError(f"{self._path} is not an .npz archive, or an incomplete one. Write it with numpy.savez.")
        return np.load(self._path, allow_pickle=False)

    def _array(self, key: str) -> np.ndarray:
        try:
            with self._opened() as archive:
                array = archive[key]
                if isinstance(array, np.ndarray):
                    return array
                raise ValueError("it is a file of another kind")  # NumPy hands those out as bytes
        except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
            if "allow_pickle" in str(error):
                reason = "it holds Python objects, which could run code and are never loaded; save a plain array"
            else:
                reason = f"{error}; the file is damaged, write it again"
            raise DistailError(f"{self._path}: the array '{key}' cannot be read: {reason}.") from error


def _find_keys(files: list[str], origin: str) -> dict[str, _Keys]:
    """The image and label keys of each split."""
    images, labels = _by_split(files, IMAGE_KEYS, origin), _by_split(files, LABEL_KEYS, origin)
    keys = {split: _Keys(images[split], labels[split]) for split in images if split in labels}
    lonely = sorted(
        {*images.values(), *labels.values()} - {key for pair in keys.values() for key in (pair.images, pair.labels)}
    )
    if not keys or lonely:
        missing = f"'{lonely[0]}' has no partner" if lonely else "no images and labels"
        raise DistailError(
            f"{origin}: {missing} among the arrays {', '.join(files) or '(none)'}. "
            "Name them images and labels, or train_images, train_labels, test_images and test_labels."
        )
    if "" in keys and "train" in keys:
        raise DistailError(
            f"{origin}: '{keys[''].images}' and '{keys['train'].images}' both look like training images."
        )
    return {split or "train": pair for split, pair in keys.items()}


def _by_split(files: list[str], stems: tuple[str, ...], origin: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for key in files:
        split = _split_of(key.lower(), stems)
        if split is None:
            continue
        if split in found:
            raise DistailError(f"{origin}: '{found[split]}' and '{key}' mean the same. Keep one of them.")
        found[split] = key
    return found


def _split_of(key: str, stems: tuple[str, ...]) -> str | None:
    """The split a key belongs to, '' for none in particular, or None for a key of another meaning."""
    if key in stems:
        return ""
    for stem in stems:
        for word in (key.removesuffix(f"_{stem}"), key.removeprefix(f"{stem}_")):
            if word != key and canonical_split(word) in SPLIT_NAMES:
                return canonical_split(word)
    return None
