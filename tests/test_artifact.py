"""Files survive crashes, notice every change, and never run what they hold."""

import errno
import io
import json
import os
import pickle
import resource
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from distail.artifact import (
    TensorFile,
    atomic_path,
    identity_hash,
    read_json,
    read_tensors,
    require_free,
    require_not_taken,
    try_writing,
    with_prefix,
    write_json,
    write_tensors,
    write_text,
)
from distail.errors import DistailError

KIND = "distilled set"
CONTENT = TensorFile(
    KIND,
    {"images": torch.arange(24.0).view(2, 3, 4) / 7, "labels": torch.tensor([1, 0]), "rate": torch.tensor(0.25)},
    {"class_names": ["é", 'a"b'], "rate": 0.1, "nested": {"none": None}},
)


@pytest.fixture(scope="module")
def blob(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("blob") / "whole.safetensors"
    write_tensors(path, CONTENT)
    return path.read_bytes()


@pytest.fixture(scope="module")
def scratch(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("scratch") / "file.safetensors"


def header_length(blob: bytes) -> int:
    return struct.unpack("<Q", blob[:8])[0]


def assert_same(read: TensorFile, content: TensorFile) -> None:
    assert read.kind == content.kind
    assert read.header == content.header
    assert read.tensors.keys() == content.tensors.keys()
    for name, tensor in content.tensors.items():
        assert read.tensors[name].dtype == tensor.dtype
        assert torch.equal(read.tensors[name], tensor), name


def leftovers(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir() if entry.name.endswith(".tmp")]


# Atomic writing


def test_the_new_file_replaces_the_old(tmp_path):
    path = tmp_path / "deep" / "er" / "note.txt"
    write_text(path, "old")
    write_text(path, "né")
    assert path.read_bytes() == "né".encode()
    assert [entry.name for entry in path.parent.iterdir()] == ["note.txt"]


def test_the_old_file_is_there_until_the_block_ends(tmp_path):
    path = tmp_path / "note.txt"
    write_text(path, "old")
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == path.parent  # a rename across file systems would not be atomic
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("reason", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_an_error_inside_leaves_the_old_file_and_nothing_else(tmp_path, exists, reason):
    path = tmp_path / "note.txt"
    if exists:
        write_text(path, "old")

    def write_half():
        with atomic_path(path) as temporary:
            temporary.write_text("ne")
            raise reason

    with pytest.raises(type(reason)):
        write_half()
    assert [entry.name for entry in tmp_path.iterdir()] == (["note.txt"] if exists else [])
    assert not exists or path.read_text() == "old"


def test_an_error_while_renaming_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "note.txt"
    write_text(path, "old")

    def fail(self, target):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="Input/output"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert leftovers(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a process that can vanish")
@pytest.mark.parametrize("whole", [False, True])
def test_a_process_killed_before_the_rename_leaves_the_old_file(tmp_path, whole):
    path = tmp_path / "note.txt"
    write_text(path, "old")
    child = os.fork()
    if child == 0:
        try:
            with atomic_path(path) as temporary:
                temporary.write_text("new" if whole else "n")
                os._exit(9)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert path.read_text() == "old"
    write_text(path, "newer")  # what the dead process left is in nobody's way
    assert path.read_text() == "newer"


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_permissions_are_those_of_an_ordinary_new_file(tmp_path, umask):
    before = os.umask(umask)
    try:
        (tmp_path / "ordinary").write_text("")
        write_text(tmp_path / "ours", "")
        write_tensors(tmp_path / "tensors", CONTENT)
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    for name in ("ours", "tensors"):
        assert (tmp_path / name).stat().st_mode == (tmp_path / "ordinary").stat().st_mode


# Places to write to


def test_an_empty_folder_is_free_and_all_else_is_taken(tmp_path):
    nothing, empty, full, file, link = (tmp_path / name for name in ("nothing", "empty", "full", "file", "link"))
    empty.mkdir()
    full.mkdir()
    (full / "mine").write_text("")
    file.write_text("")
    link.symlink_to(tmp_path / "gone")
    for path in (nothing, empty):
        require_not_taken(path)
    for path in (full, file, link):
        with pytest.raises(DistailError, match=f"{path} exists and is no empty folder.*nothing was touched"):
            require_not_taken(path)
    assert not nothing.exists()


def test_a_full_disk_is_noticed_before_the_work(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            try_writing(tmp_path)
        with pytest.raises(DistailError, match="cannot be made in"):
            require_free(tmp_path / "result.json")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    require_free(tmp_path / "result.json")
    assert list(tmp_path.iterdir()) == []


# JSON


def test_json_round_trip(tmp_path):
    value = {"b": [1, 2.5, None, True], "a": {"é": "\n"}}
    write_json(tmp_path / "value.json", value)
    assert read_json(tmp_path / "value.json") == value
    text = (tmp_path / "value.json").read_text(encoding="utf-8")
    assert text.index('"b"') < text.index('"a"')
    assert text.endswith("}\n")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_without_nan(tmp_path, value):
    path = tmp_path / "value.json"
    write_json(path, 1)
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"loss": [value]})
    assert read_json(path) == 1
    with pytest.raises(ValueError, match="JSON"):
        write_tensors(path, TensorFile(KIND, {}, {"loss": value}))
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b'{"a": ', b"\xff\xfe{}", b"{}{}", b"\x00\x00"])
def test_unreadable_json_is_a_clear_error(tmp_path, content):
    (tmp_path / "value.json").write_bytes(content)
    with pytest.raises(DistailError, match=r"value\.json is not readable as JSON .* make it again"):
        read_json(tmp_path / "value.json")


def test_missing_json_is_a_clear_error(tmp_path):
    with pytest.raises(DistailError, match=r"value\.json does not exist"):
        read_json(tmp_path / "value.json")
    with pytest.raises(DistailError, match="cannot be read: Is a directory"):
        read_json(tmp_path)


# Tensors


def test_tensor_round_trip(tmp_path):
    write_tensors(tmp_path / "file", CONTENT)
    assert_same(read_tensors(tmp_path / "file", KIND), CONTENT)


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool]
)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,), (2, 3)])
def test_every_type_and_shape(tmp_path, dtype, shape):
    tensor = (torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 9).to(dtype)
    content = TensorFile(KIND, {"only": tensor}, {})
    write_tensors(tmp_path / "file", content)
    assert_same(read_tensors(tmp_path / "file", KIND), content)


