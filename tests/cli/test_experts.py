"""`distail experts`: what is trained, what is told, and what a bank holds."""

import shutil
from pathlib import Path

import pytest
import torch
import yaml

from distail.distilled import load_distilled
from distail.experts.bank import ExpertBank
from distail.experts.school import missing_epochs
from distail.methods._registry import build_method
from distail.pipeline import pose
from distail.recipe import Recipe, load_recipe
from tests.cli.calling import NETWORK, Outcome, assert_clear_refusal, call, contents, succeed

SMALL = {
    "num_experts": 2,
    "max_start_epoch": 1,
    "expert_span": 1,
    "num_label_experts": 2,
    "expert_epochs": 2,
    "classifier_epochs": 1,
}
"""LAD with two experts of two epochs, and a classifier expert of one epoch on each."""
WALK = {"steps": 2, "classifier_steps": 2, "iterations": 2}
NEEDED = 2 * 2 + 2 * 1


def flags(*settings: dict[str, object]) -> list[str]:
    return [part for some in settings for name, value in some.items() for part in ("--set", f"{name}={value}")]


def train(source: Path, *more: object) -> Outcome:
    return call("experts", "train", source, "--arch", NETWORK, "--imbalance", 4, *flags(SMALL), *more)


def snapshots(bank: Path) -> dict[tuple[str, int, int], torch.Tensor]:
    """Every snapshot, by kind of experts, expert and epoch."""
    return {
        (shelf.key, expert, epoch): shelf.snapshot(expert, epoch)
        for shelf in ExpertBank(bank).shelves()
        for expert in shelf.experts()
        for epoch in range(shelf.num_epochs(expert) + 1)
    }


@pytest.fixture(scope="session")
def bank(shared, source) -> Path:
    """What LAD needs of the long-tailed source; nobody may change it."""
    folder = shared / "bank"
    assert train(source, "--experts", folder).code == 0
    return folder


def test_what_was_trained_is_told_and_then_found(source):
    told = train(source)
    assert told.flat == (
        f"Missing, and trained now: {NEEDED} epochs of 4 experts. "
        f"Trained {NEEDED} epochs; all experts that lad needs are in experts."
    )
    before = contents(Path("experts"))
    assert train(source).flat == (
        "No epochs are missing: nothing will be trained. All experts that lad needs were already in experts."
    )
    assert train(source, "--json").json == {"experts": "experts", "trained_epochs": 0}
    assert contents(Path("experts")) == before


def test_training_goes_on_where_it_stopped(source, bank):
    assert train(source, "--set", "expert_epochs=1", "--set", "classifier_epochs=1", "--json").code == 0
    before = snapshots(Path("experts"))
    told = train(source, "--json").json
    # One more epoch of each base; classifier experts on other bases are others.
    assert told["trained_epochs"] == 2 + 2
    after = snapshots(Path("experts"))
    assert all(torch.equal(after[name], snapshot) for name, snapshot in before.items())
    assert all(torch.equal(after[name], snapshot) for name, snapshot in snapshots(bank).items())


def test_machines_can_share_the_work(source, bank):
    second = train(source, "--only", "1", "--experts", "mine")
    assert f"Trained {NEEDED // 2} epochs; expert 1 of those that lad needs is in mine." in second.flat
    again = train(source, "--only", "1-1", "--experts", "mine").flat
    assert again.endswith("Expert 1 of those that lad needs was already in mine.")
    assert {expert for _, expert, _ in snapshots(Path("mine"))} == {1}
    both = train(source, "--only", "0-5", "--experts", "mine").flat  # of which there are two
    assert f"Trained {NEEDED // 2} epochs; experts 0-1 of those that lad needs are in mine." in both
    found, expected = snapshots(Path("mine")), snapshots(bank)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_distilling_finds_what_was_trained(source, bank):
    before = contents(bank)
    made = ("--arch", NETWORK, "--imbalance", 4, "--method", "lad", "--ipc", 1, *flags(SMALL, WALK))
    succeed("distill", source, *made, "--experts", bank, "--out", "with")
    assert contents(bank) == before
    assert not Path("experts").exists()
    succeed("distill", source, *made, "--out", "without")  # trains them itself, into the usual place
    assert snapshots(Path("experts")).keys() == snapshots(bank).keys()
    assert torch.equal(load_distilled("with").images, load_distilled("without").images)


