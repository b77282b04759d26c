"""Bad input of every kind: exit code 2, one paragraph that says what to do, and nothing written or changed."""

import errno
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from distail.data.image_set import ImageSet
from tests.cli.calling import (
    DM,
    NETWORK,
    QUICK,
    assert_clear_refusal,
    call,
    contents,
    pets,
    succeed,
    write_npz,
)
from tests.data.sources.builders import encoded, hugging_face_table, pixels, write_folder, write_parquet
from tests.evaluation.separable import images_of

RANDOM = ("--method", "random", "--ipc", 1)
NETWORK_FILE = "network.safetensors"


@pytest.fixture
def refused(tmp_path, shared):
    """Calls a command that must be refused, naming these things, without a trace in any folder."""

    def call_and_check(*arguments: object, names: tuple[str, ...]) -> str:
        before = contents(tmp_path, shared)
        message = assert_clear_refusal(call(*arguments), *names)
        assert contents(tmp_path, shared) == before
        return message

    return call_and_check


def reading(source: object) -> dict[str, tuple[object, ...]]:
    """The commands that read training images."""
    return {
        "check": ("check", source, "--arch", NETWORK),
        "distill": ("distill", source, *RANDOM),
        "train": ("train", source, "--out", NETWORK_FILE, "--arch", NETWORK, "--epochs", 1),
    }


READERS = tuple(reading(""))


# Sources


@pytest.mark.parametrize("command", [*READERS, "evaluate"])
def test_no_such_source(refused, command):
    calls = {**reading("digitz"), "evaluate": ("evaluate", "digitz", *QUICK)}
    refused(*calls[command], names=("digitz", "Did you mean 'digits'?", "A source is one of"))


def test_no_such_test_source(refused, run):
    refused("evaluate", run, *QUICK, "--test", "nowhere/birds", names=("nowhere/birds",))
    refused("check", "digits", "--test", "nowhere/birds", names=("nowhere/birds",))


def test_no_such_split(refused, run, source):
    refused("evaluate", run, *QUICK, "--test", f"{source}#holiday", names=("holiday", "train, test"))
    refused("distill", f"{source}#holiday", *RANDOM, names=("holiday", "train, test"))


def test_no_such_run(refused):
    refused("export", "runs/nothing", "--out", "set.parquet", names=("runs/nothing",))
    refused("evaluate", "runs/nothing", names=("runs/nothing",))


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("inside", ["nothing", "a text", "images", "empty class folders"])
def test_a_folder_without_classes(refused, tmp_path, command, inside):
    folder = tmp_path / "birds"
    folder.mkdir()
    if inside == "a text":
        (folder / "notes.txt").write_text("to do")
    if inside == "images":
        (folder / "1.png").write_bytes(encoded(pixels(1)[0]))
    if inside == "empty class folders":
        write_folder(folder, {"jay": [], "owl": []})
    refused(*reading(folder)[command], names=(str(folder),))


@pytest.mark.parametrize("command", READERS)
def test_one_class_only(refused, tmp_path, command):
    folder = write_folder(tmp_path / "birds", {"jay": pixels(3)})
    refused(*reading(folder)[command], names=(str(folder), "only one class", "jay"))


@pytest.mark.parametrize("command", ["distill", "train"])
def test_an_empty_class(refused, tmp_path, command):
    folder = write_folder(tmp_path / "birds", {"jay": pixels(3), "owl": pixels(3, seed=1), "void": []})
    refused(*reading(folder)[command], names=(str(folder), "no image in class void"))


def test_an_empty_class_in_test_data(refused, run, tmp_path):
    folder = write_folder(tmp_path / "pets", {"ant": pixels(2), "bee": pixels(2, seed=1), "cow": []})
    refused("evaluate", run, *QUICK, "--test", folder, names=(str(folder), "no image in class cow"))


def damaged(folder: Path, *, all_of_them: bool = False) -> Path:
    images = pixels(8)
    write_folder(folder, {"jay": images[:4], "owl": images[4:]})
    files = sorted(folder.rglob("*.png"))
    for file in files if all_of_them else files[:1]:
        file.write_bytes(file.read_bytes()[:60])
    (folder / "owl" / "note.jpg").write_text("no image at all")
    return folder


def test_unreadable_images_are_named_and_left_out(refused, tmp_path):
    folder = damaged(tmp_path / "birds")
    told = succeed("distill", folder, *RANDOM, "--out", "run")
    for name in ("jay/000.png", "owl/note.jpg"):
        assert f"left out, unreadable: {folder / name}" in told.err
    assert "7 real images" in told.out


