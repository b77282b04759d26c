"""`distail --help` is instant, because nothing heavy is imported for it."""

import subprocess
import sys

import pytest

HEAVY = {"torch", "numpy", "datasets", "sklearn", "matplotlib", "pyarrow", "PIL", "safetensors", "jaxtyping", "scipy"}
COMMANDS = (
    *("baseline", "baselines", "check", "demo", "distill", "evaluate", "experts", "export", "group", "methods"),
    *("recipes", "relabel", "run", "train"),
)

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


@pytest.mark.skipif(sys.platform == "win32", reason="has no account of child processes")
def test_help_answers_in_half_a_second():
    """Counted in processor time: it waits for nothing, and wall time on a busy machine tells of other programs."""
    import resource

    best = float("inf")
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started("-m", "distail", "--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert 0.01 < best < 0.5
