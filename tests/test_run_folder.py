"""Run folders: nothing foreign is overwritten, nothing is resumed by mistake, and logs survive kills."""

import json
import os

import pytest
import torch

import distail.checkpoint
from distail.artifact import read_json, write_text
from distail.checkpoint import Checkpoint, FileCheckpoint
from distail.distilled import FILE_NAME
from distail.errors import DistailError
from distail.evaluation.recipe import EvaluationRecipe
from distail.recipe import DataRecipe, Recipe, load_recipe
from distail.run_folder import MetricsLog, RunFolder, unused_path

RECIPE = Recipe(data=DataRecipe(source="digits"), method="random", settings={"a": 1})
DATA = "0" * 64


def changed(**values):
    return RECIPE.model_copy(update=values)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("exists", [False, True])
def test_a_new_or_empty_folder_is_claimed(tmp_path, exists):
    folder = RunFolder(tmp_path / "runs" / "one")
    if exists:
        folder.path.mkdir(parents=True)
    assert not folder.is_complete
    folder.begin(RECIPE, DATA, resume=exists)  # with nothing to resume, a run begins
    assert load_recipe(folder.recipe) == RECIPE
    assert read_json(folder.manifest) == {"status": "running", "data_sha256": DATA}
    assert not folder.is_complete
    assert contents(folder.path).keys() == {"recipe.yaml", "manifest.json"}


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("name", ["thesis.tex", ".hidden", FILE_NAME, "manifest.json"])
def test_foreign_files_are_not_touched(tmp_path, name, resume):
    (tmp_path / name).write_text("precious")
    before = contents(tmp_path)
    with pytest.raises(DistailError, match=r"not empty and holds no run.*nothing was touched"):
        RunFolder(tmp_path).begin(RECIPE, DATA, resume=resume)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("resume", [False, True])
def test_a_file_is_not_a_folder(tmp_path, resume):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(DistailError, match="nothing was touched"):
        RunFolder(tmp_path / "file").begin(RECIPE, DATA, resume=resume)
    with pytest.raises(DistailError, match=r"cannot be made \(Not a directory\)"):
        RunFolder(tmp_path / "file" / "below").begin(RECIPE, DATA, resume=resume)
    assert (tmp_path / "file").read_text() == "precious"


def test_another_run_is_not_overwritten(tmp_path):
    RunFolder(tmp_path).begin(RECIPE, DATA, resume=False)
    before = contents(tmp_path)
    with pytest.raises(DistailError, match=r"holds this same run.*--resume.*nothing was touched"):
        RunFolder(tmp_path).begin(RECIPE, DATA, resume=False)
    assert contents(tmp_path) == before


def test_the_same_run_is_taken_up(tmp_path):
    RunFolder(tmp_path).begin(RECIPE, DATA, resume=False)
    before = contents(tmp_path)
    RunFolder(tmp_path).begin(RECIPE, DATA, resume=True)
    assert contents(tmp_path) == before


def test_a_run_killed_while_claiming_is_taken_up(tmp_path):
    write_text(RunFolder(tmp_path).recipe, RECIPE.to_yaml())
    RunFolder(tmp_path).begin(RECIPE, DATA, resume=True)
    assert read_json(RunFolder(tmp_path).manifest)["data_sha256"] == DATA


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        (changed(seed=1), r"seed \(0 there, 1 asked\)"),
        (changed(method="dm"), r"method \(random there, dm asked\)"),
        (changed(settings={"a": 2}), r"settings: settings\.a \(1 there, 2 asked\)\. "),
        (changed(settings={}), r"settings: settings\.a \(1 there, default asked\)\. "),
        (
            changed(data=DataRecipe(source="digits", imbalance=9.0)),
            r"settings: data\.imbalance \(none there, 9\.0 asked\)\. ",
        ),
        (changed(images_per_class=3, precision="bf16"), r"images_per_class \(10 .*, precision \(auto"),
    ],
)
def test_resuming_under_other_settings_lists_them(tmp_path, asked, match):
    RunFolder(tmp_path).begin(RECIPE, DATA, resume=False)
    before = contents(tmp_path)
    with pytest.raises(DistailError, match=match) as caught:
        RunFolder(tmp_path).begin(asked, DATA, resume=True)
    assert "architecture" not in str(caught.value)  # unchanged
    assert f"distail run {tmp_path}/recipe.yaml --out {tmp_path} --resume" in str(caught.value)
    assert contents(tmp_path) == before