def test_views_gradients_and_shared_memory(tmp_path):
    base = torch.arange(12.0)
    tensors = {
        "turned": base.view(3, 4).T,
        "start": base[:6],
        "end": base[4:],
        "same": base,
        "again": base,
        "wide": base[:1].expand(5),
        "leaf": base.clone().requires_grad_(),
    }
    content = TensorFile(KIND, tensors, {})
    write_tensors(tmp_path / "file", content)
    assert_same(read_tensors(tmp_path / "file", KIND), content)


def test_no_header_length_is_mistaken_for_a_pickle(tmp_path):
    # The length comes first in the file; 640 bytes and some others begin like pickles of protocol 2 to 5.
    lengths = set()
    for padding in range(200, 1200, 8):
        content = TensorFile(KIND, {"a": torch.zeros(1)}, {"text": "x" * padding})
        write_tensors(tmp_path / "file", content)
        lengths.add(header_length((tmp_path / "file").read_bytes()))
        assert_same(read_tensors(tmp_path / "file", KIND), content)
    assert {0x0280, 0x0380, 0x0480, 0x0580} <= lengths


def test_every_truncation_is_noticed(blob, scratch):
    for length in range(len(blob)):
        scratch.write_bytes(blob[:length])
        with pytest.raises(DistailError, match="truncated or foreign"):
            read_tensors(scratch, KIND)


@pytest.mark.parametrize("extra", [b"\x00", b"more bytes"])
def test_appended_bytes_are_noticed(blob, scratch, extra):
    scratch.write_bytes(blob + extra)
    with pytest.raises(DistailError):
        read_tensors(scratch, KIND)


def assert_noticed(blob: bytes, scratch: Path, position: int, value: int) -> None:
    altered = bytearray(blob)
    altered[position] = value
    scratch.write_bytes(altered)
    end = 8 + header_length(blob)
    padding = range(8 + len(blob[8:end].rstrip()), end)
    try:
        read = read_tensors(scratch, KIND)
    except DistailError:
        return
    # One kind of white space for another, behind the header, says nothing else.
    assert position in padding, f"byte {position} can become {value} unnoticed"
    assert_same(read, CONTENT)


def test_a_flipped_bit_anywhere_is_noticed(blob, scratch):
    for position in range(len(blob)):
        assert_noticed(blob, scratch, position, blob[position] ^ (1 << position % 8))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_changed_byte_anywhere_is_noticed(blob, scratch, data):
    position = data.draw(st.integers(0, len(blob) - 1))
    value = data.draw(st.integers(0, 255))
    assume(value != blob[position])
    assert_noticed(blob, scratch, position, value)


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=200), keep_length=st.booleans())
def test_noise_is_refused(scratch, content, keep_length):
    scratch.write_bytes(struct.pack("<Q", max(len(content) - 8, 0)) + content if keep_length else content)
    with pytest.raises(DistailError):
        read_tensors(scratch, KIND)


def test_exchanged_tensors_are_noticed(tmp_path):
    """The checksum covers names, types and shapes, not only bytes."""
    original = TensorFile(KIND, {"a": torch.arange(4.0), "b": torch.ones(4)}, {})
    write_tensors(tmp_path / "file", original)
    with safetensors.safe_open(tmp_path / "file", "pt") as opened:
        metadata = opened.metadata()
    for tensors in (
        {"b": torch.arange(4.0), "a": torch.ones(4)},
        {"a": torch.arange(4.0).view(2, 2), "b": torch.ones(4)},
        {"a": torch.arange(4.0).view(torch.int32), "b": torch.ones(4)},
        {"a": torch.arange(4.0)},
        {"a": torch.arange(4.0), "b": torch.ones(4), "c": torch.zeros(0)},
    ):
        safetensors.torch.save_file(tensors, tmp_path / "file", metadata=metadata)
        with pytest.raises(DistailError, match=r"altered since it was written.*untouched copy"):
            read_tensors(tmp_path / "file", KIND)


