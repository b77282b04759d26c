"""Sets that say how to train, and runs with a teacher, on the command line."""

from pathlib import Path

import pytest

from distail.models.saved import load_network
from tests.cli.calling import NETWORK, QUICK, assert_clear_refusal, call, contents, succeed
from tests.methods.with_teacher import TRAINING

SMALL = ("--arch", NETWORK, "--seeds", 1)


@pytest.fixture(scope="session")
def taught(shared, source) -> Path:
    folder = shared / "runs" / "taught"
    flags = ("--method", "tests.methods.with_teacher", "--ipc", 2, "--imbalance", 4, "--arch", NETWORK)
    succeed("distill", source, *flags, "--out", folder)
    return folder


def trained_by(*arguments: object) -> dict[str, object]:
    return succeed("evaluate", *arguments, "--json").json["provenance"]["train"]


def test_a_run_is_evaluated_by_its_own_recipe_and_teacher(taught):
    outcome = succeed("evaluate", taught, *SMALL, "--labels", "teacher", "--json")
    assert outcome.json["provenance"]["train"] == TRAINING.model_dump(mode="json")
    assert outcome.json["provenance"]["recipe"]["teacher"] == str(taught / "teacher.safetensors")
    assert outcome.json["stored"]["teacher"] > 0
    (student,) = outcome.json["students"]
    assert (student["labels"], student["epochs"]) == ("teacher", 4)


def test_flags_change_single_values(taught):
    common = TRAINING.model_dump(mode="json")
    flags = ("--labels", "teacher", "--epochs", 2, "--recipe", "loss=divergence", "--recipe", "temperature=20")
    expected = {**common, "epochs": 2, "loss": "divergence", "temperature": 20.0}
    assert trained_by(taught, *SMALL, *flags) == expected
    assert trained_by(taught, *SMALL, "--labels", "teacher", "--lr", 0.5)["learning_rate"] == 0.5
    assert trained_by(taught, *SMALL, "--labels", "hard")["loss"] == "cross_entropy"


def test_the_common_recipe_stays_common(run):
    found = trained_by(run, *QUICK)
    assert (found["epochs"], found["batch_size"], found["augmentation"]) == (12, 256, "none")
    assert (found["optimizer"], found["schedule"], found["loss"]) == ("sgd", "step", "cross_entropy")


def test_tables_and_notes_say_how_students_were_trained(taught, run):
    shown = succeed("evaluate", taught, *SMALL, "--labels", "teacher", "--epochs", 2, "--reference", "full").flat
    assert "trained as stored with the set" in shown
    assert "AdamW learning rate 0.01" in shown
    assert "Training as it is stored with the set, but for epochs, as asked" in shown
    for value in ("loss=squared_error", "mixing=cutmix", "average=0.5", "hard_weight=0.025"):
        assert value in shown
    assert "by cross-entropy with hard labels, otherwise by the same recipe" in shown
    own = succeed("evaluate", run, *QUICK, "--recipe", "optimizer=adamw").flat
    assert "trained by a recipe of one's own" in own
    assert "optimizer=adamw" in own
    plain = succeed("evaluate", run, *QUICK).flat
    assert "SGD learning rate 0.02" in plain
    assert "trained by" not in plain
    assert "stored with the set" not in plain


def test_the_step_size_of_large_networks_is_told(run):
    shown = succeed("evaluate", run, *QUICK, "--recipe", "learning_rate_large=0.003").flat
    assert "SGD learning rate 0.02 (0.003 for networks of over a million weights)" in shown


def test_train_goes_by_the_set_too(taught):
    succeed("train", taught, "--out", "own.safetensors", "--arch", NETWORK, "--labels", "teacher")
    recipe = load_network(Path("own.safetensors")).provenance["recipe"]
    assert recipe == TRAINING.model_dump()
    succeed("train", taught, "--out", "asked.safetensors", "--arch", NETWORK, "--recipe", "average=0", "--epochs", 1)
    recipe = load_network(Path("asked.safetensors")).provenance["recipe"]
    assert recipe == {**TRAINING.on_hard_labels.model_dump(), "average": 0.0, "epochs": 1}


