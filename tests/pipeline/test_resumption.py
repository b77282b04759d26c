"""A killed run ends where an unharmed one does."""

from contextlib import contextmanager
from pathlib import Path

import pytest

from distail import pipeline
from distail.artifact import read_json
from distail.checkpoint import FileCheckpoint
from distail.distilled import DistilledSet, load_distilled
from distail.errors import DistailError
from distail.pipeline import distill
from distail.progress import Progress
from tests.evaluation.separable import images_of
from tests.pipeline.small_runs import FILES, ITERATIONS, assert_same_set, metrics, recipe_for, snapshot, write_source


class KilledError(Exception):
    """Stands for the loss of power."""


class Killing(Progress):
    """Kills the run when so many iterations have been reported."""

    def __init__(self, after: int) -> None:
        self.left = after
        self.begun_at: list[int] = []

    @contextmanager
    def task(self, title: str, total: int, done: int = 0):
        self.begun_at.append(done)

        def advance(steps: int = 1, **figures: float) -> None:
            self.left -= steps
            if self.left <= 0:
                raise KilledError

        yield advance

    def say(self, message: str) -> None:
        pass


def keep_every(monkeypatch, states: int) -> None:
    """Writes every n-th state instead of one every few seconds."""

    class Eager(FileCheckpoint):
        def __init__(self, path, **limits) -> None:
            super().__init__(path, interval_s=0.0, **limits)
            self.calls = 0

        def save(self, tensors, values, *, now=False) -> None:
            self.calls += 1
            if self.calls % states == 0:
                super().save(tensors, values)

    monkeypatch.setattr(pipeline, "FileCheckpoint", Eager)


def assert_like_unharmed(folder: Path, run: Path, made: DistilledSet) -> None:
    assert_same_set(made, load_distilled(run))
    assert {path.name for path in folder.iterdir()} == FILES
    assert metrics(folder) == metrics(run)
    assert read_json(folder / "manifest.json")["status"] == "complete"
    assert (folder / "images.png").read_bytes() == (run / "images.png").read_bytes()


@pytest.mark.parametrize("states", [1, 2, 100])
@pytest.mark.parametrize("killed_after", range(1, ITERATIONS + 1))
def test_a_killed_run_ends_with_the_same_bits(tmp_path, source, run, monkeypatch, states, killed_after):
    keep_every(monkeypatch, states)
    folder = tmp_path / "run"
    with pytest.raises(KilledError):
        distill(recipe_for(source), out=folder, progress=Killing(killed_after))
    assert read_json(folder / "manifest.json")["status"] == "running"
    assert not (folder / "distilled.safetensors").exists()
    with pytest.raises(DistailError, match="no finished distilled set"):
        load_distilled(folder)
    with pytest.raises(DistailError, match=r"holds this same run, and it is not finished\. Pass --resume"):
        distill(recipe_for(source), out=folder)
    unharmed = Killing(100)
    made = distill(recipe_for(source), out=folder, resume=True, progress=unharmed)
    assert unharmed.begun_at == [killed_after // states * states]  # it went on, and did not begin again
    assert_like_unharmed(folder, run, made)


def test_a_run_killed_again_and_again_arrives(tmp_path, source, run, monkeypatch):
    keep_every(monkeypatch, 1)
    kills = 0
    while True:
        try:
            made = distill(recipe_for(source), out=tmp_path / "run", resume=True, progress=Killing(2))
            break
        except KilledError:
            kills += 1
    assert kills == ITERATIONS // 2
    assert_like_unharmed(tmp_path / "run", run, made)


@pytest.mark.parametrize("moment", ["image_grid", "load_distilled", "_data_manifest"])
def test_a_run_killed_while_it_writes_the_result_arrives(tmp_path, source, run, monkeypatch, moment):
    def kill(*_):
        raise KilledError

    keep_every(monkeypatch, 1)
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, moment, kill)
        with pytest.raises(KilledError):
            distill(recipe_for(source), out=tmp_path / "run")
    made = distill(recipe_for(source), out=tmp_path / "run", resume=True)
    assert_like_unharmed(tmp_path / "run", run, made)


def test_a_cut_metrics_file_is_mended(tmp_path, source, run, monkeypatch):
    keep_every(monkeypatch, 1)
    with pytest.raises(KilledError):
        distill(recipe_for(source), out=tmp_path / "run", progress=Killing(4))
    file = tmp_path / "run" / "metrics.jsonl"
    file.write_text(file.read_text() + '{"step": 4, "lo')
    distill(recipe_for(source), out=tmp_path / "run", resume=True)
    assert metrics(tmp_path / "run") == metrics(run)


def test_a_finished_run_is_returned_as_it_is(run, source):
    before = snapshot(run)
    made = distill(recipe_for(source), out=run, resume=True, progress=Killing(0))
    assert_same_set(made, load_distilled(run))
    assert made.provenance == load_distilled(run).provenance
    assert snapshot(run) == before
    with pytest.raises(DistailError, match=r"holds this same run, and it is finished\. Pass --resume"):
        distill(recipe_for(source), out=run)
    with pytest.raises(DistailError, match=r"holds another run, and it is finished\. Use it as it is, or choose"):
        distill(recipe_for(source, images_per_class=3), out=run)
    with pytest.raises(DistailError, match=r"images_per_class \(2 there, 3 asked\)"):
        distill(recipe_for(source, images_per_class=3), out=run, resume=True)
    assert snapshot(run) == before


def test_a_finished_run_needs_its_source_no_longer(tmp_path):
    path = write_source(tmp_path / "images.npz")
    made = distill(recipe_for(path), out=tmp_path / "run")
    path.unlink()
    assert_same_set(distill(recipe_for(path), out=tmp_path / "run", resume=True), made)


def test_a_run_is_not_resumed_on_changed_data(tmp_path):
    path = write_source(tmp_path / "images.npz")
    with pytest.raises(KilledError):
        distill(recipe_for(path), out=tmp_path / "run", progress=Killing(3))
    before = snapshot(tmp_path / "run")
    write_source(path, images_of((12, 12, 12), 8))
    with pytest.raises(DistailError, match="holds a run on other images"):
        distill(recipe_for(path), out=tmp_path / "run", resume=True)
    assert snapshot(tmp_path / "run") == before
