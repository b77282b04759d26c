"""What is read of a run folder, whole or not."""

import json
import shutil

import pytest

from distail.errors import DistailError
from distail.report.page.run_facts import read_run_facts
from tests.cli.calling import contents
from tests.report.page.runs import add_groups, make_run, score_run


def test_a_plain_run(plain):
    facts = read_run_facts(plain)
    assert facts.complete
    assert (facts.name, facts.method, facts.class_names) == ("run", "random", ("ant", "bee", "cow"))
    assert facts.class_counts == (122, 26, 6)
    assert facts.real_indices is not None
    assert len(facts.real_indices) == 6
    assert (facts.scored, facts.groups, facts.snapshots, facts.unreadable) == ((), None, {}, ())
    assert facts.start is None
    assert facts.metrics.steps == ()


def test_a_scored_run(scored):
    facts = read_run_facts(scored)
    assert [one.file for one in facts.scored] == ["evaluation.json", "evaluation-2.json"]
    assert [one.result.students[0].labels for one in facts.scored] == ["static", "teacher"]
    assert facts.groups is not None
    assert list(facts.groups.pictures) == ["features"]
    assert facts.metrics.steps[-1] == 499
    assert facts.metrics.figures is not None
    assert list(facts.metrics.figures) == ["loss", "skipped"]


def test_evaluations_are_in_the_order_of_their_numbers(tmp_path):
    folder = make_run(tmp_path / "run")
    for number in ("-10", "-2", "", "-of-mine"):
        score_run(folder, name=f"evaluation{number}.json")
    assert [one.file for one in read_run_facts(folder).scored] == [
        "evaluation.json",
        "evaluation-2.json",
        "evaluation-10.json",
    ]


def test_what_cannot_be_read_is_named_and_left_out(tmp_path):
    folder = score_run(make_run(tmp_path / "run"))
    (folder / "evaluation-2.json").write_text("{")
    (folder / "metrics.jsonl").write_text('{"step": 0, "loss": 1}\n[3]\n{"step": 1, "loss": null}\n{"st')
    facts = read_run_facts(folder)
    assert [one.file for one in facts.scored] == ["evaluation.json"]
    assert len(facts.unreadable) == 1
    assert "evaluation-2.json" in facts.unreadable[0]
    assert facts.metrics.steps == (0, 1)
    assert facts.metrics.figures == {"loss": (1.0, None)}


def test_groups_beside_a_run_count_if_they_are_of_the_same_images(tmp_path):
    run, other = make_run(tmp_path / "run"), make_run(tmp_path / "other", counts=(50, 9, 3))
    groups = add_groups(tmp_path / "groups", run)
    found = read_run_facts(run).groups
    assert found is not None
    assert found.folder == groups
    assert read_run_facts(other).groups is None


def test_an_unfinished_run(tmp_path):
    folder = make_run(tmp_path / "run")
    (folder / "distilled.safetensors").unlink()
    (folder / "manifest.json").write_text(json.dumps({"status": "running", "data_sha256": "0"}))
    facts = read_run_facts(folder)
    assert not facts.complete
    assert (facts.distilled, facts.class_names, facts.class_counts, facts.method) == (None, (), (), "random")


def test_a_set_without_a_recipe_file_takes_that_of_its_manifest(tmp_path):
    folder = make_run(tmp_path / "run")
    (folder / "recipe.yaml").unlink()
    assert read_run_facts(folder).method == "random"


def test_reading_changes_nothing(scored):
    before = contents(scored)
    read_run_facts(scored)
    assert contents(scored) == before


def test_what_is_no_run_is_refused(tmp_path, plain):
    (tmp_path / "empty").mkdir()
    for target in (tmp_path / "empty", tmp_path / "nothing", plain / "recipe.yaml"):
        with pytest.raises(DistailError, match=r"holds no run\. Name a run folder"):
            read_run_facts(target)
    (tmp_path / "groups").mkdir()
    (tmp_path / "groups" / "manifest.json").write_text('{"kind": "groups"}')
    with pytest.raises(DistailError, match=r"holds groups of classes, not a run\. Name a run"):
        read_run_facts(tmp_path / "groups")


def test_a_damaged_set_is_refused(tmp_path, plain):
    shutil.copytree(plain, tmp_path / "run")
    with (tmp_path / "run" / "distilled.safetensors").open("r+b") as file:
        file.truncate(100)
    with pytest.raises(DistailError, match=r"distilled\.safetensors"):
        read_run_facts(tmp_path / "run")
