"""`ExpertBank`: snapshots of experts on disk, keyed by what decides them, read one shard at a time."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from distail.artifact import TensorFile, identity_hash, read_header, read_json, read_tensors, write_json, write_tensors
from distail.claims import FOLDER as CLAIMS
from distail.claims import Claims
from distail.errors import DistailError
from distail.experts.ground import ExpertGround
from distail.experts.spec import ExpertSpec

SHARD_SNAPSHOTS = 10
"""Snapshots in a full file; the last file of an expert is rewritten after every epoch until it is full."""
FOLDER_VARIABLE = "DISTAIL_EXPERTS"
"""Environment variable that names the folder of a bank that is made without one."""
DEFAULT_FOLDER = "experts"
"""Folder, here, where that variable is not set either."""
_KIND = "expert snapshots"
_ABOUT = "about.json"
_CACHED_SHARDS = 4
_READ_ATTEMPTS = 5
"""Each but the first takes another process a whole epoch to spoil, so that more would not help."""

T = TypeVar("T")


class _ShardGoneError(DistailError):
    """A file of snapshots was removed after it had been listed: most often, a longer one has taken its place."""


@dataclass(eq=False)
class Shelf:
    """All experts of one kind on one data set.

    Attributes:
        path: its folder.
        identity: what its key is a hash of.
        source: where the data were read from, for people.
    """

    path: Path
    identity: dict[str, Any]
    source: str = ""
    _cache: OrderedDict[Path, Tensor] = field(default_factory=OrderedDict, repr=False)

    @property
    def key(self) -> str:
        """Sixteen hexadecimal digits."""
        return self.path.name

    def experts(self) -> list[int]:
        """Numbers of the experts that have any snapshot."""
        return sorted(int(folder.name.removeprefix("expert-")) for folder in self.path.glob("expert-*"))

    def num_epochs(self, expert: int) -> int:
        """Epochs that an expert has been trained for; -1 where there is nothing of it yet."""
        shards = self._shards(expert)
        return _last_of(shards[-1]) if shards else -1

    @property
    def num_bytes(self) -> int:
        """Bytes on disk."""
        return sum(map(_size_of, self.path.rglob("*.safetensors")))

    def seconds(self, expert: int, epochs: int) -> float:
        """Wall time that the first epochs of an expert took, as far as it is known.

        Raises:
            DistailError: a file is damaged.
        """
        return _while_shards_go(lambda: self._seconds(expert, epochs))

    def _seconds(self, expert: int, epochs: int) -> float:
        total = 0.0
        for shard in self._shards(expert):
            first, last = max(_first_of(shard), 1), _last_of(shard)  # snapshot 0 is from before training
            if min(last, epochs) >= first:
                total += _seconds_of(shard) * (min(last, epochs) - first + 1) / (last - first + 1)
        return total

    def append(self, expert: int, epoch: int, snapshot: Float[Tensor, " p"], seconds: float = 0.0) -> None:
        """Keeps the parameters after an epoch (0: before training), which is the next one that is not there yet.

        `seconds` is the wall time that the epoch took.

        Atomic: killed in between, either all snapshots are there, or all but this one. Does nothing where another
        process that trains the same experts was faster, since it has made the same bits.

        Raises:
            DistailError: the file of the epochs before is damaged or missing.
        """
        _while_shards_go(lambda: self._append(expert, epoch, snapshot, seconds))

    def _append(self, expert: int, epoch: int, snapshot: Float[Tensor, " p"], seconds: float) -> None:
        if epoch <= self.num_epochs(expert):
            return
        first = epoch - epoch % SHARD_SNAPSHOTS
        snapshots = (
            snapshot.detach().cpu().float().clone()[None]
        )  # 1 p; on the CPU the caller's tensor would be aliased
        outdated = None
        if epoch > first:
            outdated = self._shard_path(expert, first, epoch - 1)
            snapshots = torch.cat([self._read(outdated), snapshots])
            seconds += _seconds_of(outdated)
        path = self._shard_path(expert, first, epoch)
        write_tensors(path, TensorFile(_KIND, {"snapshots": snapshots}, {"first_epoch": first, "seconds": seconds}))
        if outdated:
            outdated.unlink(missing_ok=True)
            self._cache.pop(outdated, None)
        self._remember(path, snapshots)

    def snapshot(self, expert: int, epoch: int) -> Float[Tensor, " p"]:
        """Parameters of one expert after an epoch (0: before training), on the CPU; a view, not to be written to.

        Raises:
            DistailError: the expert has not been trained that far, or its file is damaged.
        """
        return _while_shards_go(lambda: self._snapshot(expert, epoch))

    def _snapshot(self, expert: int, epoch: int) -> Float[Tensor, " p"]:
        for shard in self._shards(expert):
            if _first_of(shard) <= epoch <= _last_of(shard):
                return self._read(shard)[epoch - _first_of(shard)]
        raise DistailError(
            f"Expert {expert} in {self.path} has been trained for {max(self.num_epochs(expert), 0)} epochs, but epoch "
            f"{epoch} is needed. Train it further with `distail experts train`."
        )

    def _shards(self, expert: int) -> list[Path]:
        """Files of an expert in order; where a kill left a shard beside its longer successor, the longer one."""
        longest: dict[int, Path] = {}
        for path in self._expert_folder(expert).glob("epochs-*.safetensors"):
            first = _first_of(path)
            if first not in longest or _last_of(path) > _last_of(longest[first]):
                longest[first] = path
        return [longest[first] for first in sorted(longest)]

    def _expert_folder(self, expert: int) -> Path:
        return self.path / f"expert-{expert:04d}"

    def _shard_path(self, expert: int, first: int, last: int) -> Path:
        return self._expert_folder(expert) / f"epochs-{first:04d}-{last:04d}.safetensors"

    def _read(self, path: Path) -> Float[Tensor, "k p"]:
        if path in self._cache:
            self._cache.move_to_end(path)
            return self._cache[path]
        try:
            snapshots = read_tensors(path, _KIND).tensors["snapshots"]
        except (DistailError, FileNotFoundError):
            if path.exists():
                raise  # it is damaged
            raise _ShardGoneError(
                f"{path} was removed while it was needed. Check that nothing cleans up the bank, and start the command "
                "again; it trains what is missing."
            ) from None
        self._remember(path, snapshots)
        return snapshots

    def _remember(self, path: Path, snapshots: Float[Tensor, "k p"]) -> None:
        self._cache[path] = snapshots
        while len(self._cache) > _CACHED_SHARDS:
            self._cache.popitem(last=False)


class ExpertBank:
    """A folder of shelves.

    Args:
        folder: made when the first expert is kept; that of the environment variable DISTAIL_EXPERTS, or `experts`
            here, when omitted.
        wait: whether whoever needs what another process trains waits for it; else `Claimed` is raised.

    Attributes:
        reused_seconds: wall time that training took of all that was found here instead of trained, so far.
    """

    def __init__(self, folder: str | Path | None = None, *, wait: bool = True) -> None:
        self.wait = wait
        self.reused_seconds = 0.0
        self.path = Path((os.environ.get(FOLDER_VARIABLE) or DEFAULT_FOLDER) if folder is None else folder)

    @property
    def claims(self) -> Claims:
        """Which process trains what."""
        return Claims(self.path / CLAIMS, wait=self.wait)

    def require_folder(self) -> None:
        """Refuses a bank where no folder can be, before there is anything to keep in it.

        Raises:
            DistailError: it is a file, or one is in its way.
        """
        there = next((path for path in (self.path, *self.path.parents) if path.exists()), None)
        if there is not None and not there.is_dir():
            raise DistailError(
                f"{self.path} is no folder of experts: {there} is a file. Name another folder with --experts."
            )

    def shelf(self, identity: dict[str, Any], source: str = "") -> Shelf:
        """The place of the experts with this identity, empty if there are none yet.

        Args:
            identity: everything that decides them.
            source: where the data were read from, for people who list the bank.

        Raises:
            DistailError: the folder cannot be made, or something else is in its place.
        """
        path = self.path / identity_hash(identity)
        about = path / _ABOUT
        if not about.exists():
            try:
                path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise DistailError(
                    f"The expert bank {self.path} cannot be made ({error.strerror}). Name another folder with "
                    "--experts."
                ) from None
            write_json(about, {"source": source, "identity": identity})
        return _opened(about)

    def find(self, identity: dict[str, Any]) -> Shelf | None:
        """The experts with this identity, or None where there are none; writes nothing."""
        path = self.path / identity_hash(identity)
        return _opened(path / _ABOUT) if (path / _ABOUT).exists() else None

    def shelves(self) -> Iterator[Shelf]:
        """All kinds of experts in the bank; none where there is no such folder yet.

        Raises:
            DistailError: it is no folder, or has been altered.
        """
        self.require_folder()
        for about in sorted(self.path.glob(f"*/{_ABOUT}")):
            yield _opened(about)


def shelf_of(bank: ExpertBank, ground: ExpertGround, spec: ExpertSpec) -> Shelf:
    """Where the bank keeps experts of this kind for these data."""
    return bank.shelf(ground.identity(spec), ground.train.origin)


def _opened(about: Path) -> Shelf:
    written = read_json(about)
    identity = written.get("identity") if isinstance(written, dict) else None
    if not isinstance(identity, dict) or identity_hash(identity) != about.parent.name:
        raise DistailError(
            f"{about} has been altered: it does not match its folder's name. Remove the folder {about.parent}; its "
            "experts will be trained again."
        )
    return Shelf(about.parent, identity, str(written.get("source", "")))


def _while_shards_go(attempt: Callable[[], T]) -> T:
    """Lists and reads anew where another process, which trains the same expert, replaced a shard in between."""
    for _ in range(_READ_ATTEMPTS - 1):
        try:
            return attempt()
        except _ShardGoneError:
            continue
    return attempt()


def _size_of(file: Path) -> int:
    """Bytes of a file; 0 where it has just been replaced by a longer one."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _seconds_of(shard: Path) -> float:
    """Wall time of the epochs of a shard; 0 where it does not say."""
    try:
        return float(read_header(shard, _KIND).get("seconds", 0.0))
    except DistailError as error:
        if shard.exists():
            raise
        raise _ShardGoneError(str(error)) from None


def _first_of(shard: Path) -> int:
    return int(shard.stem.split("-")[1])


def _last_of(shard: Path) -> int:
    return int(shard.stem.split("-")[2])
