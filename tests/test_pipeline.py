"""From source to set: what lies in the run folder, and that a killed run ends where an unharmed one does."""

import json
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import distail
from distail import pipeline
from distail.api.sets import distill as distill_in_one_call
from distail.artifact import read_json
from distail.checkpoint import FileCheckpoint
from distail.data.image_set import ImageSet
from distail.data.long_tail import make_long_tailed
from distail.data.sources import load
from distail.distilled import DistilledSet, load_distilled
from distail.errors import DistailError
from distail.models.saved import load_network
from distail.pipeline import distill
from distail.progress import Progress
from distail.provenance import indices_hash
from distail.recipe import DataRecipe, Recipe, load_recipe
from distail.run_folder import RunFolder
from distail.training_images import held_out_images, load_training_images, training_images, training_images_of
from tests.evaluation.separable import ARCHITECTURE, NAMES, Said, images_of
from tests.methods.with_teacher import TRAINING

ITERATIONS = 6
FILES = {"manifest.json", "recipe.yaml", "metrics.jsonl", "start.safetensors", "distilled.safetensors", "images.png"}


def write_source(path: Path, train: ImageSet | None = None, test: ImageSet | None = None) -> Path:
    arrays = {"class_names": np.array(NAMES)}
    for split, images in (("train", train or images_of((12, 12, 12), 1)), ("test", test or images_of((3, 3, 3), 2))):
        arrays[f"{split}_images"] = images.images.permute(0, 2, 3, 1).numpy()
        arrays[f"{split}_labels"] = images.labels.numpy()
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return write_source(tmp_path_factory.mktemp("source") / "images.npz")


def recipe_for(source: Path | str, **changes) -> Recipe:
    data = {"source": str(source), "imbalance": 4.0, **changes.pop("data", {})}
    values = {
        "method": "dm",
        "settings": {"iterations": ITERATIONS, "real_batch": 4, "image_lr": 0.5},
        "images_per_class": 2,
        "architecture": ARCHITECTURE,
        "precision": "fp32",
        "device": "cpu",
        **changes,
    }
    return Recipe(data=DataRecipe(**data), **values)


