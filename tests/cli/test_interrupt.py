"""Ctrl-C ends a command with one line that says how to go on."""

import pytest

from distail import pipeline
from distail.cli import main


def test_an_interrupted_run_says_how_to_go_on(monkeypatch, tmp_path, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "distill", interrupted)
    with pytest.raises(SystemExit) as stopped:
        main(["distill", "digits", "--out", str(tmp_path / "run")])
    assert stopped.value.code == 130
    error = capsys.readouterr().err
    assert error.startswith("Interrupted. ")
    assert "--resume" in error
    assert "--networks" in error
