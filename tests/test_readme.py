"""The README's commands and Python snippets, run in order in an empty folder, and the example scripts.

Numbers of epochs and iterations are cut to a few; everything else runs as it stands.
"""

import re
import runpy
import shlex
from pathlib import Path
from typing import Any

import pytest

import distail
from distail.api import sets
from distail.cli import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTED = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(bash|python|yaml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LEAST_MATCHING = "--set max_start_epoch=1 --set expert_span=1 --set steps=2 --set classifier_steps=2"
INSTALLS = ("pip install . && distail demo", "pip install '.[dev]' && pytest")


def shortened(text: str) -> str:
    text = re.sub(r"(--(?:full-|group-)?epochs) \d+", r"\1 2", text)
    text = re.sub(r"((?:full_)?epochs|iterations)(=|: )\d+", r"\1\g<2>2", text)
    return text.replace("num_label_experts=1", f"num_label_experts=1 {LEAST_MATCHING}")


def test_the_two_commands_for_a_fresh_machine_are_there():
    for command in INSTALLS:
        assert f"\n{command}\n" in README


def test_commands_and_snippets_work_in_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    ran = []
    for kind, text in BLOCK.findall(README):
        if kind == "python":
            exec(compile(shortened(text), "README.md", "exec"), names)
            ran.append("python")
            continue
        if kind == "yaml":
            (tmp_path / "first.yaml").write_text(shortened(text))
            continue
        for line in text.strip().splitlines():
            if line not in INSTALLS:
                main(shlex.split(shortened(line))[1:])
                ran.append(shlex.split(line)[1])
    assert ran.count("python") >= 4
    assert {"check", "distill", "evaluate", "train", "export", "bench"} <= set(ran)
    shown = capsys.readouterr().out
    assert "330 images kept" in shown
    assert "whole training set" in shown
    for made in (
        "runs/first/distilled.safetensors",
        "runs/first/evaluation.json",
        "student.safetensors",
        "small.parquet",
        "runs/first/report.html",
        "report.html",
        "bench/first/index.json",
        "bench/first/report.html",
    ):
        assert (tmp_path / made).is_file(), made
    # The command and its Python twin beside it made the same set.
    assert distail.load_distilled("runs/first").images.equal(names["small"].images)


def test_files_named_in_the_run_folder_table_exist(tmp_path):
    distail.distill("digits", "random", images_per_class=1, architecture="convnet1-w8", out=tmp_path / "run")
    table = README.split("## What is in a run folder")[1].split("\n## ")[0]
    named = set(re.findall(r"`([a-z]+\.[a-z]+)`", table)) - {"evaluation.json", "checkpoint.safetensors", "report.html"}
    # A method that only draws changes nothing, logs no losses and has no teacher.
    assert named - {"metrics.jsonl", "start.safetensors", "teacher.safetensors"} == {
        path.name for path in (tmp_path / "run").iterdir()
    }


def test_every_source_of_committed_numbers_is_named():
    page = (ROOT / "docs" / "reproducing.md").read_text(encoding="utf-8")
    sources = [f"grids/{file.name}" for file in (ROOT / "grids").glob("*.yaml")]
    for file in (ROOT / "benchmarks").glob("*.py"):
        if '__name__ == "__main__"' in file.read_text(encoding="utf-8"):
            sources.append(f"benchmarks/{file.name}")
    assert len(sources) > 20
    for source in sources:
        assert f" {source}" in page, f"docs/reproducing.md does not say how {source} is run"


def test_relative_links_lead_somewhere():
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.fixture
def few_steps(monkeypatch):
    distill, evaluate = sets.distill, sets.evaluate

    def short_distill(*arguments: Any, **settings: Any) -> Any:
        return distill(*arguments, **{key: 2 if key == "iterations" else value for key, value in settings.items()})

    def short_evaluate(*arguments: Any, **settings: Any) -> Any:
        return evaluate(*arguments, **{**settings, "epochs": 2})

    monkeypatch.setattr(sets, "distill", short_distill)
    monkeypatch.setattr(sets, "evaluate", short_evaluate)


def run_example(name: str, *arguments: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", [name, *arguments])
        patch.syspath_prepend(str(ROOT / "examples"))
        runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")


def test_example_distil_and_score(few_steps, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_example("distil_and_score")
    assert "random: " in capsys.readouterr().out
    assert distail.load(tmp_path / "small.parquet").class_counts == (3,) * 10


def test_example_own_method_and_network(few_steps, capsys):
    run_example("own_method_and_network")
    assert "Summary(n=2" in capsys.readouterr().out


def test_example_plain_pytorch(tmp_path, capsys):
    distail.distill("digits", "random", images_per_class=2, imbalance=50.0, out=tmp_path / "run")
    run_example("plain_pytorch", str(tmp_path / "run"))
    assert "of 596 test images right" in capsys.readouterr().out


def test_the_loop_over_labelled_views(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    teacher = {"train": {"epochs": 1}}
    settings = {"iterations": 1, "pilot_steps": 1, "views": 3, "teacher": teacher}
    distail.distill("digits", images_per_class=1, architecture="convnet3-w8", out="runs/tailor", **settings)
    about = DOCUMENTED.split("\n## Labelled views")[1].split("\n## ")[0]
    ((_, loop),) = BLOCK.findall(about)
    names: dict[str, Any] = {}
    exec(compile(re.sub(r"range\(\d+\)", "range(2)", loop), "methods.md", "exec"), names)
    assert names["logits"].shape[1] == 10
