"""`distail baseline` and `distail baselines`: how far one gets without distilling."""

import json

import pytest
import torch

from distail.baselines._registry import baseline_names, find_baseline
from distail.evaluation.result import load_evaluation
from distail.models.saved import load_network
from tests.cli.calling import NETWORK, QUICK, assert_clear_refusal, call, pets, succeed, write_npz

SHORT = ("--epochs", 3, "--batch-size", 8, "--augmentation", "none")
FAST = ("--arch", NETWORK, "--seeds", 1, "--lr", 0.05, *SHORT)


def baseline(source: object, *flags: object):
    return succeed("baseline", source, *FAST, *flags)


def two_seeds(source: object, *flags: object) -> list[dict]:
    return call("baseline", source, "--arch", NETWORK, "--seeds", 2, *SHORT, "--json", *flags).json["students"]


def test_digits_from_end_to_end(tmp_path):
    flags = ("--arch", "convnet1-w8", "--epochs", 2, "--seeds", 2, "--out", "scores.json", "--save", "net.safetensors")
    shown = succeed("baseline", "digits", "--imbalance", 50, "--method", "balanced_softmax", *flags)
    assert "balanced_softmax" in shown.out
    assert "trained on 330 of 330 images" in shown.flat
    assert "Ren et al., NeurIPS 2020" in shown.flat
    assert "Tested on 596 images of digits#test" in shown.flat
    assert "few" in shown.out
    result = load_evaluation(tmp_path / "scores.json")
    assert result.summary()["balanced_accuracy"].n == 2
    assert (tmp_path / "scores.txt").read_text().startswith(" ")
    assert load_network(tmp_path / "net.safetensors").architecture == "convnet1-w8"


def test_balanced_softmax_is_what_nothing_said_means(source):
    assert baseline(source, "--json").json["provenance"]["recipe"]["method"] == "balanced_softmax"


def test_json_is_one_object_and_nothing_else(source):
    outcome = call("baseline", source, *FAST, "--method", "tau_norm", "--imbalance", 4, "--json")
    assert outcome.err == ""
    (summary,) = outcome.json["summaries"]
    assert summary["subject"] == "tau_norm"
    assert summary["scores"]["balanced_accuracy"]["n"] == 1
    assert len(summary["per_class"]) == 3
    assert outcome.json["provenance"]["chosen"][0]["tau"] in [step / 10 for step in range(21)]
    assert outcome.json["train_counts"] == [12, 6, 3]


def test_what_was_chosen_is_told(source):
    shown = baseline(source, "--method", "tau_norm")
    assert "Chosen by balanced accuracy on a tenth of each class' training images: tau " in shown.flat
    assert "trained on 33 of 36 images" in shown.flat
    assert "and never on these" in shown.flat
    assert "after that on all images" in baseline(source, "--method", "tau_norm", "--set", "refit=true").flat


def test_settings_reach_the_baseline(source):
    def facts(*flags: object) -> dict:
        return baseline(source, "--json", *flags).json["provenance"]

    assert facts("--method", "focal", "--set", "gamma=0.5")["settings"] == {"gamma": 0.5}
    trained = facts("--method", "weight_balancing")["train"]
    assert (trained["weight_decay"], trained["learning_rate"], trained["epochs"]) == (5e-3, 0.05, 3)


def test_the_seed_decides(source):
    first, second = (two_seeds(source) for _ in range(2))
    for students in (first, second):
        for student in students:
            del student["train_seconds"]
    assert first == second
    assert first[0]["scores"]["ece"] != first[1]["scores"]["ece"]


@pytest.mark.parametrize("method", ["ldam_drw", "lws"])
def test_a_saved_network_teaches(source, run, method):
    file = f"{method}.safetensors"
    assert "The network of seed 0 is saved in" in baseline(source, "--method", method, "--save", file).flat
    scored = call("evaluate", run, *QUICK, "--labels", "teacher", "--teacher", file, "--json")
    assert scored.json["students"][0]["labels"] == "teacher"
    assert scored.json["stored"]["teacher"] > 0


def test_images_set_aside_are_the_test_images(tmp_path):
    path = write_npz(tmp_path / "all.npz", images=pets((12, 12, 12), 1))
    facts = baseline(path, "--holdout", 0.25, "--json").json
    assert facts["train_counts"] == [9, 9, 9]
    assert facts["provenance"]["test"]["images"] == 9
    assert facts["provenance"]["test"]["leaked"] == 0


def test_test_images_can_be_named(source, tmp_path):
    other = write_npz(tmp_path / "other.npz", images=pets((4, 4, 4), 5))
    assert baseline(source, "--test", other, "--json").json["provenance"]["test"]["images"] == 12


# Refusals


def refused(*arguments: object, names: tuple[str, ...]) -> str:
    return assert_clear_refusal(call("baseline", *arguments), *names)


