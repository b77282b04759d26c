"""Places that are taken, may not be written to, or are full."""

import errno
import json
import os
from pathlib import Path

import pytest

from tests.cli.bad_input.commands import RANDOM
from tests.cli.calling import NETWORK, QUICK, assert_clear_refusal, call


def test_a_folder_that_holds_another_run(refused, run, source):
    refused(
        "distill",
        source,
        *RANDOM,
        "--out",
        run,
        names=(str(run), "holds another run, and it is finished", "another --out"),
    )
    refused("run", run / "recipe.yaml", "--out", run, names=(str(run), "same run, and it is finished", "--resume"))


def test_resuming_another_run(refused, run, source):
    refused(
        "distill", source, *RANDOM, "--out", run, "--resume", names=(str(run), "images_per_class (2 there, 1 asked)")
    )


@pytest.mark.parametrize("resume", [(), ("--resume",)])
def test_a_folder_that_holds_foreign_files(refused, source, tmp_path, resume):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    refused("distill", source, *RANDOM, "--out", "mine", *resume, names=("mine", "nothing was touched"))


def outputs(run: Path, source: Path, out: str) -> dict[str, tuple[object, ...]]:
    """Every command that writes, told to write to `out`."""
    return {
        "distill": ("distill", source, *RANDOM, "--out", out),
        "run": ("run", run / "recipe.yaml", "--out", out),
        "train": ("train", source, "--arch", NETWORK, "--epochs", 1, "--out", out),
        "evaluate": ("evaluate", run, *QUICK, "--out", out),
        "export parquet": ("export", run, "--out", out),
        "export npz": ("export", run, "--format", "npz", "--out", out),
        "export folder": ("export", run, "--format", "folder", "--out", out),
    }


WRITERS = tuple(outputs(Path(), Path(), ""))


@pytest.mark.parametrize("command", WRITERS)
def test_a_file_that_is_there_already(refused, run, source, tmp_path, command):
    (tmp_path / "precious").write_text("thesis")
    refused(*outputs(run, source, "precious")[command], names=("precious",))


@pytest.mark.parametrize("command", WRITERS)
def test_a_place_below_a_file(refused, run, source, tmp_path, command):
    (tmp_path / "precious").write_text("thesis")
    refused(*outputs(run, source, "precious/inside/out")[command], names=("precious",))


@pytest.mark.parametrize("command", WRITERS)
def test_a_folder_that_may_not_be_written_to(refused, run, source, tmp_path, command):
    if os.name == "nt" or os.geteuid() == 0:
        pytest.skip("nothing is forbidden to this user")
    (tmp_path / "locked").mkdir(mode=0o555)
    refused(*outputs(run, source, "locked/out")[command], names=("locked",))


@pytest.fixture
def full_disk(monkeypatch):
    def full(path, *arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Path, "replace", full)
    monkeypatch.setattr(Path, "rename", full)


@pytest.mark.parametrize("command", WRITERS)
def test_a_full_disk(run, source, full_disk, command):
    outcome = call(*outputs(run, source, "out")[command], "--quiet")
    assert outcome.code == 2
    assert_clear_refusal(type(outcome)(2, "", outcome.err), "No space left on device", "disk")


def test_scores_are_printed_where_a_full_disk_refuses_them(run, full_disk):
    outcome = call("evaluate", run, *QUICK, "--out", "out.json", "--json")
    assert outcome.code == 2
    assert "No space left on device" in outcome.err
    assert json.loads(outcome.out)["students"]


def test_an_evaluation_as_text(refused, run):
    refused("evaluate", run, *QUICK, "--out", "scores.txt", names=("scores.txt", "scores.json"))


def test_an_unknown_export_format(refused, run):
    refused("export", run, "--format", "parket", "--out", "set", names=("parket", "Did you mean 'parquet'?"))
