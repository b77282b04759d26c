"""`--two-stage`: rows of an evaluation, a file of its own, and what is refused."""

from pathlib import Path

import pytest
import torch

import distail
from distail.artifact import read_json, write_json
from distail.errors import DistailError
from distail.evaluation.result import load_evaluation
from tests.cli.calling import NETWORK, QUICK, assert_clear_refusal, call, pets, succeed, write_npz

STAGES = ("--two-stage", "--group-epochs", 2)


@pytest.fixture(scope="session")
def digits(shared) -> Path:
    folder = shared / "digits-run"
    succeed(
        "distill", "digits", "--imbalance", 50, "--method", "random", "--ipc", 2, "--arch", NETWORK, "--out", folder
    )
    return folder


@pytest.fixture
def grouping(tmp_path) -> Path:
    path = tmp_path / "grouping.json"
    write_json(path, {"class_names": ["ant", "bee", "cow"], "groups": [["ant", "cow"], ["bee"]]})
    return path


def test_digits_are_scored_in_two_stages(digits):
    """The whole way, beside the plain row."""
    flags = ("--arch", "convnet1-w8", "--seeds", 2, "--epochs", 2, "--out", "scores.json")
    shown = succeed("evaluate", digits, *flags, *STAGES)
    for words in ("distilled (random)", "two-stage, soft routing", "two-stage, hard routing", "the group is right for"):
        assert words in shown.flat
    assert "groups from 330 long-tailed images, 2 epochs" in shown.flat
    scored = load_evaluation(Path("scores.json"))
    assert [subject for subject, _ in scored.groups] == [
        "distilled",
        "two-stage, soft routing",
        "two-stage, hard routing",
    ]
    right = scored.group_accuracy("two-stage, soft routing")
    assert right is not None
    assert right.n == 2
    assert 0 < right.mean < 1
    assert scored.group_accuracy("distilled") is None
    for ask in (scored.group_accuracy, scored.per_class, scored.summary):
        with pytest.raises(DistailError, match=r"on 'two-stage' with any .*Ask for one of: 'distilled' with convnet"):
            ask("two-stage")
    summaries = {row["subject"]: row["group_accuracy"] for row in read_json(Path("scores.json"))["summaries"]}
    assert summaries["two-stage, hard routing"] == {"n": 2, "mean": right.mean, "std": right.std}
    grouping = scored.provenance["grouping"]
    assert sorted(name for group in grouping["groups"] for name in group) == list("0123456789")
    assert scored.provenance["recipe"]["two_stage"]["settings"]["epochs"] == 2
    again = succeed("evaluate", digits, *flags[:-2], *STAGES, "--json").json
    assert [row["scores"] for row in again["summaries"]] == [
        row["scores"] for row in read_json(Path("scores.json"))["summaries"]
    ]


def test_a_grouping_can_be_named(run, grouping):
    outcome = succeed("evaluate", run, *QUICK, *STAGES, "--grouping", grouping, "--json").json
    assert outcome["provenance"]["grouping"]["groups"] == [["ant", "cow"], ["bee"]]
    plain = succeed("evaluate", run, *QUICK, "--json").json
    assert outcome["students"][0]["scores"] == plain["students"][0]["scores"]
    stages = outcome["students"][1]["stages"]
    assert [(stage["title"], stage["data"], stage["num_images"]) for stage in stages] == [
        ("groups", "full", 21),
        ("classes of group 1", "distilled", 4),
    ]


def test_stages_can_swap_their_data(run, grouping):
    flags = ("--group-data", "distilled", "--class-data", "full", "--grouping", grouping)
    stages = succeed("evaluate", run, *QUICK, *STAGES, *flags, "--json").json["students"][1]["stages"]
    assert [(stage["data"], stage["num_images"]) for stage in stages] == [("distilled", 6), ("full", 15)]


def test_epochs_can_be_chosen_on_validation_images(run, grouping):
    students = succeed(
        "evaluate", run, *QUICK, *STAGES, "--grouping", grouping, "--select", "validation", "--json"
    ).json["students"]
    assert students[1]["stages"][0]["num_images"] == 18