def test_unknown_names(source):
    refused(source, *FAST, "--method", "balanced_sofmax", names=("balanced_sofmax", "Did you mean 'balanced_softmax'?"))
    refused(source, *FAST, "--method", "focal", "--set", "gama=1", names=("gama", "Did you mean 'gamma'?"))
    refused(source, *FAST[2:], "--arch", "convnot3", names=("convnot3",))
    refused("digitz", *FAST, names=("digitz", "Did you mean 'digits'?"))
    refused(source, "--epochs", 0, names=("epochs", "greater than or equal to 1"))
    refused(source, "--seeds", 0, names=("seeds",))


def test_a_class_of_one_image(tmp_path):
    path = write_npz(tmp_path / "few.npz", train=pets((6, 4, 1), 1), test=pets((2, 2, 2), 2))
    refused(path, *FAST, "--method", "tau_norm", names=("'cow' has a single image", "--set tau=1"))
    succeed("baseline", path, *FAST, "--method", "tau_norm", "--set", "tau=1")


def test_test_data_that_are_the_training_data(source):
    refused(source, *FAST, "--test", f"{source}#train", names=("very data the networks learn from", "--test"))


def test_no_test_data(tmp_path):
    path = write_npz(tmp_path / "all.npz", images=pets((4, 4, 4), 1))
    refused(path, *FAST, names=("all.npz", "--test"))


def test_training_that_diverges(source):
    message = refused(source, "--lr", 1e30, "--arch", "convnet2-w8-none", *SHORT, names=("learning rate", "1e+30"))
    assert "nan" in message or "inf" in message


def test_files_that_are_there(source, tmp_path):
    (tmp_path / "there.safetensors").write_bytes(b"mine")
    refused(source, *FAST, "--save", "there.safetensors", names=("there.safetensors",))
    (tmp_path / "there.json").write_text("mine")
    refused(source, *FAST, "--out", "there.json", names=("there.json",))
    refused(source, *FAST, "--out", "scores.txt", names=("scores.txt", "scores.json"))
    assert (tmp_path / "there.json").read_text() == "mine"


def test_experts_need_a_linear_classifier(source):
    flags = ("--method", "mtt", "--arch", f"{NETWORK}-cosine", "--ipc", 1, "--set", "num_experts=1")
    flags = (*flags, "--set", "expert_epochs=1", "--set", "epochs_matched=1")
    outcome = call("distill", source, *flags[:6], "--out", "run")
    assert_clear_refusal(outcome, "linear classifier", "-cosine")


# The list


def test_a_run_is_no_source(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "distilled.safetensors").touch()
    refused(tmp_path / "run", *FAST, names=("folder of a run", "distail evaluate"))


def test_a_place_that_cannot_be_written_is_refused_before_training(source):
    refused(source, *FAST, "--out", "/proc/scores.json", names=("/proc/scores.json",))
    refused(source, *FAST, "--save", "/proc/net.safetensors", names=("/proc/net.safetensors",))


@pytest.mark.parametrize("method", ["crt", "balanced_softmax"])
def test_networks_are_kept_and_said_to_be(source, method):
    flags = ("--method", method, "--networks", "networks")
    first, again = baseline(source, *flags), baseline(source, *flags)
    assert "trained earlier" not in first.flat
    assert "1 of 1 rows are of networks that were trained earlier" in again.flat
    for shown in (first, again):
        assert ("classifier alone: 10 epochs, each class equally often" in shown.flat) is (method == "crt")


def test_every_baseline_is_listed_with_its_paper():
    shown = succeed("baselines")
    for name in baseline_names():
        (row,) = [line for line in shown.out.splitlines() if name in line.split()[:1]]
        assert find_baseline(name).paper.split()[0] in row


def test_the_json_list_holds_what_can_be_set():
    outcome = call("baselines", "--json")
    assert outcome.json.keys() == set(baseline_names())
    assert outcome.json["ldam_drw"]["settings"]["max_margin"] == 0.5
    assert outcome.json["cross_entropy"]["settings"] == {}
    assert outcome.json["cross_entropy"]["train"]["epochs"] == 200
    assert json.dumps(outcome.json)


def test_the_saved_network_is_the_one_of_seed_zero(source, tmp_path):
    scores = two_seeds(source, "--save", "net.safetensors")
    test = pets((6, 6, 6), 2)
    predicted = load_network(tmp_path / "net.safetensors").predict_logits(test.images).argmax(1)
    accuracy = float((predicted == test.labels).double().mean())
    assert accuracy == pytest.approx(scores[0]["scores"]["accuracy"], abs=1 / 18 + 1e-6)  # fp32 against bf16
    assert torch.isfinite(torch.tensor(accuracy))


def test_hyper_parameters_of_one_baseline_are_explained():
    shown = succeed("baselines", "ldam_drw").flat
    for words in ("max_margin", "0.5", "Share of the epochs before the weights set in", "--set NAME=VALUE"):
        assert words in shown
    told = succeed("baselines", "ldam_drw", "--json").json["ldam_drw"]
    assert {entry["name"] for entry in told["described"]} == {"max_margin", "beta", "deferred"}
    assert told["train"]["epochs"] == 200
    assert_clear_refusal(call("baselines", "ldam"), "ldam", "ldam_drw")
