"""Small datasets in every accepted form, written to a folder."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def pixels(n: int, shape: tuple[int, ...] = (8, 8, 3), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def encoded(image: np.ndarray | Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def write_folder(root: Path, classes: dict[str, Sequence[np.ndarray]]) -> Path:
    for name, images in classes.items():
        (root / name).mkdir(parents=True)
        for number, image in enumerate(images):
            (root / name / f"{number:03}.png").write_bytes(encoded(image))
    return root


def hugging_face_table(
    images: Sequence[bytes | None], labels: Sequence[int | None], names: Sequence[str] | None = None
) -> pa.Table:
    label = {"_type": "ClassLabel", "names": list(names)} if names else {"_type": "Value", "dtype": "int64"}
    metadata = {"info": {"features": {"image": {"_type": "Image"}, "label": label}}}
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [{"bytes": image, "path": None} for image in images]
    schema = pa.schema([("image", kind), ("label", pa.int64())], {"huggingface": json.dumps(metadata)})
    return pa.table({"image": pa.array(rows, kind), "label": pa.array(labels, pa.int64())}, schema=schema)


def write_parquet(path: Path, table: pa.Table | dict) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table if isinstance(table, pa.Table) else pa.table(table), path, row_group_size=3)
    return path
