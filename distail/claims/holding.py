"""Taking claims, holding and giving them back."""

from __future__ import annotations

import json
import os
import platform
import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path

from distail.claims.file import STALE_AFTER_S, Holder, linked, read, remove
from distail.claims.process import here, start_of
from distail.errors import DistailError
from distail.progress import Progress, SilentProgress, format_seconds

RENEW_EVERY_S = 5.0
NOTE_EVERY_S = 1.0
"""Notes are written at most that often; the last one is not lost, but written with the next renewal."""
_ENDED_POLL_S = 0.005
_FIRST_POLL_S, _LAST_POLL_S, _POLL_GROWTH = 0.2, 2.0, 1.5
_ENDING = ".json"


class Claimed(Exception):  # noqa: N818  nothing went wrong: there is other work to do meanwhile
    """Another process works on this. No mistake of a user's: who gets it does something else and comes back.

    Attributes:
        name: of the claim.
        holder: who holds it.
        folder: where the claim is.
    """

    def __init__(self, name: str, holder: Holder, folder: Path) -> None:
        super().__init__(f"{name} is being worked on by {holder}")
        self.name, self.holder, self.folder = name, holder, folder


class Claim:
    """Work that is this process's own, until the block that it was claimed for ends."""

    def __init__(self, path: Path, token: str, note: str) -> None:
        self._path, self._token = path, token
        self._since, self._text = time.time(), note
        self._noted, self._told = time.monotonic(), note
        self._pid, self._ended, self._lock = os.getpid(), threading.Event(), threading.Lock()
        self._renewing = threading.Thread(target=self._renew, name=f"claim {path.stem}", daemon=True)

    def note(self, text: str) -> None:
        """Replaces the note, for others who ask who works on what. Cheap to call often."""
        self._text = text
        if time.monotonic() - self._noted >= NOTE_EVERY_S:
            self._tell()

    def _draft(self) -> Path:
        """A whole file of this claim, beside its place."""
        holder = Holder(platform.node() or "unknown", self._pid, self._since, self._text)
        facts = {**asdict(holder), "place": here(), "started": start_of(self._pid), "token": self._token}
        draft = self._path.with_name(f".{self._path.stem}.{uuid.uuid4().hex}.tmp")
        try:
            draft.write_text(json.dumps(facts) + "\n", encoding="utf-8")
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        return draft

    def _take(self) -> bool:
        """Makes the file, unless there is one; from then on it is renewed."""
        draft = self._draft()
        try:
            taken = linked(draft, self._path)
        finally:
            draft.unlink(missing_ok=True)
        if taken:
            self._renewing.start()
        return taken

    def _tell(self) -> None:
        """Writes the note. Work does not fail for that, so a full disk is met with silence."""
        with self._lock, suppress(OSError):
            self._noted, self._told = time.monotonic(), self._text
            if self._is_mine():
                self._draft().replace(self._path)

    def _renew(self) -> None:
        while not self._ended.wait(RENEW_EVERY_S):
            if self._told != self._text:
                self._tell()
            with self._lock, suppress(OSError):
                if self._is_mine():
                    os.utime(self._path)

    def _is_mine(self) -> bool:
        """Whether nobody took it over, which happens where this process was stopped for long."""
        written = read(self._path)
        return written is not None and written.token == self._token

    def _release(self) -> None:
        if os.getpid() != self._pid:
            return  # a child of a fork ends its copy of the block; the work is its parent's
        self._ended.set()
        with self._lock, suppress(OSError):
            remove(self._path, self._token)


@dataclass(frozen=True)
class Claims:
    """A folder of claims; made when the first one is taken.

    Attributes:
        folder: where their files are; whoever shares the work must name the same one.
        wait: whether `hold` waits for others, or raises `Claimed`.
    """

    folder: Path
    _: KW_ONLY
    wait: bool = True

    @contextmanager
    def hold(self, name: str, note: str = "", progress: Progress | None = None) -> Iterator[Claim]:
        """A context in which this process alone works on something. It cannot be entered twice at once.

        When it begins another process may have finished the work: look again whether there is any left.

        Args:
            name: of the work; letters, digits and '-_.' only.
            note: what it is, for people; said where one has to wait for it.
            progress: is told once whom this process waits for.

        Raises:
            Claimed: another process works on it, and `wait` is off.
            DistailError: no file can be made in the folder.
        """
        claim = self._taken(name, note, progress or SilentProgress())
        try:
            yield claim
        finally:
            claim._release()

    def holder(self, name: str) -> Holder | None:
        """Who works on something; None where nobody does, or where it was a process that is gone."""
        written = read(self._path(name))
        return None if written is None or written.is_stale(self._now()) else written.holder

    def all(self) -> dict[str, Holder]:
        """Who works on what, by name; writes nothing that stays."""
        found = {path.stem: read(path) for path in sorted(self.folder.glob(f"*{_ENDING}"))}
        now = self._now() if found else 0.0
        return {name: one.holder for name, one in found.items() if one is not None and not one.is_stale(now)}

    def clear(self) -> None:
        """Removes what processes left behind that are gone; claims of those at work stay.

        What a process was removing when it was killed goes once that is long ago.
        """
        self._sweep()
        now = self._now()
        for path in self.folder.glob(f"*{_ENDING}"):
            if (written := read(path)) is not None and written.is_stale(now):
                remove(path, written.token)

    def _taken(self, name: str, note: str, progress: Progress) -> Claim:
        told, pause = False, _FIRST_POLL_S
        while True:
            try:
                if (claim := self._free(name, note)) is not None:
                    return claim
            except OSError as error:
                raise self._unusable(error) from None
            holder = self.holder(name)
            if holder is None:
                time.sleep(_ENDED_POLL_S)
                continue
            if not self.wait:
                raise Claimed(name, holder, self.folder)
            if not told:
                told, at_it = True, format_seconds(time.time() - holder.since)
                progress.say(f"{note or name}: waiting for {holder}, which has been at it for {at_it}.")
            time.sleep(pause)
            pause = min(pause * _POLL_GROWTH, _LAST_POLL_S)

    def _free(self, name: str, note: str) -> Claim | None:
        """The claim, if nobody else holds it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(name)
        if (written := read(path)) is not None:
            if not written.is_stale(self._now()):
                return None
            self._sweep()
            if not remove(path, written.token):
                return None
        claim = Claim(path, uuid.uuid4().hex, note)
        return claim if claim._take() else None

    def _sweep(self) -> None:
        """Removes what processes leave that are killed while they write."""
        now = self._now()
        for left in self.folder.glob(".*.tmp"):
            with suppress(OSError):
                if now - left.stat().st_mtime > STALE_AFTER_S:
                    left.unlink()

    def _path(self, name: str) -> Path:
        assert re.fullmatch(r"\w[\w.-]*", name), f"'{name}' is no name of a file"
        return self.folder / f"{name}{_ENDING}"

    def _now(self) -> float:
        """The time by the clock that dates the files: machines that share a folder need not agree on theirs."""
        touched = self.folder / f".{uuid.uuid4().hex}.tmp"
        try:
            touched.touch()
            return touched.stat().st_mtime
        except OSError:  # who may only look has no better clock than the own one
            return time.time()
        finally:
            with suppress(OSError):
                touched.unlink(missing_ok=True)

    def _unusable(self, error: OSError) -> DistailError:
        return DistailError(
            f"{self.folder} cannot hold claims, by which processes share work ({error.strerror}). Make room there, "
            "make it writable, or name another folder for the results."
        )
