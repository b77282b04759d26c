"""`distail recipes`: all rows with what is published and what they take, in a table that fits."""

import pytest

from distail.catalog import recipe_names
from distail.report.recipes import short_duration
from tests.cli.calling import assert_clear_refusal, call, succeed


def test_every_recipe_is_listed_once_and_the_table_fits():
    shown = succeed("recipes")
    assert max(map(len, shown.out.splitlines())) <= 100
    first_words = [line.split()[0] for line in shown.out.splitlines() if line.strip()]
    names = [name for name in recipe_names() if not name.endswith("-cpu")]
    assert [word for word in first_words if word in names] == names
    assert shown.err == ""


def test_rows_say_what_is_published_and_what_they_take():
    shown = succeed("recipes", "--method", "lad")
    (row,) = [line for line in shown.out.splitlines() if line.startswith("lad-cifar10lt-if100-ipc10 ")]
    assert "53.4 ± 0.1" in row
    assert row.count(" d ") == 2  # experts, distillation
    assert row.count(" min") == 3  # scoring, and both of the variant for a CPU
    assert "GiB" in row
    assert "datm-" not in shown.out
    assert "published: accuracy in percent that the table" in shown.flat
    assert "RLDD (AAAI 2026), table 1" in shown.out
    assert "not measured" in shown.flat
    assert "same data and scoring, which takes as long as the row's" in shown.flat
    assert "for LAD" not in shown.flat
    assert shown.out.rstrip().endswith("distail run lad-cifar10lt-if100-ipc10-cpu --source PATH")


def test_a_method_without_the_usual_example_has_one_of_its_own():
    assert (
        "distail run herding-cifar10lt-if100-ipc10-cpu --source PATH" in succeed("recipes", "--method", "herding").out
    )


def test_json_holds_every_recipe_whole():
    outcome = call("recipes", "--json")
    assert outcome.err == ""
    found = {entry["name"]: entry for entry in outcome.json["recipes"]}
    assert tuple(found) == recipe_names()
    entry = found["lad-cifar10lt-if50-ipc50-cpu"]
    row = found["lad-cifar10lt-if50-ipc50"]
    assert row["published"] == {"accuracy": 65.8, "std": 0.2, "source": "RLDD (AAAI 2026), table 1"}
    assert (row["variant_of"], entry["variant_of"], entry["published"]) == (None, "lad-cifar10lt-if50-ipc50", None)
    assert "imbalance 100" in entry["note"]
    assert "dam: adjusted" in entry["note"]
    assert "adjusted" not in found["lad-cifar10lt-if50-ipc50"]["note"]
    assert entry["recipe"]["settings"]["steps"] == 20
    assert entry["cost"]["gpu"] is None
    assert entry["cost"]["cpu"].keys() == {
        "experts_seconds",
        "distillation_seconds",
        "scoring_seconds",
        "memory_bytes",
    }


def test_an_unknown_method():
    message = assert_clear_refusal(call("recipes", "--method", "ladd"), "ladd")
    assert "Did you mean 'lad'?" in message


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "–"),
        (0.2, "1 s"),
        (45, "45 s"),
        (59.8, "1 min"),
        (1120, "19 min"),
        (3590, "1.0 h"),
        (4 * 3600, "4.0 h"),
        (23 * 3600, "23 h"),
        (86000, "1.0 d"),
        (1.2e6, "14 d"),
    ],
)
def test_durations_are_short(seconds, text):
    assert short_duration(seconds) == text
