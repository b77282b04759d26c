import io
import json
from pathlib import Path

import pytest
import torch

from distail import runtime
from distail.errors import DistailError
from distail.runtime import Runtime, available_memory_bytes, hardware_name, resolve_runtime


@pytest.fixture
def no_accelerator(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_a_clear_error(no_accelerator, device):
    with pytest.raises(DistailError, match=f"'{device}' is not available.*--device cpu"):
        resolve_runtime(device)


def test_auto_picks_what_is_there(no_accelerator, monkeypatch):
    assert resolve_runtime().device == "cpu"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_runtime().device == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(runtime, "_has_fast_bf16", lambda device: device == "cuda")
    assert resolve_runtime() == Runtime("cuda", "bf16")
    assert resolve_runtime("cpu").device == "cpu"


@pytest.mark.parametrize("fast", [True, False])
def test_auto_precision_follows_the_hardware(no_accelerator, monkeypatch, fast):
    monkeypatch.setattr(runtime, "_has_fast_bf16", lambda device: fast)
    assert resolve_runtime("auto", "auto") == Runtime("cpu", "bf16" if fast else "fp32")
    assert resolve_runtime("cpu", "fp32") == Runtime("cpu", "fp32")
    assert resolve_runtime("cpu", "bf16") == Runtime("cpu", "bf16")


@pytest.mark.parametrize(
    ("by_intel", "vectors", "matrices", "precision"),
    [
        (False, True, False, "bf16"),
        (False, False, False, "fp32"),
        (True, True, False, "fp32"),
        (True, True, True, "bf16"),
    ],
)
def test_bf16_is_for_processors_that_multiply_it_faster(monkeypatch, by_intel, vectors, matrices, precision):
    monkeypatch.setattr(runtime, "_is_by_intel", lambda: by_intel)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: vectors)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: matrices)
    assert resolve_runtime("cpu").precision == precision


def test_auto_is_resolved_on_this_machine():
    resolved = resolve_runtime()
    assert resolved.device in ("cpu", "cuda", "mps")
    assert resolved.precision in ("fp32", "bf16")
    assert resolve_runtime(resolved.device, resolved.precision) == resolved


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_autocast_decides_the_type_of_products(precision, dtype):
    matrix, chosen = torch.eye(3, requires_grad=True), Runtime("cpu", precision)
    for _ in range(2):
        with chosen.autocast():
            product = matrix @ matrix
        assert product.dtype == dtype
    product.float().sum().backward()
    assert matrix.grad.dtype == torch.float32
    assert (torch.eye(3) @ torch.eye(3)).dtype == torch.float32


def test_memory_is_measured():
    assert 0 < available_memory_bytes("cpu") < 2**50
    chosen = Runtime()
    chosen.reset_peak_memory()
    before = chosen.peak_memory_bytes()
    assert 10 * 2**20 < before < 2**50
    torch.ones(1)
    assert chosen.peak_memory_bytes() >= before


def test_caches_that_can_be_dropped_count_as_available(monkeypatch):
    facts = "MemTotal:  9000 kB\nMemFree:  10 kB\nMemAvailable:  2000 kB\n"
    monkeypatch.setattr("builtins.open", lambda *_, **__: io.StringIO(facts))
    assert available_memory_bytes("cpu") == 2000 * 1024


def test_memory_where_the_system_tells_only_its_size(monkeypatch):
    def refuse(*_, **__):
        raise FileNotFoundError

    pages = {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr(runtime.os, "sysconf", pages.__getitem__)
    assert available_memory_bytes("cpu") == 4_096_000


def test_the_hardware_has_a_name():
    name = hardware_name("cpu")
    assert json.loads(json.dumps(name)) == name
    assert "\n" not in name
    assert int(name.removesuffix(" cores").rsplit(" ", 1)[1]) >= 1


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux measures a peak anew")
def test_a_peak_of_memory_is_forgotten_when_a_new_measurement_begins():
    chosen = resolve_runtime("cpu", "fp32")  # from now on the process keeps what is freed
    block = torch.ones(50 * 2**20)  # 200 MiB
    high = chosen.peak_memory_bytes()
    del block
    chosen.reset_peak_memory()
    assert chosen.peak_memory_bytes() < high - 100 * 2**20
    block = torch.ones(25 * 2**20)
    assert high - 150 * 2**20 < chosen.peak_memory_bytes() < high
    assert len(block)
