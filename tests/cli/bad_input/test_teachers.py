"""Networks that cannot label these images."""

import pytest

from tests.cli.bad_input.commands import NETWORK_FILE
from tests.cli.bad_input.inputs import renamed
from tests.cli.calling import NETWORK, QUICK, succeed, write_npz
from tests.evaluation.separable import images_of


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
