"""`distail distill`: what is told, what is written, and that every flag arrives."""

import json
from pathlib import Path

import pytest
import torch

from distail.artifact import read_json
from distail.distilled import load_distilled
from distail.recipe import load_recipe
from tests.cli.calling import DM, NETWORK, assert_clear_refusal, call, contents, succeed, write_npz
from tests.data.sources.builders import pixels, write_folder
from tests.evaluation.separable import NAMES, images_of

FILES = {"manifest.json", "recipe.yaml", "metrics.jsonl", "start.safetensors", "distilled.safetensors", "images.png"}

MODULE = """
import torch
from distail import Method, Problem, Synthetic

class Dimmed(Method):
    paper = "none"
    summary = "the first images of each class, dimmed"
    factor: float = 0.5

    def distill(self, problem):
        ipc, classes = problem.images_per_class, range(problem.num_classes)
        indices = torch.cat([problem.train.indices_of(label)[:ipc] for label in classes])
        labels = torch.arange(problem.num_classes).repeat_interleave(ipc)
        return Synthetic(self.factor * problem.real(indices), labels)
"""


def same_bits(first, second) -> bool:
    one, two = load_distilled(first), load_distilled(second)
    return torch.equal(one.images, two.images) and torch.equal(one.labels, two.labels)


def test_the_facts_are_told_and_the_run_is_kept(source, tmp_path):
    shown = succeed("distill", source, *DM, "--ipc", 2, "--imbalance", 4, "--out", "mine")
    assert "21 real images in 3 classes (largest 12, smallest 3) became 6 images, 2 per class, by dm" in shown.flat
    assert "Next: distail evaluate mine" in shown.out
    assert {path.name for path in (tmp_path / "mine").iterdir()} == FILES
    assert read_json(tmp_path / "mine" / "manifest.json")["status"] == "complete"
    assert len((tmp_path / "mine" / "metrics.jsonl").read_text().splitlines()) == 3
    assert load_distilled("mine").class_counts == (2, 2, 2)


def test_every_flag_reaches_the_recipe(source):
    flags = ("--preprocessing", "zca", "--seed", 7, "--precision", "fp32", "--device", "cpu", "--holdout", 0.25)
    succeed("distill", source, *DM, *flags, "--ipc", 1, "--imbalance", 2, "--image-size", 9, "--strict", "--out", "r")
    recipe = load_recipe("r/recipe.yaml").model_dump(exclude={"evaluation", "test"})
    assert recipe == {
        "data": {"source": str(source), "imbalance": 2.0, "holdout": 0.25, "image_size": 9, "strict": True},
        "method": "dm",
        "settings": {"iterations": 3, "real_batch": 4, "image_lr": 0.5},
        "images_per_class": 1,
        "preprocessing": "zca",
        "architecture": NETWORK,
        "seed": 7,
        "device": "cpu",
        "precision": "fp32",
    }
    assert load_distilled("r").image_shape == (3, 9, 9)


def test_json_is_one_object_and_nothing_else(source):
    outcome = call("distill", source, "--method", "random", "--ipc", 2, "--out", "r", "--json")
    assert outcome.err == ""
    assert outcome.out.count("\n") == 1
    assert {key: outcome.json[key] for key in ("run", "images", "classes", "real_images")} == {
        "run": "r",
        "images": 6,
        "classes": 3,
        "real_images": 36,
    }
    assert outcome.json["bytes"] >= 6 * 3 * 8 * 8 * 4


def test_unreadable_images_are_named_unless_quiet(tmp_path):
    folder = write_folder(tmp_path / "birds", {"jay": pixels(3), "owl": pixels(3, seed=1)})
    (folder / "owl" / "broken.png").write_bytes(b"no image")
    loud = succeed("distill", folder, "--method", "random", "--ipc", 1, "--out", "loud")
    assert f"left out, unreadable: {folder / 'owl' / 'broken.png'}" in loud.err
    quiet = succeed("distill", folder, "--method", "random", "--ipc", 1, "--out", "quiet", "--quiet")
    assert quiet.err == ""
    assert same_bits("loud", "quiet")