@pytest.mark.parametrize("command", ["check", "distill"])
def test_unreadable_images_are_refused_if_strict(refused, tmp_path, command):
    folder = damaged(tmp_path / "birds")
    refused(*reading(folder)[command], "--strict", names=(str(folder / "jay/000.png"), str(folder / "owl/note.jpg")))


@pytest.mark.parametrize("command", READERS)
def test_no_readable_image(refused, tmp_path, command):
    folder = damaged(tmp_path / "birds", all_of_them=True)
    refused(*reading(folder)[command], names=(str(folder), "none of the 9 images can be read"))


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize(
    ("label", "reason"),
    [(2, "beyond the 2 class names in row 3"), (-1, "negative in row 3"), (None, "no label in row 3")],
)
def test_impossible_labels(refused, tmp_path, command, label, reason):
    images = [encoded(image) for image in pixels(4)]
    path = write_parquet(tmp_path / "birds.parquet", hugging_face_table(images, [0, 1, 0, label], ("jay", "owl")))
    refused(*reading(path)[command], names=(str(path), reason))


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize(("value", "reason"), [(float("nan"), "NaN"), (float("inf"), "infinite"), (300.0, "300")])
def test_impossible_pixels(refused, tmp_path, command, value, reason):
    images = np.random.default_rng(0).random((4, 8, 8, 3), dtype=np.float32)
    images[2, 1, 1, 0] = value
    np.savez(tmp_path / "birds.npz", images=images, labels=np.array([0, 1, 0, 1]))
    refused(*reading(tmp_path / "birds.npz")[command], names=("birds.npz", reason))


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("name", ["birds.npz", "birds.parquet", "birds.txt"])
def test_a_file_of_another_kind(refused, tmp_path, command, name):
    (tmp_path / name).write_bytes(b"\x00\x01 something else")
    refused(*reading(tmp_path / name)[command], names=(name,))


def test_an_archive_of_python_objects_is_never_loaded(refused, tmp_path):
    mark = tmp_path / "harm done"
    objects = np.array([Harmful(mark)] * 4, dtype=object)
    np.savez(tmp_path / "birds.npz", images=objects, labels=np.array([0, 1, 0, 1]))
    refused(*reading(tmp_path / "birds.npz")["distill"], names=("birds.npz", "could run code"))
    assert not mark.exists()


@pytest.mark.parametrize("command", READERS)
def test_images_of_different_sizes(refused, tmp_path, command):
    folder = write_folder(tmp_path / "birds", {"jay": pixels(3, (9, 12, 3)), "owl": pixels(3, (10, 10, 3))})
    refused(*reading(folder)[command], names=(str(folder), "9x12", "10x10", "--image-size 9"))


@pytest.mark.parametrize("command", READERS)
def test_images_that_are_too_small(refused, tmp_path, command):
    folder = write_folder(tmp_path / "birds", {"jay": pixels(3, (4, 4, 3)), "owl": pixels(3, (4, 4, 3))})
    refused(*reading(folder)[command], names=(str(folder), "4x4", "--image-size 8"))


# Test data that do not belong to the set


def renamed(images: ImageSet, *names: str) -> ImageSet:
    return ImageSet(images.images, images.labels, names)


def test_other_classes_in_test_data(refused, run, tmp_path):
    path = write_npz(tmp_path / "others.npz", images=renamed(pets((2, 2, 2), 3), "ant", "bee", "dog"))
    refused("evaluate", run, *QUICK, "--test", path, names=("'cow'", "'dog'"))


def test_another_order_of_the_same_classes_in_test_data(refused, run, tmp_path):
    path = write_npz(tmp_path / "turned.npz", images=renamed(pets((2, 2, 2), 3), "cow", "ant", "bee"))
    refused("evaluate", run, *QUICK, "--test", path, names=("orders them 'cow', 'ant', 'bee'",))


@pytest.mark.parametrize("names", [("cow", "ant", "bee"), ("ant", "bee", "dog")])
def test_another_order_or_other_classes_in_training_data_or_the_run(refused, run, source, tmp_path, names):
    path = write_npz(tmp_path / "turned.npz", images=renamed(pets((9, 9, 9), 3), *names))
    differing = (f"'{names[0]}'",) if names[0] == "cow" else ("'dog'",)
    refused("evaluate", run, *QUICK, "--reference", "full", "--train", path, names=differing)
    refused("evaluate", path, *QUICK, "--like", run, "--test", source, names=differing)


