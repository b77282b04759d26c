"""`distail --help` is instant, because nothing heavy is imported for it."""

import os
import subprocess
import sys
import time

import pytest

HEAVY = {"torch", "numpy", "datasets", "sklearn", "matplotlib", "pyarrow", "PIL", "safetensors", "jaxtyping", "scipy"}
COMMANDS = ("check", "demo", "distill", "evaluate", "export", "methods", "run", "train")

PROBE = """
import sys
from distail.cli import main
for arguments in {calls}:
    main(arguments)
sys.stderr.write(" ".join(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""


def started(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)


def test_help_imports_nothing_heavy():
    calls = [["--help"], ["--version"], *([command, "--help"] for command in COMMANDS)]
    done = started("-c", PROBE.format(calls=calls))
    assert "cyclopts" in done.stderr.split()
    assert not HEAVY & set(done.stderr.split())
    for command in COMMANDS:
        assert f"│ {command} " in done.stdout


def test_importing_the_package_imports_nothing_heavy():
    done = started("-c", "import sys, distail; dir(distail); print(*sys.modules)")
    assert not HEAVY & set(done.stdout.split())


@pytest.mark.skipif(sys.platform == "win32", reason="processes start far more slowly there")
def test_help_answers_in_half_a_second():
    best = float("inf")
    for _ in range(5):
        begun = time.perf_counter()
        started("-m", "distail", "--help")
        best = min(best, time.perf_counter() - begun)
        if best < 0.5:
            break
    assert best < 0.5, f"{best:.2f} s at best with a load of {os.getloadavg()[0]:.1f}"
