"""From what the user typed to a `Source`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from distail.data.sources.base import Source
from distail.errors import DistailError, did_you_mean

ACCEPTED_FORMS = (
    "A source is one of: digits (built in); a folder with one sub-folder of images a class, or with train/ "
    "and test/ folders of such; a folder of Parquet files named after their splits; a .parquet file; an .npz "
    "file; hf:NAME or hf:NAME:CONFIG for a dataset of the Hugging Face hub. Add #SPLIT to pick a split of it."
)


@dataclass(frozen=True)
class Address:
    """A source, and the split that the user wrote behind it.

    Attributes:
        source: everything before the last '#'.
        split: what stands behind it, or None.
    """

    source: str
    split: str | None


def parse_address(text: str | Path) -> Address:
    """Cuts 'SOURCE#SPLIT' apart; a path that exists with its '#' is taken as it is.

    Raises:
        DistailError: nothing stands before or behind the '#'.
    """
    written = str(text)
    if "#" not in written or Path(written).exists():
        return Address(written, None)
    source, _, split = written.rpartition("#")
    if not source or not split:
        raise DistailError(f"'{written}': write SOURCE#SPLIT, such as data/birds#test.")
    return Address(source, split)


def open_source(source: str) -> Source:
    """The source of that name; images are not read yet.

    Each kind is imported only when asked for, since some bring heavy libraries with them.

    Raises:
        DistailError: there is no such source, or it is of no known kind.
    """
    if source.startswith("hf:"):
        from distail.data.sources.hub import open_hub

        return open_hub(source, source.removeprefix("hf:"))
    path = Path(source).expanduser()
    if path.is_dir():
        return _open_directory(source, path)
    if path.is_file():
        return _open_file(source, path)
    if source == "digits":
        from distail.data.sources.digits import DigitsSource

        return DigitsSource()
    raise DistailError(f"There is no source '{source}'. {_near(path)}{ACCEPTED_FORMS}")


def _open_directory(source: str, path: Path) -> Source:
    if any(path.glob("*.parquet")) or any((path / "data").glob("*.parquet")):
        from distail.data.sources.parquet import ParquetSource, parquet_files

        return ParquetSource(source, parquet_files(path))
    from distail.data.sources.folder import open_folder

    return open_folder(source, path)


def _open_file(source: str, path: Path) -> Source:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        from distail.data.sources.parquet import ParquetSource

        return ParquetSource(source, {"train": (path,)})
    if suffix == ".npz":
        from distail.data.sources.npz import NpzSource

        return NpzSource(source, path)
    raise DistailError(f"{source} is not a file that images can be read from. {ACCEPTED_FORMS}")


def _near(path: Path) -> str:
    """'Did you mean ...? ' where something of a similar name stands beside a missing path, else nothing."""
    parent = path.parent
    options = [entry.name for entry in parent.iterdir()] if parent.is_dir() else []
    if path.name == str(path):
        options.append("digits")
    sentence = did_you_mean(path.name, options)
    return f"{sentence} " if sentence.startswith("Did") else ""