def test_test_images_of_another_size(refused, run, tmp_path):
    path = write_npz(tmp_path / "large.npz", images=images_of((2, 2, 2), 3, (3, 12, 12)))
    refused("evaluate", run, *QUICK, "--test", path, names=(str(path), "12x12", "8x8", "--image-size 8"))


def test_test_images_of_different_sizes(refused, run, tmp_path):
    images = {"ant": pixels(2), "bee": pixels(2, seed=1), "cow": pixels(2, (9, 9, 3))}
    folder = write_folder(tmp_path / "pets", images)
    refused("evaluate", run, *QUICK, "--test", folder, names=(str(folder), "9x9", "8x8"))


def test_test_images_of_other_channels(refused, run, tmp_path):
    path = write_npz(tmp_path / "gray.npz", images=images_of((2, 2, 2), 3, (1, 8, 8)))
    refused("evaluate", run, *QUICK, "--test", path, names=("(1, 8, 8)", "(3, 8, 8)"))


@pytest.mark.parametrize("form", ["split", "copy"])
def test_the_training_data_as_test_data(refused, run, source, tmp_path, form):
    copy = write_npz(tmp_path / "copy.npz", images=pets((12, 12, 12), 1))
    test = f"{source}#train" if form == "split" else copy
    refused("evaluate", run, *QUICK, "--test", test, names=("the very data the set was made from", str(test)[:-6]))


# Numbers


@pytest.mark.parametrize("ipc", [0, -1, -(10**9), "ten", 1.5])
def test_impossible_images_per_class(refused, source, ipc):
    refused("distill", source, "--method", "random", "--ipc", ipc, names=(str(ipc),))


@pytest.mark.parametrize("ipc", [10**9, 10**20])
@pytest.mark.parametrize("method", ["random", "dm"])
def test_more_images_than_memory(refused, source, monkeypatch, method, ipc):
    monkeypatch.setattr("distail.methods.random.Random.distill", None)  # it must not come to that
    monkeypatch.setattr("distail.methods.dm.DM.distill", None)
    flags = ("--method", method, "--arch", NETWORK, "--ipc", ipc)
    refused("distill", source, *flags, names=(str(3 * ipc), "GiB", "--ipc"))


def test_no_memory_at_all(refused, source, monkeypatch):
    monkeypatch.setattr("distail.estimate.available_memory_bytes", lambda device: 1000)
    refused("distill", source, *RANDOM, names=("3 synthetic images (1 per class)", "GiB", "--ipc"))


@pytest.mark.parametrize(
    "failure",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    ],
)
def test_memory_that_runs_out_all_the_same(source, monkeypatch, failure):
    def fail(*arguments):
        raise failure

    monkeypatch.setattr("distail.methods.random.Random.distill", fail)
    assert_clear_refusal(call("distill", source, *RANDOM, "--out", "run"), "not enough memory", "--ipc")


