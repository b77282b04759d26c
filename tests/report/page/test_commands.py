"""The lines that a page says to type do what it says."""

from pathlib import Path

import pytest
import torch

import distail
from distail.report.page.commands import Commands
from distail.report.page.run_facts import read_run_facts
from distail.report.page.run_page import run_text
from tests.cli.calling import pets, write_npz


def commands_of(tmp_path: Path, train: dict, **data: object) -> Commands:
    source = write_npz(tmp_path / "pets.npz", **train)
    distail.distill(source, "random", images_per_class=2, architecture="convnet2-w8", out=tmp_path / "run", **data)
    return Commands(read_run_facts(tmp_path / "run"))


def inputs_of(commands: Commands) -> torch.Tensor:
    names: dict = {}
    exec(compile(f"{commands.load}\n{commands.prepare}", "the page", "exec"), names)
    return names["inputs"]


WHOLE = pets((10, 10, 10), 1)
TESTED = {"train": pets((8, 8, 8), 1), "test": pets((4, 4, 4), 2)}


@pytest.mark.parametrize(
    ("train", "data", "count", "size"),
    [
        (TESTED, {}, 12, 8),
        (TESTED, {"image_size": 12}, 12, 12),
        ({"images": WHOLE}, {"holdout": 0.2}, 6, 8),
        ({"images": WHOLE}, {"holdout": 0.2, "image_size": 10}, 6, 10),
    ],
)
def test_test_images_are_found_and_made_what_networks_see(tmp_path, train, data, count, size):
    commands = commands_of(tmp_path, train, **data)
    assert inputs_of(commands).shape == (count, 3, size, size)
    assert "HELD_OUT" not in commands.evaluate


def test_a_set_of_a_grid_leads_to_the_page_of_its_grid(tmp_path):
    commands = commands_of(tmp_path, {"images": WHOLE})
    assert commands.grid == ""
    (tmp_path / "a grid" / "sets").mkdir(parents=True)
    (tmp_path / "a grid" / "grid.yaml").write_text("rows: [random]")
    (tmp_path / "run").rename(tmp_path / "a grid" / "sets" / "key")
    facts = read_run_facts(tmp_path / "a grid" / "sets" / "key")
    assert Commands(facts).grid == f"distail report '{tmp_path / 'a grid'}'"
    shown = " ".join(map(str, run_text(facts)))
    assert "The page of its grid has its scores: distail report" in shown
    assert "Not scored by itself yet: distail evaluate" in shown


def test_without_test_images_a_place_is_left_for_them(tmp_path):
    commands = commands_of(tmp_path, {"images": WHOLE})
    assert commands.evaluate.endswith("--arch convnet2-w8 --test HELD_OUT_IMAGES")
    held_out = write_npz(tmp_path / "others.npz", images=pets((3, 3, 3), 7))
    names: dict = {}
    lines = f"{commands.load}\n{commands.prepare}".replace("HELD_OUT_IMAGES", str(held_out))
    exec(compile(lines, "the page", "exec"), names)
    assert names["inputs"].shape == (9, 3, 8, 8)