def test_a_bank_is_listed(source, bank):
    before = contents(bank)
    shown = succeed("experts", "list", "--experts", bank)
    assert contents(bank) == before
    assert max(map(len, shown.out.splitlines())) <= 100
    for word in ("2 × 2", "2 × 1", "representa", "classifier", "pets.npz", "normalize", "lad", "MB"):
        assert word in shown.flat, word
    listed = succeed("experts", "list", "--experts", bank, "--json").json
    assert listed["experts"] == str(bank)
    by_kind = {kind["kind"]: kind for kind in listed["kinds"]}
    assert by_kind.keys() == {"representation", "classifier"}
    assert by_kind["representation"]["epochs"] == [2, 2]
    assert by_kind["classifier"]["epochs"] == [1, 1]
    assert by_kind["representation"]["usable_by"] == ["lad"]
    assert by_kind["classifier"]["usable_by"] == ["lad"]  # for how long the bases were trained is a setting
    assert by_kind["classifier"]["spec"]["base"] == by_kind["representation"]["spec"]
    on_disk = sum(path.stat().st_size for path in bank.rglob("*.safetensors"))
    assert sum(kind["num_bytes"] for kind in listed["kinds"]) == on_disk > 0
    for kind in listed["kinds"]:
        assert (bank / kind["key"] / "about.json").exists()
        assert (kind["architecture"], kind["source"]) == (NETWORK, str(source))


def test_methods_that_share_experts_are_named_together(source):
    small = ("--set", "num_experts=1", "--set", "max_start_epoch=1", "--set", "expert_span=1")
    for method in ("mtt", "tesla", "ftd"):
        succeed("experts", "train", source, "--for", method, "--arch", NETWORK, *small)
    kinds = succeed("experts", "list", "--json").json["kinds"]
    assert sorted(kind["usable_by"] for kind in kinds) == [["ftd"], ["mtt", "tesla"]]


def test_experts_of_other_settings_are_explained(source, bank):
    assert "with --set" not in succeed("experts", "list", "--experts", bank).out
    quick = flags({**SMALL, "experts": "{learning_rate: 0.03}", "expert_epochs": 1})
    succeed("experts", "train", source, "--arch", NETWORK, "--imbalance", 4, *quick)
    shown = succeed("experts", "list")
    assert "with --set: trained with other settings than any method's defaults" in shown.flat
    assert "about.json" in shown.flat
    for about in Path("experts").glob("*/about.json"):
        assert about.parent.name in shown.out


@pytest.mark.parametrize("place", ["mine", "mine/below"])
def test_a_file_is_no_bank(source, tmp_path, place):
    (tmp_path / "mine").write_text("precious")
    before = contents(tmp_path)
    for command in (("list",), ("train", source, "--for", "lad")):
        refused = call("experts", *command, "--experts", place)
        assert_clear_refusal(refused, f"{place} is no folder of experts", "mine is a file", "--experts")
    assert contents(tmp_path) == before


def test_an_empty_bank_is_no_error_and_stays_empty(tmp_path):
    assert succeed("experts", "list").flat == "There are no experts in experts."
    assert succeed("experts", "list", "--json").json == {"experts": "experts", "kinds": []}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        (("--for", "ladd"), ("ladd", "Did you mean 'lad'?")),
        (("--for", "dm"), ("'dm' uses no experts", "distail distill")),
        (("--for", "lad", "--set", "num_expert=1"), ("num_expert", "Did you mean 'num_experts'?")),
        (("--arch", "convnet99"), ("convnet99",)),
        (("--only", "5-3"), ("--only 5-3", "--only 0-24")),
        (("--only", "a-b"), ("--only a-b", "--only 0-24")),
        (("--only", "3-"), ("--only 3-",)),
        (("--only", "²"), ("--only ²",)),
        (("--only", "100-120"), ("--only 100-120", "needs 100", "0-99")),
        (("--imbalance", "-1"), ("imbalance", "greater than 0")),
        (("--recipe", "lad-cifar10lt-if100-ipc12"), ("lad-cifar10lt-if100-ipc12", "distail recipes")),
        (("--recipe", "dm-cifar10lt-if100-ipc10"), ("'dm' uses no experts", "distail run dm-cifar10lt-if100-ipc10")),
    ],
)
def test_wrong_requests_are_refused_before_anything_is_written(source, tmp_path, wrong, names):
    refused = call("experts", "train", source, *wrong)
    assert_clear_refusal(refused, *names)
    assert list(tmp_path.iterdir()) == []


# Recipes