def assert_same_set(first: DistilledSet, second: DistilledSet) -> None:
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.labels, second.labels)
    assert first.class_names == second.class_names
    assert first.preprocessing.header() == second.preprocessing.header()
    tensors = second.preprocessing.to_tensors()
    for name, tensor in first.preprocessing.to_tensors().items():
        assert torch.equal(tensor, tensors[name])


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def metrics(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


# The run folder


@pytest.fixture(scope="module")
def run(tmp_path_factory, source) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "one"
    distill(recipe_for(source), out=folder)
    return folder


def test_what_is_returned_is_what_was_written(tmp_path, source, run):
    returned = distill(recipe_for(source), out=tmp_path / "run")
    on_disk = load_distilled(tmp_path / "run")
    assert_same_set(returned, on_disk)
    assert returned.provenance == on_disk.provenance
    assert_same_set(returned, load_distilled(run))  # and a second run makes the same


def test_the_folder_holds_the_whole_run(run):
    assert {path.name for path in run.iterdir()} == FILES
    with Image.open(run / "images.png") as picture:
        picture.verify()
    rows = metrics(run)
    assert [row["step"] for row in rows] == list(range(ITERATIONS))
    start, made = RunFolder(run).read_start(), load_distilled(run).to_pixels()
    assert start is not None
    assert start.shape == made.shape
    assert not torch.equal(start, made)
    assert all(row["loss"] > 0 for row in rows)


def test_the_manifest_tells_which_images_were_kept(run, source):
    manifest = read_json(run / "manifest.json")
    tail = make_long_tailed(load(source), 4.0)
    data = manifest["data"]
    assert manifest["status"] == "complete"
    assert data["kept_indices"] == tail.indices.tolist()
    assert data["kept_indices_sha256"] == indices_hash(tail.indices.tolist())
    assert data["sha256"] == manifest["data_sha256"] == tail.images.content_hash
    assert data["class_counts"] == manifest["class_counts"] == list(tail.images.class_counts) == [12, 6, 3]
    assert data["num_images"] == 21
    assert (data["source"], data["class_names"]) == (str(source), list(NAMES))
    # The positions are positions in the source.
    with np.load(source) as archive:
        kept = torch.from_numpy(archive["train_images"][data["kept_indices"]]).permute(0, 3, 1, 2)
    assert torch.equal(kept, tail.images.images)


def test_provenance_travels_with_the_set(run):
    manifest, facts = read_json(run / "manifest.json"), load_distilled(run).provenance
    assert {key: manifest[key] for key in facts} == facts
    assert facts["recipe"] == load_recipe(run / "recipe.yaml").model_dump(mode="json")
    assert facts["distill_seconds"] > 0
    assert facts["real_images"] is None
    assert facts["versions"]["distail"] != "not installed"


def test_the_recipe_in_the_folder_makes_the_same_set(tmp_path, run):
    loaded = load_recipe(run / "recipe.yaml")
    again = distill(loaded, out=tmp_path / "again")
    assert_same_set(again, load_distilled(run))
    assert load_recipe(tmp_path / "again" / "recipe.yaml") == loaded
    assert [row["loss"] for row in metrics(tmp_path / "again")] == [row["loss"] for row in metrics(run)]


def test_auto_is_written_as_what_it_became(tmp_path, source):
    distill(recipe_for(source, method="random", settings={}, device="auto", precision="auto"), out=tmp_path / "run")
    written = load_recipe(tmp_path / "run" / "recipe.yaml")
    assert "auto" not in (written.device, written.precision)


def test_real_images_are_traced(tmp_path, source):
    made = distill(recipe_for(source, method="random", settings={}), out=tmp_path / "run")
    train = make_long_tailed(load(source), 4.0).images
    chosen = torch.tensor(made.provenance["real_images"])
    assert torch.equal(train.images[chosen], made.to_pixels())
    assert torch.equal(train.labels[chosen], made.labels)


def test_without_a_folder_nothing_is_written(tmp_path, source, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_same_set(distill(recipe_for(source)), load_distilled(run))
    assert list(tmp_path.iterdir()) == []


def test_all_of_a_source_is_kept_without_imbalance(tmp_path, source):
    distill(recipe_for(source, method="random", settings={}, data={"imbalance": None}), out=tmp_path / "run")
    data = read_json(tmp_path / "run" / "manifest.json")["data"]
    assert data["kept_indices"] is None
    assert data["kept_indices_sha256"] is None
    assert data["num_images"] == 36


# Kills and resumption


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
    with pytest.raises(DistailError, match=r"holds another run\. .*recipe\.yaml --out .* --resume"):
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


# Bad requests leave nothing behind


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"data": {"source": "nowhere"}}, "There is no source 'nowhere'"),
        ({"data": {"imbalance": 5000.0}}, "leaves the tail class without images"),
        ({"data": {"image_size": 8, "source": "digitz"}}, "Did you mean 'digits'"),
        ({"method": "dn"}, r"no method 'dn'\. Did you mean 'dm'"),
        ({"settings": {"iteration": 3}}, r"unknown key 'iteration'\. Did you mean 'iterations'"),
        ({"settings": {"iterations": 0}}, "'iterations': input should be greater"),
        ({"architecture": "convnt3"}, "convnt3"),
        ({"images_per_class": 10**12}, "need about .* GiB.*--ipc"),
    ],
)
def test_a_bad_request_leaves_no_folder_behind(tmp_path, source, changes, match):
    with pytest.raises(DistailError, match=match):
        distill(recipe_for(source, **changes), out=tmp_path / "runs" / "run")
    assert list(tmp_path.iterdir()) == []


