"""The file of a claim: made by one process only, read whole or not at all, removed by whom it is for."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from distail.claims.process import here, is_running

STALE_AFTER_S = 120.0
"""A claim that was not renewed for so long is anybody's: many times the interval of renewals, as machines get busy."""
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
"""What file systems answer that know no hard links."""


@dataclass(frozen=True)
class Holder:
    """Who works on something.

    Attributes:
        host: name of the machine.
        pid: number of the process there.
        since: when the work began, in seconds since 1970 by that machine's clock.
        note: what the holder says about the work.
    """

    host: str
    pid: int
    since: float
    note: str = ""

    def __str__(self) -> str:
        """'process 12 on HOST'."""
        return f"process {self.pid} on {self.host}"


@dataclass(frozen=True)
class Written:
    """What a file of a claim says.

    Attributes:
        place: the machine since it was started, and its numbering of processes.
        started: of the process, in ticks of that machine; tells it from a later one of the same number.
        token: unlike that of any other claim; empty where the file cannot be read.
        renewed: by the clock of the file system.
    """

    holder: Holder
    place: str
    started: int | None
    token: str
    renewed: float

    def is_stale(self, now: float) -> bool:
        """Whether nobody can be at work on it any more; `now` by the clock of the file system."""
        if self.place == here() and not is_running(self.holder.pid, self.started):
            return True
        return now - self.renewed > STALE_AFTER_S


def linked(draft: Path, path: Path) -> bool:
    """Puts a whole file in its place, unless there is one; whether it did."""
    try:
        os.link(draft, path)
    except FileExistsError:
        return draft.stat().st_nlink > 1  # a network may lose the answer to a link that was made, and ask again
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
    else:
        return True
    try:
        with path.open("x", encoding="utf-8") as opened:
            opened.write(draft.read_text(encoding="utf-8"))
    except FileExistsError:
        return False
    return True


def remove(path: Path, token: str) -> bool:
    """Removes the claim with this token, and never one that has taken its place; whether this process did it.

    Of all who find a claim stale one alone gets the right to remove it, a file named after its token. Without that, one
    who read the old claim and was slow would remove the claim of the one who was faster.
    """
    right = path.with_name(f".{path.stem}.{hashlib.sha256(token.encode()).hexdigest()[:32]}.tmp")
    try:
        right.touch(exist_ok=False)
    except FileExistsError:
        return False
    try:
        written = read(path)
        if written is None or written.token != token:
            return False  # another process was faster
        path.unlink()
        return True
    finally:
        right.unlink(missing_ok=True)


def read(path: Path) -> Written | None:
    """What a claim says; None where there is none, and an unknown holder where it cannot be read or is not whole."""
    try:
        text, renewed = path.read_text(encoding="utf-8", errors="replace"), path.stat().st_mtime
    except FileNotFoundError:
        return None
    except OSError:
        text, renewed = "", _renewed(path)
    try:
        facts = json.loads(text)
        holder = Holder(str(facts["host"]), int(facts["pid"]), float(facts["since"]), str(facts["note"]))
        return Written(holder, str(facts["place"]), facts["started"], str(facts["token"]), renewed)
    except (KeyError, TypeError, ValueError):
        return Written(Holder("an unknown machine", 0, renewed), "", None, "", renewed)


def _renewed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