@pytest.fixture
def recipe(tmp_path) -> Path:
    """LAD on digits, with little of its own defaults or those of `experts train`."""
    path = tmp_path / "small.yaml"
    data = {"source": "digits", "imbalance": 5, "holdout": 0.2, "image_size": 10, "strict": True}
    settings = {**SMALL, **WALK, "experts": {"learning_rate": 0.03}}
    made = {"data": data, "method": "lad", "settings": settings, "images_per_class": 1}
    path.write_text(yaml.safe_dump({**made, "preprocessing": "zca", "architecture": NETWORK, "precision": "fp32"}))
    return path


def missing_in_run(name: Path, bank: str, **settings: object) -> int:
    """Epochs that the bank lacks for what `distail run` does with a recipe."""
    asked = load_recipe(name)
    method = build_method(asked.method, {**asked.settings, **settings})
    return sum(epochs for _, epochs in missing_epochs(ExpertBank(bank), pose(asked).ground, method.expert_needs()))


def test_a_recipe_names_the_experts_that_its_run_uses(recipe):
    assert missing_in_run(recipe, "mine") == NEEDED
    told = succeed("experts", "train", "--recipe", recipe, "--experts", "mine", "--json").json
    assert told == {"experts": "mine", "trained_epochs": NEEDED}
    assert missing_in_run(recipe, "mine") == 0
    before = contents(Path("mine"))
    succeed("run", recipe, "--experts", "mine", "--out", "made")
    assert contents(Path("mine")) == before


def test_source_and_settings_change_a_recipe_as_in_its_run(recipe, source):
    changes = ("--set", "num_experts=3", "--set", "classifier_epochs=2")
    succeed("experts", "train", "--recipe", recipe, *changes)
    assert missing_in_run(recipe, "experts", num_experts=3, classifier_epochs=2) == 0
    elsewhere = succeed("experts", "train", source, "--recipe", recipe, "--json").json
    assert elsewhere["trained_epochs"] == NEEDED
    before = contents(Path("experts"))
    succeed("run", recipe, *changes, "--out", "changed")
    succeed("run", recipe, "--source", source, "--out", "elsewhere")
    assert contents(Path("experts")) == before


def test_a_built_in_recipe_goes_by_its_name():
    quick = flags({"expert_epochs": 1, "classifier_epochs": 1, "max_start_epoch": 1, "num_experts": 1})
    told = succeed("experts", "train", "digits", "--recipe", "lad-cifar10lt-if100-ipc10-cpu", *quick)
    assert "all experts that lad needs are in experts" in told.flat
    kinds = succeed("experts", "list", "--json").json["kinds"]
    assert {(kind["preprocessing"], kind["spec"]["learning_rate"]) for kind in kinds} == {("zca", 0.03)}


@pytest.mark.parametrize(
    "flags",
    [
        *(("--for", "mtt"), ("--imbalance", 4), ("--preprocessing", "normalize"), ("--arch", "convnet3")),
        *(("--holdout", 0.1), ("--image-size", 8), ("--strict",), ("--device", "cpu"), ("--precision", "bf16")),
        ("--arch", NETWORK, "--for", "lad"),
    ],
)
def test_what_a_recipe_decides_is_not_asked_for_twice(recipe, tmp_path, flags):
    refused = call("experts", "train", "--recipe", recipe, *flags)
    assert_clear_refusal(refused, f"--recipe {recipe}", *(flag for flag in flags if str(flag).startswith("--")))
    assert list(tmp_path.iterdir()) == [recipe]


def test_experts_of_nothing():
    assert_clear_refusal(call("experts", "train", "--for", "lad"), "distail experts train digits", "--recipe")


def test_help_tells_what_is_taken_where_nothing_is_said():
    told = succeed("experts", "train", "--help").flat.replace(" │ │ ", " ")
    for flag in ("preprocessing", "architecture"):
        assert f"{Recipe.model_fields[flag].default} when omitted" in told
    assert "lad when omitted" in told


def test_an_altered_bank_is_refused(source, bank, tmp_path):
    shutil.copytree(bank, tmp_path / "copy")
    about = sorted((tmp_path / "copy").glob("*/about.json"))[0]
    about.write_text(about.read_text().replace(NETWORK, "convnet3"))
    for command in (
        ("experts", "list"),
        ("experts", "train", source, "--arch", NETWORK, "--imbalance", 4, *flags(SMALL)),
    ):
        refused = call(*command, "--experts", tmp_path / "copy")
        assert_clear_refusal(refused, str(about), "has been altered", "Remove the folder")
