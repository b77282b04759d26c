"""Starting several processes for one job, and ending them all where one fails."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from distail.artifact import read_json, write_json
from distail.errors import DistailError, is_out_of_memory
from distail.peers.group import Peers

_PARENT_LOOK_S = 1.0
_GUARD = "A script that calls this must do so below `if __name__ == '__main__':`, since new processes import it."
_FAILED = 1
_INTERRUPTED = 130


class PeerKilledError(DistailError):
    """The system ended one of several processes, so all were ended. Nothing is wrong with what they did."""


def launch(work: Callable[[Peers], None], devices: int, device: str) -> None:
    """Runs `work` in several new processes at once, each with a device of its own, and waits for them.

    On the CPU the cores are divided among them, unless OMP_NUM_THREADS says how many threads each has. If one of them
    fails, all are ended. What they make must be in files: nothing is returned.

    Args:
        work: called in each with its peers; must be picklable, as it is handed to new processes.
        devices: how many.
        device: 'cpu' or 'cuda'.

    Raises:
        DistailError: lightning-fabric is not installed; there are not so many devices; or a process raised one.
        PeerKilledError: a process was killed.
        MemoryError, OSError: a process ran into it.
        RuntimeError: a process failed otherwise; its traceback is in a note.
    """
    require_guard()
    require_devices(devices, device)
    from torch.multiprocessing.spawn import ProcessException

    from distail.peers.fabric import start

    torch.cuda.empty_cache()  # what this process no longer uses, the others may need
    others = set(multiprocessing.active_children())
    with tempfile.TemporaryDirectory(prefix="distail-devices-") as folder:
        try:
            start(partial(_one_of_several, work=work, parent=os.getpid(), folder=Path(folder)), devices, device)
        except ProcessException as error:
            raise _reason(Path(folder), error, devices) from None
        except RuntimeError as error:
            if "shared memory" not in str(error):
                raise
            raise DistailError(
                f"The images do not fit into the memory that processes share ({error}). Make it larger, in a container "
                "by --shm-size; or name the images by their source instead of handing them over."
            ) from None
        finally:
            # Where this process was interrupted, those that it started have to be told: it would wait for them to end.
            for left in set(multiprocessing.active_children()) - others:
                left.kill()
                left.join()


def require_guard() -> None:
    """Refuses to start processes in a process that is only just importing the script which started it.

    Raises:
        DistailError: it is.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise DistailError(f"Processes cannot be started while a new one is beginning. {_GUARD}")


def require_number(devices: int) -> None:
    """Refuses less than one device.

    Raises:
        DistailError: it is.
    """
    if devices < 1:
        raise DistailError(f"--devices {devices} is no number of devices. Give at least 1.")


def require_devices(devices: int, device: str) -> None:
    """Refuses what cannot be started.

    Raises:
        DistailError: the package for it is not installed, or there are not so many devices.
    """
    require_number(devices)
    if device == "mps":
        raise DistailError(f"--devices {devices}: this machine has one GPU. Leave --devices out.")
    if device == "cuda" and devices > torch.cuda.device_count():
        raise DistailError(
            f"--devices {devices} is more than the {torch.cuda.device_count()} that this machine has. Give at most "
            "that, or use --device cpu."
        )
    try:
        import lightning_fabric  # noqa: F401
    except ImportError:
        raise DistailError(
            f"--devices {devices} needs the package lightning-fabric, which is not installed. Install it with "
            "`pip install 'distail[devices]'`, or leave --devices out."
        ) from None


def _one_of_several(fabric: Any, *, work: Callable[[Peers], None], parent: int, folder: Path) -> None:
    """The whole life of one process; what ends it before its time goes into a file."""
    from distail.peers.fabric import Together, disconnect

    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    try:
        work(Together(fabric))
    except KeyboardInterrupt:
        _leave(_INTERRUPTED)
    except BaseException as error:
        write_json(folder / f"{fabric.global_rank}.json", _told(error))
        _leave(_FAILED)
    disconnect()


def _leave(code: int) -> None:
    """Ends this process at once: an orderly end would wait for the others, which wait for this one."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _end_with(parent: int) -> None:
    """Ends this process where the one that started it is gone, however that ended."""
    while os.getppid() == parent:
        time.sleep(_PARENT_LOOK_S)
    os._exit(_FAILED)


def _told(error: BaseException) -> dict[str, Any]:
    """An error as JSON values."""
    kind = "other"
    if isinstance(error, DistailError):
        kind = "distail"
    elif isinstance(error, OSError) and error.errno is not None:
        kind = "files"
    elif is_out_of_memory(error):
        kind = "memory"
    return {
        "kind": kind,
        "name": type(error).__name__,
        "message": str(error),
        "errno": getattr(error, "errno", None),
        "strerror": getattr(error, "strerror", None),
        "filename": None if getattr(error, "filename", None) is None else str(getattr(error, "filename", None)),
        "traceback": "".join(traceback.format_exception(error)),
        "time": time.time(),
    }


def _reason(folder: Path, error: Exception, devices: int) -> BaseException:
    """Why the job failed. A process whose peer is gone fails too, so the first one to fail tells the reason."""
    told = sorted((read_json(path) for path in folder.glob("*.json")), key=lambda one: one["time"])
    code, rank = getattr(error, "exit_code", None), getattr(error, "error_index", 0)
    if code == _INTERRUPTED:
        return KeyboardInterrupt()
    if code is not None and code < 0:
        signal = getattr(error, "signal_name", None) or f"signal {-code}"
        return PeerKilledError(
            f"Process {rank + 1} of {devices} was killed ({signal}), so all were ended. Use fewer --devices if memory "
            "ran out. What was kept on the way is still there: the same command goes on, with --resume for a run and "
            "--retry for a cell of a grid."
        )
    if not told and code == _FAILED:
        return DistailError(f"Process {rank + 1} of {devices} ended before it began; it said why above. {_GUARD}")
    if not told:
        return RuntimeError(f"Process {rank + 1} of {devices} failed: {error}")
    first = next((one for one in told if one["kind"] != "other"), told[0])
    match first["kind"]:
        case "distail":
            return DistailError(first["message"])
        case "files":
            return OSError(first["errno"], first["strerror"], first["filename"])
        case "memory":
            return MemoryError(first["message"])
        case _:
            failed = RuntimeError(f"A process of {devices} failed with {first['name']}: {first['message']}")
            failed.add_note(first["traceback"])
            return failed