def test_bad_data_leave_no_folder_behind(tmp_path):
    broken = tmp_path / "broken.npz"
    broken.write_bytes(write_source(tmp_path / "whole.npz").read_bytes()[:500])
    empty_class = write_source(tmp_path / "empty.npz", images_of((5, 0, 5), 1))
    for path, match in ((broken, "not an .npz archive"), (empty_class, "no image in class bee")):
        with pytest.raises(DistailError, match=match):
            distill(recipe_for(path, data={"imbalance": None}), out=tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_an_occupied_folder_is_refused_before_anything_is_read(tmp_path, monkeypatch):
    (tmp_path / "precious").write_text("")
    monkeypatch.setattr(pipeline, "load_training_images", lambda *_: pytest.fail("reads the source"))
    with pytest.raises(DistailError, match="nothing was touched"):
        distill(recipe_for("digits"), out=tmp_path)


def test_images_that_explode_are_a_clear_error(tmp_path, source):
    huge = {"iterations": ITERATIONS, "real_batch": 4, "image_lr": 1e38}
    with pytest.raises(DistailError, match="image_lr"):
        distill(recipe_for(source, settings=huge), out=tmp_path / "run")
    assert not (tmp_path / "run" / "distilled.safetensors").exists()


# The training images again


def test_training_images_are_found_again(run):
    made = load_distilled(run)
    found = training_images_of(made)
    assert found.images.content_hash == made.provenance["data_sha256"]
    assert found.images.class_counts == (12, 6, 3)


@pytest.mark.parametrize("what", ["pixel", "label", "order"])
def test_changed_data_are_noticed(tmp_path, what):
    path = write_source(tmp_path / "images.npz")
    made = distill(recipe_for(path, method="random", settings={}), out=tmp_path / "run")
    training_images_of(made)
    original = images_of((12, 12, 12), 1)
    pixels, labels = original.images.clone(), original.labels.clone()
    first = int(read_json(tmp_path / "run" / "manifest.json")["data"]["kept_indices"][0])
    if what == "pixel":
        pixels[first, 0, 0, 0] ^= 1
    elif what == "label":
        labels[first] = 1
    else:
        pixels = pixels.flip(0)
        labels = labels.flip(0)
    write_source(path, ImageSet(pixels, labels, NAMES))
    with pytest.raises(DistailError, match=r"has changed since the set was made.*--train SOURCE"):
        training_images_of(made)


@pytest.mark.parametrize("provenance", [{}, {"recipe": {}}, {"recipe": {"data": {"source": "digits"}}}])
def test_a_set_of_unknown_origin_says_so(run, provenance):
    made = load_distilled(run)
    unknown = DistilledSet(made.images, made.labels, made.class_names, made.preprocessing, provenance=provenance)
    with pytest.raises(DistailError, match=r"does not say which data.*--train SOURCE"):
        training_images_of(unknown)


def test_an_unreadable_image_is_named(tmp_path):
    for label, name in enumerate(NAMES):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (8, 8), (80 * label, 10 * number, 0)).save(tmp_path / "photos" / name / f"{number}.png")
    (tmp_path / "photos" / "bee" / "broken.png").write_bytes(b"no image")
    said = []

    class Listening(Killing):
        def say(self, message: str) -> None:
            said.append(message)

    data = DataRecipe(source=str(tmp_path / "photos"))
    assert load_training_images(data, Listening(100)).images.class_counts == (3, 3, 3)
    assert len(said) == 1
    assert "left out, unreadable" in said[0]
    assert "broken.png" in said[0]
    with pytest.raises(DistailError, match=r"broken\.png"):
        load_training_images(data.model_copy(update={"strict": True}))


# Images set aside


def test_held_out_images_are_never_trained_on(source):
    recipe = recipe_for(source, method="random", settings={}, data={"holdout": 0.25, "imbalance": 2.0})
    training = load_training_images(recipe.data)
    held_out = held_out_images(recipe.data, (8, 8))
    assert held_out.class_counts == (3, 3, 3)
    assert training.images.class_counts[0] == 9
    everything = load(source)
    assert torch.equal(everything.images[training.kept], training.images.images)
    seen = {image.numpy().tobytes() for image in training.images.images}
    assert not seen & {image.numpy().tobytes() for image in held_out.images}
    other_seed = recipe.model_copy(update={"seed": 5})
    assert load_training_images(other_seed.data).images.content_hash == training.images.content_hash


def test_kept_positions_are_positions_in_the_source():
    everything = images_of((20, 10, 10), 3)
    for parts in ({}, {"imbalance": 4.0}, {"holdout": 0.2}, {"imbalance": 4.0, "holdout": 0.2}):
        found = training_images(everything, **parts)
        assert found.source_hash == everything.content_hash
        assert (found.kept is None) == (not parts)
        kept = torch.arange(40) if found.kept is None else found.kept
        assert torch.equal(everything.images[kept], found.images.images)
        assert len(set(kept.tolist())) == len(kept)


# In one call


