"""Where a result comes from: versions, hardware, precision, time and memory."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from distail.runtime import Runtime, hardware_name

_PACKAGES = ("distail", "torch", "numpy", "safetensors", "scikit-learn")


def environment(runtime: Runtime) -> dict[str, Any]:
    """Versions and hardware, as JSON values."""
    return {
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        "hardware": hardware_name(runtime.device),
        "device": runtime.device,
        "precision": runtime.precision,
        "devices": runtime.peers.size,
        "threads": torch.get_num_threads(),
        "peak_memory_bytes": runtime.peak_memory_bytes(),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def indices_hash(indices: list[int]) -> str:
    """SHA-256 of a list of positions written as JSON; equal exactly when the split is."""
    return hashlib.sha256(json.dumps(indices).encode()).hexdigest()


def making_seconds(provenance: Mapping[str, Any]) -> float | None:
    """Seconds that a set took to make, with the training of experts and teachers that lay in its bank already.

    What their files do not say the time of is left out. None where nothing is known.
    """
    seconds = provenance.get("distill_seconds")
    return None if seconds is None else float(seconds) + float(provenance.get("reused_seconds") or 0.0)
