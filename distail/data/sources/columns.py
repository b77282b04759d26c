"""Which columns of a table hold images and labels, and how to take them out of Arrow memory."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distail.data.sources.decode import Undecoded
from distail.errors import DistailError

IMAGE_NAMES = frozenset(
    {"image", "images", "img", "image_bytes", "bytes", "picture", "photo", "x", "png", "jpg", "jpeg"}
)
LABEL_NAMES = frozenset(
    {"label", "labels", "class", "class_name", "target", "targets", "category", "fine_label", "y", "cls"}
)


@dataclass(frozen=True)
class Columns:
    """The two columns that matter.

    Attributes:
        image: name of the image column.
        label: name of the label column.
        class_names: what the schema calls the classes, or None where it does not say.
    """

    image: str
    label: str
    class_names: tuple[str, ...] | None


def choose_columns(schema: pa.Schema, origin: str) -> Columns:
    """Finds the image and the label column by type, and by common names where several fit.

    Columns called exactly 'image' and 'label' always win.

    Args:
        schema: with the Hugging Face feature description in its metadata, or without.
        origin: the source, for messages.

    Raises:
        DistailError: no column fits, or several do; lists the columns.
    """
    features = _features(schema)
    image = _choose(schema, _image_candidates(schema, features), IMAGE_NAMES, "image", origin)
    labels = [name for name in _label_candidates(schema, features) if name != image]
    label = _choose(schema, labels, LABEL_NAMES, "label", origin)
    names = _feature(features, label).get("names")
    return Columns(image, label, tuple(str(name) for name in names) if isinstance(names, list) and names else None)


def _features(schema: pa.Schema) -> dict[str, object]:
    try:
        described = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = described["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def _feature(features: dict[str, object], name: str) -> dict[str, object]:
    feature = features.get(name)
    return feature if isinstance(feature, dict) else {}


def _image_candidates(schema: pa.Schema, features: dict[str, object]) -> list[str]:
    declared = [name for name in schema.names if _feature(features, name).get("_type") == "Image"]
    return declared or [field.name for field in schema if _holds_bytes(field.type)]


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        position = kind.get_field_index("bytes")
        return position >= 0 and _holds_bytes(kind.field(position).type)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _label_candidates(schema: pa.Schema, features: dict[str, object]) -> list[str]:
    declared = [name for name in schema.names if _feature(features, name).get("_type") == "ClassLabel"]
    return declared or [field.name for field in schema if _is_label(field.type)]


def _is_label(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    tests = (
        pa.types.is_integer,
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_boolean,
        pa.types.is_floating,
    )
    return any(test(kind) for test in tests)


def _choose(schema: pa.Schema, candidates: list[str], common: frozenset[str], wanted: str, origin: str) -> str:
    if wanted in candidates:
        return wanted
    usual = [name for name in candidates if name.lower() in common]
    if len(usual) == 1:
        return usual[0]
    if len(candidates) == 1:
        return candidates[0]
    columns = ", ".join(f"{field.name} ({field.type})" for field in schema)
    if not candidates:
        raise DistailError(f"{origin}: no column holds the {wanted}s. Its columns: {columns}.")
    raise DistailError(
        f"{origin}: several columns could hold the {wanted}s: {', '.join(usual or candidates)}. "
        f"Rename the right one to '{wanted}'. Its columns: {columns}."
    )


def image_items(column: pa.Array, *, follow_paths: bool) -> list[Undecoded]:
    """Encoded images of one column: binary, or the Hugging Face struct of bytes and path.

    Args:
        column: one batch of the image column.
        follow_paths: whether an entry without bytes may name a file to read instead.
    """
    if not pa.types.is_struct(column.type):
        return column.to_pylist()
    parts = dict(zip((field.name for field in column.type), column.flatten(), strict=True))
    items: list[Undecoded] = parts["bytes"].to_pylist()
    if follow_paths and "path" in parts:
        paths = parts["path"].to_pylist()
        items = [Path(path) if item is None and path else item for item, path in zip(items, paths, strict=True)]
    return items


def label_values(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """(values, missing) of a label column, both (n,); values are arbitrary where missing."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    missing = pc.is_null(column, nan_is_null=True).to_numpy()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return np.asarray(column.to_pylist(), dtype=object), missing
    filled = column.fill_null(False if pa.types.is_boolean(column.type) else 0)
    return filled.to_numpy(), missing