def test_a_bug_is_no_bad_input(source, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr("distail.methods.random.Random.distill", fail)
    with pytest.raises(RuntimeError, match="shapes"):
        call("distill", source, *RANDOM, "--out", "run")


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("value", ["nan", "inf", "0", "-3"])
def test_impossible_imbalance(refused, source, command, value):
    refused(*reading(source)[command], f"--imbalance={value}", names=("mbalance", value))


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("value", ["1000", "0.001"])
def test_more_imbalance_than_the_head_class_allows(refused, source, command, value):
    named = (f"Imbalance {value}", "the head has 12", "at most 12")
    refused(*reading(source)[command], "--imbalance", value, names=named)


@pytest.mark.parametrize(
    ("command", "flag", "value", "key"),
    [
        ("evaluate", "--epochs", 0, "epochs"),
        ("evaluate", "--seeds", 0, "seeds"),
        ("evaluate", "--full-epochs", 0, "full_epochs"),
        ("evaluate", "--batch-size", 0, "batch_size"),
        ("evaluate", "--lr", 0.0, "learning_rate"),
        ("evaluate", "--lr", "nan", "learning_rate"),
        ("evaluate", "--augmentation", "colour", "colour"),
        ("train", "--epochs", 0, "epochs"),
        ("train", "--batch-size", -1, "batch_size"),
        ("train", "--augmentation", "flip_colour", "colour"),
        ("train", "--holdout", 1.5, "1.5"),
        ("train", "--image-size", 4, "4"),
        ("distill", "--holdout", 1.0, "holdout"),
        ("distill", "--holdout", 0.0, "holdout"),
        ("distill", "--image-size", 4, "image_size"),
        ("check", "--ipc", 0, "--ipc 0"),
        ("check", "--image-size", 4, "4x4"),
    ],
)
def test_impossible_numbers(refused, run, source, command, flag, value, key):
    calls = {**reading(source), "evaluate": ("evaluate", run)}
    start = [part for part in calls[command] if command != "train" or part not in ("--epochs", 1)]
    refused(*start, flag, value, names=(key, str(value)))


# Names


@pytest.mark.parametrize("command", ["check", "distill"])
def test_unknown_method(refused, source, command):
    refused(command, source, "--method", "herdin", names=("herdin", "Did you mean 'herding'?"))
    refused(command, source, "--method", "my.own.method", names=("my.own.method", "cannot be imported"))


@pytest.mark.parametrize("command", [*READERS, "evaluate"])
def test_unknown_architecture(refused, run, source, command):
    calls = {**reading(source), "evaluate": ("evaluate", run)}
    start = [part for part in calls[command] if part not in ("--arch", NETWORK)]
    refused(*start, "--arch", "convnet33", names=("convnet33", "Did you mean 'convnet3'?"))


@pytest.mark.parametrize("command", ["check", "distill"])
@pytest.mark.parametrize(
    ("setting", "names"),
    [
        ("iteration=3", ("iteration", "Did you mean 'iterations'?")),
        ("iterations=0", ("iterations", "0")),
        ("iterations=many", ("iterations", "many")),
        ("iterations", ("iterations", "NAME=VALUE")),
        ("iterations=[1", ("iterations=[1", "NAME=VALUE")),
    ],
)
def test_impossible_settings(refused, source, command, setting, names):
    refused(command, source, "--method", "dm", "--set", setting, names=names)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("distil", "digits"), ("distil", 'Did you mean "distill"?')),
        (("distill", "digits", "--ips", 3), ("--ips", "Did you mean --ipc?")),
        (("distill",), ("SOURCE", "--help")),
        (("export", "run"), ("--out", "--help")),
        (("distill", "digits", "--preprocessing", "zka"), ("zka", "zca")),
        (("evaluate", "run", "--labels", "soft"), ("soft", "static")),
        (("evaluate", "run", "--reference", "best"), ("best", "random")),
        (("distill", "digits", "--device", "gpu"), ("gpu", "cuda")),
        (("distill", "digits", "--ipc"), ("--ipc",)),
        (("methods", "extra"), ("extra",)),
    ],
)
def test_impossible_command_lines(refused, arguments, names):
    refused(*arguments, names=names)


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there(refused, run, source, monkeypatch, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for command in (*reading(source).values(), ("evaluate", run, *QUICK)):
        refused(*command, "--device", device, names=(device, "--device cpu"))


# Teachers


def test_the_teacher_protocol_without_a_teacher(refused, run):
    refused("evaluate", run, *QUICK, "--labels", "teacher", names=("--labels teacher", "--teacher FILE"))
    refused("train", run, "--labels", "teacher", "--out", NETWORK_FILE, names=("--labels teacher", "--teacher FILE"))


def test_a_teacher_that_nobody_asks(refused, run, teacher):
    refused("evaluate", run, *QUICK, "--teacher", teacher, names=("--labels teacher",))
    refused("train", run, "--teacher", teacher, "--out", NETWORK_FILE, names=("--labels teacher",))


def test_a_teacher_for_real_images(refused, source, teacher):
    flags = ("--labels", "teacher", "--teacher", teacher, "--out", NETWORK_FILE)
    refused("train", source, *flags, names=(str(source), "--labels teacher"))


@pytest.mark.parametrize("kind", ["missing", "a set", "of other classes", "of other images"])
def test_an_unsuitable_teacher(refused, run, tmp_path, kind):
    file, names = tmp_path / "teacher.safetensors", ("teacher.safetensors",)
    if kind == "a set":
        file, names = run / "distilled.safetensors", ("distilled set", "network")
    if kind.startswith("of other"):
        shape = (3, 8, 8) if kind == "of other classes" else (3, 9, 9)
        classes = ("ant", "bee", "dog") if kind == "of other classes" else ("ant", "bee", "cow")
        path = write_npz(tmp_path / "others.npz", images=renamed(images_of((4, 4, 4), 3, shape), *classes))
        succeed("train", path, "--arch", NETWORK, "--epochs", 1, "--out", file)
        names = ("'dog'", "the teacher") if kind == "of other classes" else ("(3, 9, 9)", "(3, 8, 8)")
    flags = ("--labels", "teacher", "--teacher", file)
    refused("evaluate", run, *QUICK, *flags, names=names)


# Occupied places


def test_a_folder_that_holds_another_run(refused, run, source):
    refused("distill", source, *RANDOM, "--out", run, names=(str(run), "holds another run", "--resume"))
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


# Damaged and foreign files


class Harmful:
    """Touches a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("command", ["evaluate", "train", "export"])
@pytest.mark.parametrize("damage", ["cut", "changed", "a pickle", "a torch file", "empty", "a network"])
def test_a_set_that_is_not_what_it_was(refused, run, teacher, tmp_path, command, damage):
    file, mark = tmp_path / "distilled.safetensors", tmp_path / "harm done"
    whole = (run / "distilled.safetensors").read_bytes()
    changed = whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:]
    content = {
        "cut": whole[: len(whole) // 2],
        "changed": changed,
        "a pickle": pickle.dumps(Harmful(mark)),
        "empty": b"",
        "a network": teacher.read_bytes(),
    }
    if damage == "a torch file":
        torch.save({"images": Harmful(mark)}, file)
    else:
        file.write_bytes(content[damage])
    calls = {
        "evaluate": ("evaluate", file, *QUICK),
        "train": ("train", file, "--out", NETWORK_FILE),
        "export": ("export", file, "--out", "set.parquet"),
    }
    refused(*calls[command], names=(str(file),))
    assert not mark.exists()


@pytest.mark.parametrize("command", ["evaluate", "train", "export"])
def test_a_run_that_is_not_finished(refused, run, tmp_path, command):
    folder = tmp_path / "begun"
    folder.mkdir()
    for name in ("recipe.yaml", "manifest.json"):
        (folder / name).write_text((run / name).read_text().replace('"complete"', '"running"'))
    calls = {
        "evaluate": ("evaluate", folder, *QUICK),
        "train": ("train", folder, "--out", NETWORK_FILE),
        "export": ("export", folder, "--out", "set.parquet"),
    }
    refused(*calls[command], names=(str(folder), "no finished distilled set", "--resume"))


def test_a_set_whose_data_are_gone(refused, tmp_path):
    path = write_npz(tmp_path / "pets.npz", train=pets((4, 4, 4), 1), test=pets((2, 2, 2), 2))
    succeed("distill", path, *RANDOM, "--out", "run")
    path.unlink()
    refused("evaluate", "run", *QUICK, names=("pets.npz",))


def test_a_set_whose_data_have_changed(refused, tmp_path):
    path = write_npz(tmp_path / "pets.npz", train=pets((4, 4, 4), 1), test=pets((2, 2, 2), 2))
    succeed("distill", path, *RANDOM, "--out", "run")
    write_npz(path, train=pets((5, 4, 4), 1), test=pets((2, 2, 2), 2))
    refused("evaluate", "run", *QUICK, "--reference", "full", names=("pets.npz", "has changed", "--train"))


# Recipes


def test_a_missing_recipe(refused, tmp_path):
    refused("run", "recipes/nothing.yaml", names=("recipes/nothing.yaml",))
    refused("run", tmp_path, names=(str(tmp_path), "Is a directory"))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("data: [", ("not valid YAML",)),
        ("\x00\x01", ("not valid YAML",)),
        ("data: !!python/object/apply:os.getcwd []", ("not valid YAML",)),
        ("", ("holds no settings",)),
        ("- dm", ("holds no settings",)),
        ("data: {source: digits}\nmethd: dm", ("methd", "Did you mean 'method'?")),
        ("data: {source: digits, imbalence: 3}", ("imbalence", "Did you mean 'imbalance'?")),
        ("data: {source: digits}\nmethod: random\nsettings: {lr: 1}", ("'lr'", "method random")),
        ("data: {source: digits}\nmethod: dm\nsettings: {iteration: 1}", ("iteration", "Did you mean 'iterations'?")),
        ("data: {source: digits}\nimages_per_class: 0", ("images_per_class", "not 0")),
        ("data: {source: digits}\narchitecture: convnet33", ("convnet33", "Did you mean 'convnet3'?")),
    ],
)
def test_a_bad_recipe(refused, tmp_path, text, names):
    (tmp_path / "recipe.yaml").write_text(text)
    refused("run", "recipe.yaml", names=names)


def test_a_learning_run_that_explodes_says_what_to_lower(source):
    flags = (*DM, "--set", "image_lr=1e30", "--set", "iterations=20", "--ipc", 1, "--out", "run")
    assert_clear_refusal(call("distill", source, *flags), "Lower", "image_lr")
