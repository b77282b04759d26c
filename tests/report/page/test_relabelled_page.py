"""The page of a set whose labels another network made: what it says of them, and of the images."""

from pathlib import Path

import pytest

from distail.reporting import report_text, write_report
from tests.cli.calling import succeed
from tests.report.page.reader import Reader
from tests.report.page.runs import make_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Relabelled twice: by a teacher with views, then by ADSA."""
    place = tmp_path_factory.mktemp("relabelled")
    run = make_run(place / "run")
    flags = ("--arch", "convnet2-w8", "--epochs", 1, "--augmentation", "none")
    succeed("train", run, *flags, "--out", place / "teacher.safetensors")
    succeed("relabel", run, "--teacher", place / "teacher.safetensors", "--views", 3, "--out", place / "taught")
    succeed("relabel", place / "taught", "--adsa", "--out", place / "fair")
    return place


@pytest.fixture(scope="module")
def text(folder) -> str:
    return Reader(write_report(folder / "fair").path.read_text()).text


def test_how_the_labels_came_about(text, folder):
    before, last = text.split("Labels before")[1].split("Its images")[0].split("Its labels")
    assert f"relabelled from {folder / 'run'}" in before
    assert f"labels by convnet2-w8, {folder / 'teacher.safetensors'}" in before
    assert "no correction for the long tail" in before
    assert "labelled views 3 of each image" in before
    assert f"relabelled from {folder / 'taught'}" in last
    assert "those stored before" in last
    assert "corrected by τ = " in last
    assert "for classes of 122 to 6 training images" in last
    assert "when 20" in last


def test_nothing_is_said_of_the_images_that_is_not_so(text, folder):
    assert "recipe.yaml --out again" not in text
    assert "methods that only choose images have no losses" not in text
    assert f"The images are those of {folder / 'run'}, which has its losses" in text
    assert "cost of making its images" in text
    assert "images written" in text
    assert "images made by random, relabelled" in text
    assert "The set was relabelled by distail" in text


def test_views_come_with_the_loop_that_trains_on_them(text, folder):
    assert "The set also stores labels of 3 views of each image" in text
    code = text.split("another view in every epoch: ")[1]
    assert "small.as_views(epoch)" in code


def test_the_terminal_says_so_too(folder):
    told = [part for part in report_text(write_report(folder / "fair")) if isinstance(part, str)]
    assert any("corrected by τ" in line and str(folder / "taught") in line for line in told)
    assert any(line.startswith("Its images were made in") for line in told)


def test_a_run_on_images_in_memory_offers_no_command_that_would_fail(tmp_path):
    import distail
    from tests.report.page.runs import images_of

    distail.distill(images_of(("a", "b"), 0), "random", images_per_class=1, out=tmp_path / "run")
    text = Reader(write_report(tmp_path / "run").path.read_text()).text
    assert "--out again" not in text
    assert "method: random" in text
