"""Where and how tensors are computed: device, precision, memory, and what the hardware is called.

What else the package asks about hardware is how many GPUs there are, where work is shared out among processes.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

import torch

from distail.choices import DeviceName, PrecisionName
from distail.errors import DistailError
from distail.peers import ALONE, Peers

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Names of settings in glibc's malloc.h."""
_RESET_PEAK = "5"
"""What Linux takes for a wish to measure the peak anew; proc(5), clear_refs."""


@dataclass(frozen=True)
class Runtime:
    """A resolved device and precision.

    Attributes:
        device: 'cpu', 'cuda' or 'mps'.
        precision: 'fp32', or 'bf16' for automatic mixed precision; parameters stay fp32 either way.
        peers: the processes that share the work; how many there are does not decide a result.
    """

    device: str = "cpu"
    precision: Literal["fp32", "bf16"] = "fp32"
    peers: Peers = field(default=ALONE, compare=False, repr=False)

    def autocast(self) -> AbstractContextManager[object]:
        """The context that network forward passes run in."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device, dtype=torch.bfloat16)

    def reset_peak_memory(self) -> None:
        """Starts a new measurement where the system can: on CUDA, and on Linux, where freed memory goes back first."""
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            return
        if (trim := _function_of_glibc("malloc_trim")) is not None:
            trim(0)
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text(_RESET_PEAK)

    def peak_memory_bytes(self) -> int:
        """Most memory used since the last reset: of the device on CUDA, of the process elsewhere."""
        if self.device == "cuda":
            return torch.cuda.max_memory_allocated()
        try:
            facts = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
            return int(facts["VmHWM"].split()[0]) * 1024
        except (OSError, KeyError):  # not Linux
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            return peak if sys.platform == "darwin" else peak * 1024


def resolve_runtime(device: DeviceName = "auto", precision: PrecisionName = "auto") -> Runtime:
    """Picks the best device and precision this machine has, or checks the ones asked for.

    On the CPU the process is told to keep the memory of freed tensors for the next ones, which is much faster.
    'auto' precision is bf16 where the hardware multiplies it faster than fp32: committed benchmarks show the same
    accuracy within noise at up to twice the speed.

    Raises:
        DistailError: the device is not available here.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        device = "cuda" if available["cuda"] else "mps" if available["mps"] else "cpu"
    if not available[device]:
        raise DistailError(f"Device '{device}' is not available on this machine. Use --device auto or --device cpu.")
    if device == "cpu":
        _keep_freed_memory()
    if precision == "auto":
        precision = "bf16" if _has_fast_bf16(device) else "fp32"
    return Runtime(device, precision)


@cache
def _keep_freed_memory() -> None:
    """Tells glibc to reuse the memory of freed tensors instead of giving it back to the system.

    Large blocks are otherwise mapped anew for every layer of every step, and the system zeroes them page by page: plain
    training of a ConvNet-3 on 100 images took 1.5 times as long. Does nothing where the C library is another.
    """
    mallopt = _function_of_glibc("mallopt")
    if mallopt is None:
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def _function_of_glibc(name: str) -> Callable[..., int] | None:
    """A function of glibc; None where the C library is another."""
    try:
        return getattr(ctypes.CDLL("libc.so.6"), name)
    except (OSError, AttributeError):
        return None


def preferred_layout(network: torch.nn.Module) -> torch.memory_format:
    """The memory layout that trains this network fastest.

    Channels last where batch norm reads whole channels, which made bf16 training 1.5 times faster on a CPU; the usual
    layout otherwise, as instance norm was 2.5 times slower with channels last.
    """
    has_batch_norm = any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
    return torch.channels_last if has_batch_norm else torch.contiguous_format


def available_memory_bytes(device: str = "cpu") -> int:
    """Memory that a run may still take on this device, in bytes."""
    if device == "cuda":
        return torch.cuda.mem_get_info()[0]
    try:
        with open("/proc/meminfo", encoding="utf-8") as lines:  # noqa: PTH123  a device file, not a path of ours
            facts = dict(line.split(":", 1) for line in lines)
        return int(facts["MemAvailable"].split()[0]) * 1024  # unlike free pages, it counts caches that can be dropped
    except (OSError, KeyError):  # not Linux
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def hardware_name(device: str) -> str:
    """A short description for provenance, such as 'x86_64, 2 cores' or the name of the GPU."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"{_cpu_model()}, {num_cores()} cores"


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_model() -> str:
    return _cpu_fact("model name") or platform.machine()


def _cpu_fact(name: str) -> str:
    """What Linux says of the first core; an empty text where it says nothing, and on other systems."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123  a device file, not a path of ours
            return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), "")
    except OSError:
        return ""


def _has_fast_bf16(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device == "cpu":
        return torch.cpu._is_amx_tile_supported() or _has_fast_bf16_vectors()
    return False


def _has_fast_bf16_vectors() -> bool:
    """Whether vectors of bf16 multiply faster than those of fp32.

    Intel's do not without its matrix unit, which many virtual machines hide: training of a ConvNet-3 took 1.2 to 1.6
    times as long in bf16 (docs/speed.md).
    """
    supported = "AVX512" in torch.backends.cpu.get_cpu_capability() and torch.cpu._is_avx512_bf16_supported()
    return supported and not _is_by_intel()


def _is_by_intel() -> bool:
    return "Intel" in (_cpu_fact("vendor_id") or platform.processor())