def test_a_teacher_labels_both_kinds_of_rows(run, teacher, grouping):
    flags = ("--labels", "teacher", "--teacher", teacher, "--grouping", grouping)
    students = succeed("evaluate", run, *QUICK, *STAGES, *flags, "--json").json["students"]
    assert {student["labels"] for student in students} == {"teacher"}


def test_training_data_can_be_named(run, source, grouping, tmp_path):
    """An exported set knows nothing of where it comes from."""
    few, train = write_npz(tmp_path / "few.npz", images=pets((3, 3, 3), 8)), pets((12, 12, 12), 5)
    flags = ("evaluate", few, *QUICK, "--test", source, *STAGES, "--grouping", grouping)
    assert_clear_refusal(call(*flags), "--train SOURCE")
    named = write_npz(tmp_path / "train.npz", images=train)
    students = succeed(*flags, "--train", named, "--imbalance", 4, "--json").json["students"]
    assert students[1]["stages"][0]["num_images"] == 21


def test_a_two_stage_network_is_trained_and_kept(run, source, grouping):
    flags = ("--arch", NETWORK, "--epochs", 2, *STAGES, "--grouping", grouping)
    shown = succeed("train", run, *flags, "--out", "two.safetensors")
    assert "in two stages: groups for 2 epochs" in shown.flat
    saved = distail.load_two_stage("two.safetensors")
    logits = saved.predict_logits(distail.load_test(source).images)
    assert logits.shape == (18, 3)
    torch.testing.assert_close(logits.exp().sum(1), torch.ones(18))
    assert_clear_refusal(call("train", run, *flags, "--out", "two.safetensors"), "exists")
    taught = call("train", run, "--labels", "teacher", "--teacher", "two.safetensors", "--out", "x.safetensors")
    assert_clear_refusal(taught, "two-stage network")


def test_python_takes_a_grouping_and_a_recipe(run):
    grouping = distail.Grouping(("ant", "bee", "cow"), (0, 1, 1))
    recipe = distail.TwoStageRecipe(epochs=1)
    settings = {"architectures": [NETWORK], "seeds": 1, "epochs": 1, "grouping": grouping}
    scored = distail.evaluate(run, two_stage=recipe, **settings)
    assert scored.provenance["grouping"]["groups"] == [["ant"], ["bee", "cow"]]
    with pytest.raises(distail.DistailError, match="Pass two_stage=True"):
        distail.evaluate(run, **settings)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--groups", 2), "--two-stage"),
        (("--two-stage", "--group-epochs", 0), "greater than or equal to 1"),
        (("--group-epochs", 2), "--group-epochs"),
        (("--two-stage", "--groups", 2, "--grouping", "x.json"), "--grouping"),
        (("--two-stage", "--groups", "two"), "--groups two"),
        (("--two-stage", "--groups", 1), "into 1 group."),
        (("--two-stage", "--groups", 4), "into 4 groups"),
        (("--two-stage", "--grouping", "none.json"), "none.json"),
        ((*STAGES, "--grouping", "x.json", "--group-data", "distilled"), "--group-epochs"),
        (("--imbalance", 50), "--train"),
    ],
    ids=str,
)
def test_bad_flags_are_refused(run, flags, named):
    assert_clear_refusal(call("evaluate", run, *QUICK, "--quiet", *flags), named)


def test_groups_of_other_classes_and_other_targets_are_refused(run, source, tmp_path):
    write_json(tmp_path / "other.json", {"class_names": ["x", "y"], "groups": [["x"], ["y"]]})
    refused = call("evaluate", run, *QUICK, "--quiet", *STAGES, "--grouping", "other.json")
    assert_clear_refusal(refused, "made for other classes")
    assert_clear_refusal(call("train", source, *STAGES, "--out", "x.safetensors"), "no distilled set")
    assert_clear_refusal(call("train", run, "--train", source, "--out", "x.safetensors"), "--two-stage")