def test_a_wrong_kind_or_version_says_so(tmp_path, blob):
    write_tensors(tmp_path / "file", TensorFile("network", {}, {}))
    with pytest.raises(DistailError, match="holds a network, but a distilled set is needed"):
        read_tensors(tmp_path / "file", KIND)
    assert blob.count(b'"version":"1"') == 1
    (tmp_path / "file").write_bytes(blob.replace(b'"version":"1"', b'"version":"9"'))
    with pytest.raises(DistailError, match="format version 9; this distail reads version 1"):
        read_tensors(tmp_path / "file", KIND)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"format": "distail"}])
def test_a_foreign_safetensors_file_is_refused(tmp_path, metadata):
    safetensors.torch.save_file({"images": torch.zeros(3)}, tmp_path / "file", metadata=metadata)
    with pytest.raises(DistailError, match="distail did not write it"):
        read_tensors(tmp_path / "file", KIND)


class Harmful:
    """Makes a file when unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return subprocess.call, (["touch", str(self.mark)],)


def disguised(harmful: Harmful) -> dict[str, bytes]:
    found = {f"pickle protocol {number}": pickle.dumps(harmful, number) for number in range(6)}
    for name, zipped in (("torch.save", True), ("old torch.save", False)):
        buffer = io.BytesIO()
        torch.save({"images": harmful}, buffer, _use_new_zipfile_serialization=zipped)
        found[name] = buffer.getvalue()
    buffer = io.BytesIO()
    np.savez(buffer, images=np.array([harmful], dtype=object))
    found["npz"] = buffer.getvalue()
    return found


def test_a_pickle_in_disguise_is_refused_and_not_run(tmp_path):
    harmful = Harmful(tmp_path / "harm done")
    for name, content in disguised(harmful).items():
        (tmp_path / "set.safetensors").write_bytes(content)
        binary = not name.endswith(("protocol 0", "protocol 1"))  # those are text without a sign
        match = "pickle or zip archive.*foreign code.*refused" if binary else "not a whole safetensors file"
        with pytest.raises(DistailError, match=match):
            read_tensors(tmp_path / "set.safetensors", KIND)
    assert not harmful.mark.exists()
    pickle.loads(pickle.dumps(harmful))  # noqa: S301  it would have been done
    assert harmful.mark.exists()


@pytest.mark.parametrize("length", [0, 1, 95_000_000, 2**31, 2**62, 2**64 - 1])
def test_a_huge_header_length_costs_nothing(tmp_path, length):
    (tmp_path / "file").write_bytes(struct.pack("<Q", length) + b'{"__metadata__":{}}')
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DistailError, match="not a whole safetensors file"):
        read_tensors(tmp_path / "file", KIND)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]},
        {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]},
        {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]},
        {"dtype": "Z9", "shape": [2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]},
    ],
)
def test_impossible_tensors_are_refused(tmp_path, entry):
    header = json.dumps({"__metadata__": {"format": "distail"}, "images": entry}).encode()
    (tmp_path / "file").write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    with pytest.raises(DistailError, match="not a whole safetensors file"):
        read_tensors(tmp_path / "file", KIND)


def test_a_missing_file_says_where_sets_are(tmp_path):
    for path, what in ((tmp_path / "nothing", "does not exist"), (tmp_path, "is a folder")):
        with pytest.raises(DistailError, match=rf"{what}.*RUN/distilled\.safetensors"):
            read_tensors(path, KIND)


def test_tensors_that_do_not_fit_on_the_disk_are_an_error_of_the_system(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as refusal:
            write_tensors(tmp_path / "a.safetensors", TensorFile("k", {"a": torch.zeros(9999)}, {}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert refusal.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []


def test_tensors_are_found_by_how_their_names_begin():
    tensors = {"a.weight": torch.zeros(1), "a.bias": torch.ones(2), "ab": torch.ones(3), "b.a.weight": torch.ones(4)}
    found = with_prefix(tensors, "a.")
    assert list(found) == ["weight", "bias"]
    assert found["bias"] is tensors["a.bias"]
    assert with_prefix(tensors, "c.") == {}


# Names of what is kept


def test_networks_experts_and_cells_are_found_by_the_names_that_they_were_kept_under():
    """Files on disk bear such names; another hash would train everything anew."""
    identity = {"spec": {"b": 1.5, "a": None}, "classes": ["é", "x"], "seed": 0}
    assert identity_hash(identity) == "01d5610eb3593fdf"
    assert identity_hash(identity, 20) == "01d5610eb3593fdf8049"
    assert identity_hash(dict(reversed(identity.items()))) == identity_hash(identity)
    assert identity_hash({**identity, "seed": 1}) != identity_hash(identity)