def test_training_on_a_source_names_unreadable_images_too(tmp_path):
    folder = write_folder(tmp_path / "birds", {"jay": pixels(3), "owl": pixels(3, seed=1)})
    (folder / "owl" / "broken.png").write_bytes(b"no image")
    quick = ("--epochs", 1, "--arch", NETWORK, "--augmentation", "none", "--out", tmp_path / "n.safetensors")
    said = succeed("train", folder, *quick).err
    assert f"left out, unreadable: {folder / 'owl' / 'broken.png'}" in said


def test_the_folder_is_named_after_the_run(source):
    named = succeed("distill", source, "--method", "random", "--ipc", 1, "--imbalance", 4, "--seed", 3, "--json").json
    assert named["run"] == "runs/pets-random-ipc1-if4-s3"
    assert load_distilled(named["run"]).num_classes == 3


@pytest.mark.parametrize(("one", "other"), [(50, 0.02), (4, 0.25)])
def test_both_notations_of_imbalance_keep_the_same_images(one, other):
    manifests = []
    for value in (one, other):
        succeed("distill", "digits", "--method", "random", "--ipc", 1, "--imbalance", value, "--out", f"if{value}")
        manifests.append(read_json(Path(f"if{value}") / "manifest.json"))
    first, second = (manifest["data"] for manifest in manifests)
    assert len(first["kept_indices"]) == first["num_images"] == sum(first["class_counts"])
    assert first["class_counts"][0] > first["class_counts"][-1]
    assert first["kept_indices"] == second["kept_indices"]
    assert first["kept_indices_sha256"] == second["kept_indices_sha256"]


def test_the_seed_decides(source):
    for out, seed in (("a", 0), ("b", 0), ("c", 1)):
        succeed("distill", source, *DM, "--ipc", 1, "--seed", seed, "--out", out)
    assert same_bits("a", "b")
    assert not same_bits("a", "c")


def test_settings_change_the_result(source):
    succeed("distill", source, *DM, "--ipc", 1, "--out", "three")
    succeed("distill", source, *DM, "--set", "iterations=4", "--ipc", 1, "--out", "four")  # the last one counts
    assert len(Path("four/metrics.jsonl").read_text().splitlines()) == 4
    assert not same_bits("three", "four")


def test_resume_returns_a_finished_run_as_it_is(source, tmp_path):
    command = ("distill", source, *DM, "--ipc", 1, "--out", "r")
    succeed(*command)
    before = contents(tmp_path)
    assert_clear_refusal(call(*command), "r holds this same run, and it is finished", "--resume", "nothing was touched")
    assert contents(tmp_path) == before
    again = succeed(*command, "--resume").out
    assert "The run in r was finished before; nothing was done." in again
    assert "became" not in again
    assert "Next: distail evaluate r" in again
    more = call(*command, "--set", "iterations=9", "--resume")
    assert_clear_refusal(
        more, "The run in r is finished", "only an unfinished run", "(3 there, 9 asked)", "another --out"
    )
    assert contents(tmp_path) == before


def test_an_unfinished_run_says_what_it_made(source, tmp_path):
    command = ("distill", source, *DM, "--ipc", 1, "--out", "r", "--resume")
    assert "became 3 images" in succeed(*command).out
    (tmp_path / "r" / "distilled.safetensors").unlink()
    assert "became 3 images" in succeed(*command).out


@pytest.mark.parametrize("method", ["random", "dm"])
def test_more_images_than_a_class_has_are_worth_one_line(tmp_path, method):
    path = write_npz(tmp_path / "one.npz", train=images_of((9, 3, 2), 1), test=images_of((2, 2, 2), 2))
    flags = DM if method == "dm" else ("--method", method)
    told = succeed("distill", path, *flags, "--ipc", 3, "--out", "three").err
    assert f"--ipc 3 is more than these classes have images: {NAMES[2]} (2). Methods that start from real" in told
    told = succeed("distill", path, *flags, "--ipc", 4, "--out", "four").err
    assert told.count(f"have images: {NAMES[2]} (2), {NAMES[1]} (3). ") == 1
    assert "more than" not in succeed("distill", path, *flags, "--ipc", 2, "--out", "two").err