def test_every_setting_but_scoring_counts(tmp_path):
    RunFolder(tmp_path).begin(RECIPE, DATA, resume=False)
    other = {
        "data": DataRecipe(source="other"),
        "method": "dm",
        "settings": {},
        "images_per_class": 1,
        "preprocessing": "zca",
        "architecture": "alexnet",
        "seed": 5,
        "device": "cpu",
        "precision": "fp32",
    }
    assert other.keys() == Recipe.model_fields.keys() - {"test", "evaluation"}
    for name, value in other.items():
        with pytest.raises(DistailError, match=rf"other settings: {name}(\.\w+)? \("):
            RunFolder(tmp_path).require_usable(changed(**{name: value}), resume=True)


def test_scoring_may_change_between_kill_and_resume(tmp_path):
    RunFolder(tmp_path).begin(RECIPE, DATA, resume=False)
    RunFolder(tmp_path).begin(changed(test="elsewhere", evaluation=EvaluationRecipe(seeds=9)), DATA, resume=True)


def test_resuming_on_other_data_is_refused(tmp_path):
    RunFolder(tmp_path).begin(RECIPE, DATA, resume=False)
    with pytest.raises(DistailError, match=r"holds a run on other images.*have changed"):
        RunFolder(tmp_path).begin(RECIPE, "1" * 64, resume=True)


def test_complete_means_set_and_manifest(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_manifest({"status": "complete"})
    assert not folder.is_complete
    folder.distilled.write_bytes(b"")
    assert folder.is_complete
    folder.write_manifest({"status": "running"})
    assert not folder.is_complete


# Metrics


def test_a_figure_that_is_no_number_is_null(tmp_path):
    MetricsLog(tmp_path / "metrics.jsonl")(0, loss=float("nan"), rate=float("-inf"), skipped=0)
    text = (tmp_path / "metrics.jsonl").read_text()
    assert text == '{"step": 0, "loss": null, "rate": null, "skipped": 0}\n'


def steps(path):
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_each_step_is_a_line(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log(0, loss=1.5, accuracy=0.25)
    log(1, loss=1e-30)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"step": 0, "loss": 1.5, "accuracy": 0.25},
        {"step": 1, "loss": 1e-30},
    ]


@pytest.mark.parametrize("resumed_at", range(6))
def test_steps_repeated_after_a_kill_replace_the_old_ones(tmp_path, resumed_at):
    path = tmp_path / "metrics.jsonl"
    killed = MetricsLog(path)
    for step in range(5):
        killed(step, loss=0.0)
    resumed = MetricsLog(path)
    for step in range(resumed_at, 8):
        resumed(step, loss=1.0)
    assert steps(path) == list(range(8))
    losses = [json.loads(line)["loss"] for line in path.read_text().splitlines()]
    assert losses == [0.0] * resumed_at + [1.0] * (8 - resumed_at)


def test_wherever_a_kill_cuts_the_file_it_stays_readable(tmp_path):
    path = tmp_path / "metrics.jsonl"
    killed = MetricsLog(path)
    for step in range(3):
        killed(step, loss=0.125)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        resumed = MetricsLog(path)
        resumed(3, loss=0.5)
        resumed(4, loss=0.5)
        kept = whole[:length].count(b"}")  # a line without its end is cut, one without its line break is not
        assert steps(path) == [*range(kept), 3, 4]


def test_figures_of_one_step_can_be_told_apart(tmp_path):
    """A step may be logged more than once within one run."""
    log = MetricsLog(tmp_path / "metrics.jsonl")
    for phase in (1.0, 2.0):
        log(0, phase=phase)
    assert steps(tmp_path / "metrics.jsonl") == [0, 0]


# Checkpoints


class Clock:
    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(distail.checkpoint, "time", clock)
    return clock


