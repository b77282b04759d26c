"""Files that survive a crash and cannot harm: atomic writes, and tensors read without executing anything."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distail.errors import DistailError

FORMAT_VERSION = 1
_PICKLE_SIGNS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")


@dataclass(frozen=True)
class TensorFile:
    """What a tensor file holds.

    Attributes:
        kind: what it is, such as 'distilled set' or 'network'; reading checks it.
        tensors: by name.
        header: everything that is not a tensor, as JSON values.
    """

    kind: str
    tensors: dict[str, Tensor]
    header: dict[str, Any]


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path` and renames it over `path` if the block succeeds.

    A reader sees the old file or the whole new one, at any instant and after any crash.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    except OSError as error:
        # The error names the temporary file, which tells nobody what was to be written.
        raise OSError(error.errno, error.strerror, str(path)) from None
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        # mkstemp makes private files; give the result the permissions an ordinary new file would have.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def require_free(path: Path) -> None:
    """Refuses an output file that exists or could not be made; to be asked before long work, not after.

    Raises:
        DistailError: something is there already, or the folder cannot hold new files.
    """
    if path.exists() or path.is_symlink():
        raise DistailError(f"{path} exists. Choose another name; nothing was touched.")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise DistailError(f"{path} cannot be made: {folder} is a file, not a folder. Choose another place.")
    try:
        try_writing(folder)
    except OSError as error:
        raise DistailError(f"{path} cannot be made in {folder}: {error.strerror}. Choose another place.") from None


def is_taken(path: Path) -> bool:
    """Whether something is there: a file, or a folder that is not empty."""
    if path.is_dir():
        return any(path.iterdir())
    return path.exists() or path.is_symlink()


def require_not_taken(path: Path) -> None:
    """Refuses a place where something is, other than an empty folder; to be asked before long work, not after.

    Raises:
        DistailError: a file is there, or a folder that is not empty.
    """
    if is_taken(path):
        raise DistailError(f"{path} exists and is no empty folder. Choose another name; nothing was touched.")


def try_writing(folder: Path) -> None:
    """Writes a file into a folder and removes it: access rights alone tell little, as to root all seems allowed.

    Raises:
        OSError: there is no such folder, it may only be read, or the disk has no room for a file.
    """
    with tempfile.TemporaryFile(dir=folder) as probe:
        probe.write(b"\0" * 4096)
        probe.flush()


def require_writable(folder: Path) -> None:
    """Makes a folder if need be, and refuses one that files cannot be written into; to be asked before long work.

    Raises:
        DistailError: a file is in its place, it may only be read, or the disk has no room for a file.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try_writing(folder)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DistailError(f"Nothing can be written into {folder}: {reason}. Choose another --out.") from None


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any, *, indent: int | None = 2) -> None:
    """Writes JSON atomically, with stable key order as given; on one line where `indent` is None."""
    write_text(path, json.dumps(value, indent=indent, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Reads JSON.

    Raises:
        DistailError: the file is missing, unreadable or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DistailError(f"{path} does not exist.") from None
    except OSError as error:
        raise DistailError(f"{path} cannot be read: {error.strerror}.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DistailError(f"{path} is not readable as JSON ({error}). It may be truncated; make it again.") from None


def write_tensors(path: Path, content: TensorFile) -> None:
    """Writes a safetensors file atomically, with a digest of all it holds.

    Raises:
        OSError: the disk is full, or the folder cannot be written to.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors = _apart({name: tensor.detach().cpu().contiguous() for name, tensor in content.tensors.items()})
    header = json.dumps(content.header, allow_nan=False)
    metadata = {
        "format": "distail",
        "version": str(FORMAT_VERSION),
        "kind": content.kind,
        "header": header,
        "sha256": tensors_digest(tensors, content.kind + header),
    }
    with atomic_path(path) as temporary:
        try:
            save_file(tensors, temporary, metadata=metadata)
        except SafetensorError as error:
            # The library speaks of full disks in words of its own, which nobody else looks out for.
            if (found := re.search(r"os error (\d+)", str(error))) is None:
                raise
            raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from None


def read_tensors(path: Path, kind: str) -> TensorFile:
    """Reads and verifies a file that `write_tensors` made.

    Raises:
        DistailError: the file is missing, truncated, altered, of another kind or version, or no safetensors file.
    """
    with _opened(path) as file:
        metadata = dict(file.metadata() or {})
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    _require_ours(path, kind, metadata)
    if metadata.get("sha256") != tensors_digest(tensors, kind + metadata["header"]):
        raise DistailError(
            f"{path} has been altered since it was written: its content does not match its checksum. "
            "Use an untouched copy, or make it again."
        )
    return TensorFile(kind, tensors, json.loads(metadata["header"]))


def read_header(path: Path, kind: str) -> dict[str, Any]:
    """The header of a file that `write_tensors` made; its tensors are not read, so its checksum is not compared.

    Raises:
        DistailError: the file is missing, of another kind or version, or no safetensors file.
    """
    with _opened(path) as file:
        metadata = file.metadata() or {}
        _require_ours(path, kind, metadata)
        header: dict[str, Any] = json.loads(metadata["header"])
        return header


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A safetensors file."""
    from safetensors import SafetensorError, safe_open

    if path.is_dir():
        raise DistailError(f"{path} is a folder. Name a file; a run's set is RUN/distilled.safetensors.")
    if not path.is_file():
        raise DistailError(f"{path} does not exist. Check the path; a run's set is RUN/distilled.safetensors.")
    with path.open("rb") as opened:
        first = opened.read(9)
    # A safetensors file begins with the length of its header, and 640 bytes look like a pickle; a brace follows.
    if first.startswith(_PICKLE_SIGNS) and first[8:] != b"{":
        raise DistailError(
            f"{path} is a pickle or zip archive, not a safetensors file. Opening it could run foreign code, so it "
            "is refused. Use the file that distail wrote."
        )
    try:
        with safe_open(str(path), framework="pt") as opened_file:
            yield opened_file
    except (SafetensorError, OSError, ValueError) as error:
        raise DistailError(
            f"{path} is not a whole safetensors file ({error}). It is truncated or foreign; copy or make it again."
        ) from None


def _require_ours(path: Path, kind: str, metadata: Mapping[str, str]) -> None:
    """Refuses a file that is not one of ours, or of another kind."""
    if metadata.get("format") != "distail" or "header" not in metadata:
        raise DistailError(
            f"{path} is a safetensors file, but distail did not write it. Use a file that distail wrote."
        )
    if metadata.get("version") != str(FORMAT_VERSION):
        raise DistailError(
            f"{path} has format version {metadata.get('version')}; this distail reads version {FORMAT_VERSION}. "
            "Install the distail version that wrote it, or make it again."
        )
    if metadata.get("kind") != kind:
        raise DistailError(
            f"{path} holds a {metadata.get('kind')}, but a {kind} is needed here. Name a file that holds a {kind}."
        )


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, copied where one shares memory with an earlier one, which safetensors refuses to write."""
    seen: set[int] = set()
    apart = {}
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone() if place in seen else tensor
        seen.add(place)
    return apart


def with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin like this, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def identity_hash(identity: Mapping[str, Any], digits: int = 16) -> str:
    """Names what is kept by all that decides it, whatever the order in which that is given.

    Args:
        identity: JSON values.
        digits: hexadecimal ones of the name, at most 64; files on disk are found by it, so each kind keeps its length.
    """
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:digits]


def tensors_digest(tensors: Mapping[str, Tensor], text: str) -> str:
    """SHA-256 over tensors on the CPU, with their names, types and shapes, and a text."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