def test_images_in_memory_make_the_same_set(tmp_path, source, run):
    made = distill_in_one_call(
        load(source),
        "dm",
        images_per_class=2,
        imbalance=4.0,
        architecture=ARCHITECTURE,
        device="cpu",
        precision="fp32",
        out=tmp_path / "run",
        iterations=ITERATIONS,
        real_batch=4,
        image_lr=0.5,
    )
    assert_same_set(made, load_distilled(run))
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES
    assert made.provenance["data_sha256"] == load_distilled(run).provenance["data_sha256"]


def test_other_images_in_memory_do_not_resume(tmp_path):
    settings = {"method": "random", "images_per_class": 1, "out": tmp_path / "run"}
    made = distill_in_one_call(images_of((4, 4, 4), 1), **settings)
    assert_same_set(distill_in_one_call(images_of((4, 4, 4), 1), resume=True, **settings), made)
    with pytest.raises(DistailError, match="holds a run on other images"):
        distill_in_one_call(images_of((4, 4, 4), 2), resume=True, **settings)


def test_images_in_memory_are_not_found_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = distill_in_one_call(images_of((4, 4, 4), 1), "random", images_per_class=1)
    with pytest.raises(DistailError, match="memory"):
        training_images_of(made)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"images_per_class": 0}, "distail.distill: 'images_per_class'"),
        ({"preprocessing": "zka"}, "'preprocessing': input should be"),
        ({"imbalance": -1.0}, "'data.imbalance'"),
        ({"holdout": 1.0}, "'data.holdout'"),
        ({"iterationz": 3}, "unknown key 'iterationz'"),
    ],
)
def test_bad_arguments_are_clear_errors(arguments, match):
    with pytest.raises(DistailError, match=match):
        distill_in_one_call(images_of((4, 4, 4), 1), **arguments)


def test_the_set_knows_its_training_images_and_no_others():
    images = distail.load("digits")
    made = distail.distill(images, "random", images_per_class=1, imbalance=50, architecture="convnet1-w8")
    kept = distail.make_long_tailed(images, 50).images
    assert made.training_fingerprints is not None
    assert set(made.training_fingerprints.tolist()) == set(kept.fingerprints.tolist())


def test_a_class_of_one_image_cannot_be_held_out():
    with pytest.raises(DistailError, match="class 'bee' has a single image"):
        training_images(images_of((4, 1, 4), seed=1), holdout=0.2)
    assert len(training_images(images_of((4, 1, 4), seed=1)).images) == 9


def test_a_source_without_test_images_is_pointed_out_before_the_work(tmp_path):
    images = images_of((6, 6, 6), seed=1)
    path = tmp_path / "only.npz"
    np.savez(path, images=images.images.permute(0, 2, 3, 1).numpy(), labels=images.labels.numpy())
    for holdout, expected in ((None, 1), (0.2, 0)):
        said = Said()
        recipe = Recipe(
            data=DataRecipe(source=str(path), holdout=holdout),
            method="random",
            images_per_class=1,
            architecture=ARCHITECTURE,
        )
        distill(recipe, progress=said)
        assert sum("no test split" in message for message in said.messages) == expected


# Teachers and training that come with a set


@pytest.fixture(scope="module")
def taught(tmp_path_factory, source) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "taught"
    distill(recipe_for(source, method="tests.methods.with_teacher", settings={}), out=folder)
    return folder


def test_teacher_and_training_are_kept_with_the_run(taught, run):
    manifest = read_json(taught / "manifest.json")
    assert manifest["teacher"] == "teacher.safetensors"
    teacher = load_network(taught / "teacher.safetensors")
    assert (teacher.architecture, teacher.class_names) == (ARCHITECTURE, NAMES)
    assert load_distilled(taught).training == TRAINING
    assert read_json(run / "manifest.json")["teacher"] is None
    assert not (run / "teacher.safetensors").exists()
    assert load_distilled(run).training is None


def test_a_run_without_its_teacher_is_not_finished(tmp_path, source):
    recipe = recipe_for(source, method="tests.methods.with_teacher", settings={})
    distill(recipe, out=tmp_path / "run")
    file = tmp_path / "run" / "teacher.safetensors"
    first = load_network(file).network.classifier.weight
    assert RunFolder(tmp_path / "run").is_complete
    file.unlink()
    assert not RunFolder(tmp_path / "run").is_complete
    distill(recipe, out=tmp_path / "run", resume=True)
    assert torch.equal(load_network(file).network.classifier.weight, first)
    assert RunFolder(tmp_path / "run").is_complete