def test_checkpoints_are_written_at_intervals(tmp_path, clock):
    checkpoint = FileCheckpoint(RunFolder(tmp_path).checkpoint, interval_s=15.0)
    assert checkpoint.load() is None
    kept = []
    for second in range(40):
        clock.now = 1000.0 + second
        checkpoint.save({"images": torch.tensor([float(second)])}, {"iteration": second})
        loaded = FileCheckpoint(RunFolder(tmp_path).checkpoint).load()
        kept.append(None if loaded is None else (loaded[1]["iteration"], float(loaded[0]["images"])))
    assert kept == [None] * 15 + [(15, 15.0)] * 15 + [(30, 30.0)] * 10


def test_a_checkpoint_is_a_checkpoint(tmp_path):
    folder = RunFolder(tmp_path)
    checkpoint = FileCheckpoint(folder.checkpoint, interval_s=0.0)
    assert isinstance(checkpoint, Checkpoint)
    images = torch.ones(2, requires_grad=True)
    checkpoint.save({"images": images, "start": images}, {"iteration": 3, "nested": {"a": [1, None]}})
    tensors, values = checkpoint.load()
    assert torch.equal(tensors["images"], images)
    assert torch.equal(tensors["start"], images)
    assert values == {"iteration": 3, "nested": {"a": [1, None]}}
    checkpoint.clear()
    assert checkpoint.load() is None
    checkpoint.clear()


def test_time_adds_up_over_processes(tmp_path, clock):
    folder = RunFolder(tmp_path)
    first = FileCheckpoint(folder.checkpoint, interval_s=0.0)
    clock.now += 100.0
    first.save({"images": torch.ones(1)}, {})
    clock.now += 7.0  # lost with the kill
    second = FileCheckpoint(folder.checkpoint)
    second.load()
    clock.now += 20.0
    assert second.seconds == 120.0


def test_a_damaged_checkpoint_is_a_clear_error(tmp_path):
    folder = RunFolder(tmp_path)
    FileCheckpoint(folder.checkpoint, interval_s=0.0).save({"images": torch.ones(2)}, {})
    os.truncate(folder.checkpoint, folder.checkpoint.stat().st_size - 1)
    with pytest.raises(DistailError, match="truncated"):
        FileCheckpoint(folder.checkpoint).load()


def test_unused_path_overwrites_nothing(tmp_path):
    path = tmp_path / "evaluation.json"
    names = []
    for _ in range(3):
        free = unused_path(path)
        free.write_text("")
        names.append(free.name)
    assert names == ["evaluation.json", "evaluation-2.json", "evaluation-3.json"]


def test_a_finished_run_is_given_no_other_iterations(tmp_path):
    folder, more = RunFolder(tmp_path), changed(settings={"a": 1, "iterations": 9})
    folder.begin(RECIPE, DATA, resume=False)
    folder.write_manifest({"status": "complete"})
    folder.distilled.write_bytes(b"")
    before = contents(tmp_path)
    told = r"is finished, and only an unfinished run .* \(default there, 9 asked\)\. Choose another --out"
    with pytest.raises(DistailError, match=told):
        folder.require_usable(more, resume=True, more_iterations=True)
    with pytest.raises(DistailError, match=r"settings\.iterations \(default there, 9 asked\)\. Resume with the same"):
        folder.require_usable(more, resume=True)  # another number of iterations would be another method
    with pytest.raises(DistailError, match=r"seed \(0 there, 2 asked\)"):
        folder.require_usable(more.model_copy(update={"seed": 2}), resume=True, more_iterations=True)
    assert contents(tmp_path) == before


def test_an_unfinished_run_may_go_on_for_more_iterations_but_not_for_fewer_than_are_done(tmp_path):
    folder, more = RunFolder(tmp_path), changed(settings={"a": 1, "iterations": 9})
    folder.begin(RECIPE, DATA, resume=False)
    with pytest.raises(DistailError, match="other settings"):
        folder.begin(more, DATA, resume=True)
    folder.begin(more, DATA, resume=True, more_iterations=True)
    assert load_recipe(folder.recipe).settings == {"a": 1, "iterations": 9}
    FileCheckpoint(folder.checkpoint, interval_s=0.0).save({"images": torch.ones(2)}, {"iteration": 5})
    assert FileCheckpoint(folder.checkpoint, max_iterations=5).load() is not None
    with pytest.raises(DistailError, match=r"done 5 iterations already, and 4 .*--set iterations=5 or more"):
        FileCheckpoint(folder.checkpoint, max_iterations=4).load()