def test_train_in_two_stages_goes_by_the_set_too(taught):
    flags = ("--two-stage", "--group-data", "distilled", "--groups", 2, "--group-epochs", 1, "--labels", "teacher")
    shown = succeed("train", taught, "--out", "two.safetensors", "--arch", NETWORK, *flags, "--json").json
    assert {stage["epochs"] for stage in shown["stages"]} == {4}


def test_real_images_take_any_recipe(source):
    flags = ("--recipe", "mixing=mixup", "--recipe", "schedule=one_cycle", "--augmentation", "resized+flip")
    succeed("train", source, "--out", "real.safetensors", "--arch", NETWORK, "--epochs", 1, *flags)
    recipe = load_network(Path("real.safetensors")).provenance["recipe"]
    assert (recipe["mixing"], recipe["schedule"], recipe["augmentation"]) == ("mixup", "one_cycle", "resized+flip")


def test_any_set_may_be_learned_from_with_randaugment(run, taught, source):
    succeed("evaluate", run, *SMALL, "--epochs", 1, "--augmentation", "rand+resized+flip")
    again = succeed("evaluate", taught, *SMALL, "--labels", "teacher", "--augmentation", "rand-1-30", "--json").json
    assert again["provenance"]["train"]["augmentation"] == "rand-1-30"
    flags = ("--arch", NETWORK, "--epochs", 1, "--augmentation", "rand+crop_flip")
    succeed("train", source, "--out", "real.safetensors", *flags)
    assert load_network(Path("real.safetensors")).provenance["recipe"]["augmentation"] == "rand+crop_flip"


def test_images_are_not_learned_through_randaugment(source):
    flags = ("--method", "dm", "--ipc", 1, "--arch", NETWORK, "--out", "learned")
    refused = call("distill", source, *flags, "--set", "augmentation=rand+flip")
    assert_clear_refusal(refused, "'rand+flip' asks for RandAugment", "no gradients", "Choose from color")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--recipe", "optimiser=adamw"), ("unknown key", "optimiser", "optimizer")),
        (("--recipe", "loss=mse"), ("loss", "squared_error")),
        (("--recipe", "adamw"), ("--recipe adamw is no assignment", "loss=divergence")),
        (("--epochs", 2, "--recipe", "epochs=3"), ("epochs", "flag of its own")),
        (("--recipe", "loss=divergence"), ("loss=divergence is for soft labels", "--labels teacher")),
        (("--labels", "teacher"), ("has no teacher of its own", "--teacher FILE")),
        (("--augmentation", "resized+flp"), ("'flp'", "'flip'")),
        (("--augmentation", "rand_flip"), ("'rand_flip'", "'rand-2-9'", "stands alone")),
        (("--augmentation", "rand-2-31+flip"), ("'rand-2-31'", "in 0..30")),
    ],
)
@pytest.mark.parametrize("command", ["evaluate", "train"])
def test_bad_recipes_are_refused(run, tmp_path, command, flags, words):
    before = contents(run)
    place = ("--out", "network.safetensors", "--arch", NETWORK) if command == "train" else SMALL
    assert_clear_refusal(call(command, run, *place, *flags), *words)
    assert contents(run) == before
    assert not list(tmp_path.iterdir())


def test_a_recipe_with_scoring_uses_the_runs_teacher(taught, tmp_path):
    text = (taught / "recipe.yaml").read_text().replace("evaluation: null\n", "")
    scored = f"evaluation:\n  architectures: [{NETWORK}]\n  seeds: 1\n  labels: teacher\n  train: {{epochs: 2}}\n"
    (tmp_path / "recipe.yaml").write_text(text + scored)
    outcome = succeed("run", tmp_path / "recipe.yaml", "--out", "again", "--json").json["evaluation"]
    assert outcome["provenance"]["train"] == {**TRAINING.model_dump(mode="json"), "epochs": 2}
    assert outcome["stored"]["teacher"] > 0
