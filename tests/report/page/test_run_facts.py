"""What is read of a run folder, whole or not."""

import json
import os
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


def found_at(folder, time: str) -> None:
    """Says when a grouping was found."""
    file = folder / "grouping.json"
    grouping = json.loads(file.read_text())
    file.write_text(json.dumps({**grouping, "provenance": {**grouping["provenance"], "written": time}}))


def test_of_several_groups_the_newest_count_and_the_others_are_named(tmp_path):
    run = make_run(tmp_path / "run")
    for name, time in (("a", "2026-01-02T00:00:00+00:00"), ("b", "2026-01-04T00:00:00+00:00"), ("c", "2026-01-03")):
        found_at(add_groups(tmp_path / name, run), time)
    beside = read_run_facts(run).groups
    assert beside is not None
    assert (beside.folder, beside.where) == (tmp_path / "b", "b beside the run folder")
    assert beside.others == ("c beside the run folder", "a beside the run folder")
    found_at(add_groups(run / "groups", run), "2020-01-01T00:00:00+00:00")
    inside = read_run_facts(run).groups
    assert inside is not None
    assert inside.where == "groups in the run folder"  # put there on purpose, whenever that was
    assert inside.others[0] == "b beside the run folder"


def test_groups_that_do_not_say_when_they_were_found_go_by_their_file(tmp_path):
    run = make_run(tmp_path / "run")
    for name, time in (("a", 2_000), ("b", 1_000)):
        os.utime(add_groups(tmp_path / name, run) / "grouping.json", (time, time))
    found = read_run_facts(run).groups
    assert found is not None
    assert found.where == "a beside the run folder"


def test_groups_that_cannot_be_read_are_named_without_the_machine_s_folders(tmp_path):
    run = make_run(tmp_path / "run")
    (add_groups(tmp_path / "groups", run) / "grouping.json").write_text("{")
    (message,) = read_run_facts(run).unreadable
    assert "groups/grouping.json" in message
    assert str(tmp_path) not in message


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
        with pytest.raises(DistailError, match=r"holds neither a run nor a grid\. Name a run folder"):
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