def test_few_of_many_small_classes_are_named(tmp_path):
    many = images_of((9, 1, 2, 1, 1, 1, 1), 1, class_names=tuple("abcdefg"))
    path = write_npz(tmp_path / "many.npz", images=many)
    told = succeed("distill", path, "--method", "random", "--ipc", 3, "--out", "r").err
    assert "have images: b (1), d (1), e (1), f (1), g (1) and 1 more. Methods" in told


def test_holdout_sets_test_images_aside(tmp_path):
    path = write_npz(tmp_path / "one.npz", images=images_of((8, 8, 8), 1))
    made = succeed("distill", path, "--method", "random", "--ipc", 2, "--holdout", 0.25, "--out", "r", "--json").json
    assert made["real_images"] == 18
    scored = succeed("evaluate", "r", "--arch", NETWORK, "--epochs", 1, "--seeds", 1, "--json").json
    assert scored["provenance"]["test"]["images"] == 6
    succeed("distill", path, "--method", "random", "--ipc", 2, "--out", "whole")
    assert_clear_refusal(call("evaluate", "whole", "--seeds", 1), str(path), "no test split", "--test")


def test_a_method_of_ones_own(source, tmp_path, monkeypatch):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "dimming_method.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    method = ("--method", "dimming_method", "--ipc", 1)
    succeed("distill", source, *method, "--out", "half")
    succeed("distill", source, *method, "--set", "factor=0.25", "--out", "quarter")
    assert torch.allclose(load_distilled("half").images, 2 * load_distilled("quarter").images)
    assert load_recipe("half/recipe.yaml").method == "dimming_method"
    refused = call("distill", source, *method, "--set", "facter=1", "--out", "never")
    assert_clear_refusal(refused, "dimming_method", "facter", "Did you mean 'factor'?")
    # What it made is a set like any other.
    succeed("evaluate", "half", "--arch", NETWORK, "--epochs", 1, "--seeds", 1)


def test_what_learned_is_logged_as_json_lines(dm_run):
    rows = [json.loads(line) for line in (dm_run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1, 2]
    assert all(row["loss"] > 0 for row in rows)


def test_resuming_says_what_goes_on_and_what_starts_anew(source, tmp_path, monkeypatch):
    from distail.teachers import teaching

    def killed(*_: object, **__: object) -> None:
        (tmp_path / "experts" / "teachers" / "unfinished").mkdir(parents=True)
        (tmp_path / "experts" / "teachers" / "unfinished" / "1.safetensors").write_bytes(b"half a teacher")
        raise KeyboardInterrupt

    command = ("distill", source, "--ipc", 1, "--arch", NETWORK, "--out", "r")
    with monkeypatch.context() as patch:
        patch.setattr(teaching, "fit", killed)
        assert call(*command).code == 130
    assert_clear_refusal(call(*command), "holds this same run, and it is not finished", "--resume")
    (tmp_path / "experts" / "teachers" / "unfinished" / "1.safetensors").touch()
    with monkeypatch.context() as patch:
        patch.setattr(teaching, "fit", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        told = call(*command, "--resume").err
    assert "go on from what is kept of these in experts" in told
    assert "starting anew" not in told


def test_files_that_were_left_out_are_kept_in_the_manifest_and_shown(tmp_path):
    folder = write_folder(tmp_path / "birds", {"jay": pixels(3), "owl": pixels(4)})
    (folder / "owl" / "torn.png").write_bytes(b"no image")
    succeed("distill", folder, "--method", "random", "--ipc", 1, "--arch", NETWORK, "--out", "r")
    (left_out,) = json.loads(Path("r/manifest.json").read_text())["unreadable"]
    assert left_out["where"].endswith("torn.png")
    succeed("report", "r")
    page = Path("r/report.html").read_text()
    assert "unreadable files" in page
    assert "torn.png" in page
