"""Distilled sets as ordinary files that any other tool reads, and what is lost on the way."""

from __future__ import annotations

import io
import json
import os
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from distail.artifact import atomic_path, require_not_taken
from distail.data.image_set import ImageSet
from distail.distilled import DistilledSet
from distail.errors import DistailError, did_you_mean

ExportFormat = Literal["parquet", "folder", "npz"]

FLOAT_NOISE = 0.01
"""Pixel units (of 255). Float32 preprocessing and its inverse err by less; less is no loss."""

_MAX_NAME_BYTES = 120
_FORBIDDEN = frozenset('/\\:*?"<>|')
_RESERVED = frozenset({"con", "prn", "aux", "nul"} | {f"{name}{i}" for name in ("com", "lpt") for i in range(10)})
_PNG_CHANNELS = (1, 3)


@dataclass(frozen=True)
class PixelLoss:
    """How far whole pixels of 0..255 are from the exact images, all in units of one pixel step.

    Every value is either clipped or rounded, so rms² = clipping_rms² + rounding_rms².

    Attributes:
        rms: root of the mean squared error over all values.
        max: largest absolute error.
        clipped_fraction: share of values, 0..1, that lie outside 0..255 by more than float noise (0.01).
        clipping_rms: the part of `rms` that comes from values outside 0..255.
        rounding_rms: the part of `rms` that comes from rounding; 0.29 for values spread evenly.
    """

    rms: float
    max: float
    clipped_fraction: float
    clipping_rms: float
    rounding_rms: float


@dataclass(frozen=True)
class ExportLoss:
    """What an export loses, measured.

    Attributes:
        pixels: error of the written images.
        bytes_written: size of all files.
        dropped: parts of the set that the format does not carry, in words, such as 'soft labels'.
    """

    pixels: PixelLoss
    bytes_written: int
    dropped: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self) | {"dropped": list(self.dropped)}

    def describe(self) -> str:
        """As sentences for people."""
        pixels = self.pixels
        if pixels.max <= FLOAT_NOISE:
            error = f"The written pixels are the images, to within {FLOAT_NOISE} of 255."
        else:
            error = (
                f"The written pixels differ from the exact images by {pixels.rms:.2f} of 255 (rms; at most "
                f"{pixels.max:.1f}): {pixels.rounding_rms:.2f} from rounding, {pixels.clipping_rms:.2f} "
                f"from clipping {100 * pixels.clipped_fraction:.1f}% of the values."
            )
        return f"{error} Not in the export: {', '.join(self.dropped)}." if self.dropped else error


def export_set(distilled: DistilledSet, path: str | Path, format: ExportFormat | str) -> ExportLoss:
    """Writes a set as ordinary images, whole or not at all.

    Mosaics are written decoded, every cell an image of full size: that is what networks should learn from, and no other
    tool would cut them up. It takes more bytes than the set.

    parquet: a Hugging Face dataset file with columns image (PNG), label (with class names) and, where the set
    has them, soft_label (logits). folder: CLASS/0007.png, numbered by position in the set. npz: images
    (n, height, width, channels) uint8, labels, class_names and, where the set has them, soft_labels (logits).

    Args:
        distilled: the set; grayscale or RGB unless the format is npz.
        path: the file, or for 'folder' the folder, to make.
        format: 'parquet', 'folder' or 'npz'.

    Raises:
        DistailError: unknown format, a target that exists, channels that PNG cannot hold, or a failing disk.
    """
    path = Path(path)
    if format not in get_args(ExportFormat):
        raise DistailError(f"Unknown export format '{format}'. {did_you_mean(format, get_args(ExportFormat))}")
    channels = distilled.image_shape[0]
    if format != "npz" and channels not in _PNG_CHANNELS:
        raise DistailError(
            f"'{format}' stores PNG images, which hold 1 or 3 channels; these have {channels}. Export as npz instead."
        )
    require_not_taken(path)  # an empty folder may become the export's folder; a file's writer refuses it
    mosaic, distilled = distilled.mosaic, distilled.decoded()
    pixels = distilled.to_pixels().cpu()
    writers: dict[str, Callable[[DistilledSet, UInt8[Tensor, "n c h w"], Path], int]] = {
        "parquet": _write_parquet,
        "folder": _write_folder,
        "npz": _write_npz,
    }
    loss = pixel_loss(distilled, pixels)
    try:
        num_bytes = writers[format](distilled, pixels, path)
    except OSError as error:
        raise DistailError(f"{path} could not be written ({error}). Check the path, its rights and the disk.") from None
    dropped = ("mosaics",) if mosaic > 1 else ()
    return ExportLoss(loss, num_bytes, dropped + _dropped(distilled, format, loss))


def pixel_loss(distilled: DistilledSet, pixels: UInt8[Tensor, "n c h w"]) -> PixelLoss:
    """Compares the exact images, preprocessing inverted, with these pixels."""
    exact = distilled.preprocessing.invert(distilled.images).cpu().double() * 255
    clipped = exact.clamp(0, 255)
    beyond = (exact - clipped).abs()
    return PixelLoss(
        rms=_rms(pixels - exact),
        max=float((pixels - exact).abs().max()),
        clipped_fraction=float((beyond > FLOAT_NOISE).double().mean()),
        clipping_rms=_rms(beyond),
        rounding_rms=_rms(pixels - clipped),
    )


