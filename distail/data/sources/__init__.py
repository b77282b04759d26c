"""Where images come from: the built-in sample, folders, Parquet and NumPy files, and the Hugging Face hub."""

from distail.data.sources.contents import SourceContents, UnreadableImage
from distail.data.sources.reading import load, load_test, read_source, read_test_source, source_splits

__all__ = [
    "SourceContents",
    "UnreadableImage",
    "load",
    "load_test",
    "read_source",
    "read_test_source",
    "source_splits",
]
