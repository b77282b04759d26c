"""A folder of image files: one sub-folder a class, or one such folder a split."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from distail.data.sources.base import SPLIT_NAMES, Source, canonical_split, in_split_order
from distail.data.sources.contents import RawSplit, UnreadableImage
from distail.data.sources.decode import decode_images, in_batches
from distail.errors import DistailError
from distail.progress import Progress

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".avif", ".jp2"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".tga"}
)
"""Files with other endings are not looked at."""


class FolderSource(Source):
    """Class folders, whose images may lie in folders further down. Everything is taken sorted by name."""

    def __init__(self, origin: str, roots: dict[str, Path]) -> None:
        self.origin = origin
        self._roots = roots

    @property
    def splits(self) -> tuple[str, ...]:
        """The split folders, or only train where class folders stand directly in the source."""
        return in_split_order(self._roots)

    def class_names(self, split: str) -> tuple[str, ...]:
        """The names of the class folders, sorted."""
        return tuple(folder.name for folder in _folders(self._roots[split]))

    def read(self, split: str, image_size: tuple[int, int] | None, progress: Progress) -> RawSplit:
        """Decodes the files class by class, each class sorted by path."""
        files: list[Path] = []
        labels: list[int] = []
        for label, folder in enumerate(_folders(self._roots[split])):
            of_class = [Path(file) for file in _image_files(folder)]
            files += of_class
            labels += [label] * len(of_class)
        if not files:
            raise DistailError(
                f"{self.origin}: the class folders of {self._roots[split]} hold no image files. "
                f"Put images there, with one of the endings {', '.join(sorted(IMAGE_SUFFIXES))}."
            )
        decoded = decode_images(
            in_batches(files), len(files), image_size=image_size, origin=self.origin, progress=progress
        )
        unreadable = tuple(UnreadableImage(str(files[row]), reason) for row, reason in decoded.failures)
        kept_labels = np.asarray(labels, dtype=np.int64)[decoded.kept]
        return RawSplit(decoded.pixels, kept_labels, self.class_names(split), unreadable, decoded.sizes)


def open_folder(origin: str, folder: Path) -> FolderSource:
    """Tells class folders from split folders.

    Sub-folders called train, test, val, valid or validation are splits if at least one of them holds folders
    and no other folder stands beside them.

    Raises:
        DistailError: the folder is empty, holds images without class folders, or mixes splits with other
            folders.
    """
    folders = _folders(folder)
    if not folders:
        raise DistailError(_why_no_classes(origin, folder))
    split_folders = [found for found in folders if canonical_split(found.name) in SPLIT_NAMES]
    if not any(_folders(found) for found in split_folders):
        return FolderSource(origin, {"train": folder})
    others = [found.name for found in folders if found not in split_folders]
    if others:
        raise DistailError(
            f"{origin}: beside the split folder {split_folders[0].name} stands '{others[0]}', which is none. "
            f"Move it away, or name the training folder itself ({split_folders[0]})."
        )
    roots: dict[str, Path] = {}
    for found in split_folders:
        split = canonical_split(found.name)
        if split in roots:
            raise DistailError(f"{origin}: {roots[split].name} and {found.name} are the same split. Keep one of them.")
        roots[split] = found
    return FolderSource(origin, roots)


def _why_no_classes(origin: str, folder: Path) -> str:
    names = [entry.name for entry in _entries(folder)]
    if "distilled.safetensors" in names or {"manifest.json", "recipe.yaml"} <= set(names):
        return (
            f"{origin} is the folder of a run, not of images. Use it as it is with `distail evaluate` or "
            "`train`, open it with `load_distilled` in Python, or make images of it by `distail export`."
        )
    if {"dataset_info.json", "dataset_dict.json", "state.json"} & set(names):
        return f"{origin} was written by save_to_disk of the datasets library. Name it as hf:{folder}."
    if any(Path(name).suffix.lower() in IMAGE_SUFFIXES for name in names):
        return f"{origin} holds images, but no class folders. Put the images of each class in a folder of its name."
    if names:
        return (
            f"{origin} holds neither class folders nor Parquet files. "
            "Name a folder with one sub-folder of images a class."
        )
    return f"{origin} is an empty folder. Name one with one sub-folder of images a class, or with Parquet files."


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What stands in a folder, sorted by name, without hidden files and archive leftovers."""
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith((".", "__MACOSX"))]
    except OSError as error:
        raise DistailError(f"{folder} cannot be listed: {error.strerror}. Check its permissions.") from error
    return sorted(visible, key=lambda entry: entry.name)


def _folders(folder: Path) -> list[Path]:
    return [Path(entry.path) for entry in _entries(folder) if entry.is_dir()]


def _image_files(folder: Path) -> list[str]:
    """All image files below a folder. Linked folders are not entered, since links may form a circle."""
    files = []
    for entry in _entries(folder):
        if entry.is_dir(follow_symlinks=False):
            files += _image_files(Path(entry.path))
        elif os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES and not entry.is_dir():  # noqa: PTH122  ten times faster than Path
            files.append(entry.path)
    return files