def folder_names(class_names: tuple[str, ...]) -> tuple[str, ...]:
    """A folder name for each class: valid on all common file systems, distinct even where case is ignored.

    Names that are valid already are kept, unless they differ from an earlier one in case only.
    """
    cleaned = [_cleaned(name) for name in class_names]
    chosen: dict[int, str] = {}
    taken: set[str] = set()
    # Valid names come first, so that class 'a_b' keeps its name beside a class 'a/b'.
    for index in sorted(range(len(cleaned)), key=lambda i: cleaned[i] != class_names[i]):
        name, number = cleaned[index], 2
        while _folded(name) in taken:
            name, number = f"{cleaned[index]}~{number}", number + 1
        taken.add(_folded(name))
        chosen[index] = name
    return tuple(chosen[index] for index in range(len(cleaned)))


def with_class_names(images: ImageSet, class_names: tuple[str, ...]) -> ImageSet:
    """Images of class folders under the names of the set that these are an export of; unchanged if they are not."""
    of = {_folded(name): label for label, name in enumerate(folder_names(class_names))}
    found = [_folded(name) for name in images.class_names]
    if sorted(found) != sorted(of):
        return images
    labels = torch.tensor([of[name] for name in found])[images.labels]
    return replace(images, labels=labels, class_names=class_names)


def _cleaned(name: str) -> str:
    kept = "".join("_" if char in _FORBIDDEN or not char.isprintable() else char for char in name)
    kept = kept.encode()[:_MAX_NAME_BYTES].decode(errors="ignore").rstrip(" .").lstrip(" ")
    if kept.startswith("."):
        kept = "_" + kept[1:]  # a hidden folder would be skipped by readers
    if kept.split(".")[0].casefold() in _RESERVED:
        kept = "_" + kept
    return kept or "_"


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _dropped(distilled: DistilledSet, format: str, loss: PixelLoss) -> tuple[str, ...]:
    names = folder_names(distilled.class_names)
    conditions = {
        "exact float images": loss.max > FLOAT_NOISE,
        "soft labels": distilled.soft_labels is not None and format == "folder",
        "labelled views": distilled.views is not None,
        "learning rate": distilled.learning_rate is not None,
        "recipe of students": distilled.training is not None,
        "preprocessing": distilled.preprocessing.kind != "none",
        "provenance": bool(distilled.provenance),
        "class names": format == "folder" and names != distilled.class_names,
        # Readers of class folders number the classes by sorted name.
        "class order": format == "folder" and list(names) != sorted(names),
    }
    return tuple(part for part, lost in conditions.items() if lost)


def _rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


def _png_images(pixels: UInt8[Tensor, "n c h w"]) -> Iterator[bytes]:
    for image in pixels:
        array = image[0].numpy() if len(image) == 1 else image.permute(1, 2, 0).contiguous().numpy()
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, format="PNG", optimize=True)
        yield buffer.getvalue()


def _soft_labels(distilled: DistilledSet) -> Float[np.ndarray, "n k"] | None:
    return None if distilled.soft_labels is None else distilled.soft_labels.detach().cpu().float().numpy()


def _write_parquet(distilled: DistilledSet, pixels: UInt8[Tensor, "n c h w"], path: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    images = [{"bytes": png, "path": f"{index:04d}.png"} for index, png in enumerate(_png_images(pixels))]
    fields = [
        pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        pa.field("label", pa.int64()),
    ]
    columns: list[Any] = [images, distilled.labels.tolist()]
    features: dict[str, Any] = {
        "image": {"_type": "Image"},
        "label": {"names": list(distilled.class_names), "_type": "ClassLabel"},
    }
    soft = _soft_labels(distilled)
    if soft is not None:
        fields.append(pa.field("soft_label", pa.list_(pa.float32())))
        columns.append(soft.tolist())
        # 'Sequence' is what datasets 3 knows; later versions read it as their 'List'.
        features["soft_label"] = {"feature": {"dtype": "float32", "_type": "Value"}, "_type": "Sequence"}
    schema = pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})
    arrays = [pa.array(column, field.type) for column, field in zip(columns, fields, strict=True)]
    with _new_file(path) as temporary:
        pq.write_table(pa.Table.from_arrays(arrays, schema=schema), temporary)
    return path.stat().st_size


def _write_npz(distilled: DistilledSet, pixels: UInt8[Tensor, "n c h w"], path: Path) -> int:
    arrays: dict[str, np.ndarray] = {
        "images": pixels.permute(0, 2, 3, 1).contiguous().numpy(),
        "labels": distilled.labels.cpu().numpy(),
        "class_names": np.array(distilled.class_names, dtype=np.str_),
    }
    soft = _soft_labels(distilled)
    if soft is not None:
        arrays["soft_labels"] = soft
    # An opened file, because NumPy adds '.npz' to a path that lacks it.
    with _new_file(path) as temporary, temporary.open("wb") as opened:
        np.savez_compressed(opened, **arrays)  # type: ignore[arg-type]
    return path.stat().st_size


def _write_folder(distilled: DistilledSet, pixels: UInt8[Tensor, "n c h w"], path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    names = folder_names(distilled.class_names)
    num_bytes = 0
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent, ignore_cleanup_errors=True) as temporary:
        # A folder inside the private temporary one has the permissions of an ordinary new folder.
        whole = Path(temporary) / path.name
        for name in names:
            (whole / name).mkdir(parents=True)
        for index, png in enumerate(_png_images(pixels)):
            file = whole / names[int(distilled.labels[index])] / f"{index:04d}.png"
            with file.open("wb") as opened:
                opened.write(png)
                opened.flush()
                os.fsync(opened.fileno())
            num_bytes += len(png)
        if path.is_dir():
            path.rmdir()
        whole.rename(path)
    return num_bytes


@contextmanager
def _new_file(path: Path) -> Iterator[Path]:
    if path.is_dir():
        raise DistailError(f"{path} is a folder; this format is one file. Choose another path, such as {path}/set.")
    with atomic_path(path) as temporary:
        yield temporary
