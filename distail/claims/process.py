"""Which processes run on this machine."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from functools import cache
from pathlib import Path


@cache
def here() -> str:
    """Where numbers of processes mean the same: this machine since it was started, and this container on it."""
    known = [platform.node()]
    with suppress(OSError):
        known.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip())
        known.append(str(Path("/proc/self/ns/pid").readlink()))
    return "/".join(known)


def is_running(pid: int, started: int | None) -> bool:
    """Whether this very process still runs here."""
    try:
        os.kill(pid, 0)  # signal 0 does nothing but look
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's
    return started is None or start_of(pid) == started


def start_of(pid: int) -> int | None:
    """When a process here was started, in ticks; None where it is dead but not buried, or the system does not say."""
    try:
        facts = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if facts[0] in "ZX" else int(facts[19])
