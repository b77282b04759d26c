"""`distail methods`: every method there is, with its paper."""

import yaml

from distail.methods._registry import find_method, method_names
from tests.cli.calling import assert_clear_refusal, call, succeed


def test_every_method_is_listed_with_its_paper():
    shown = succeed("methods")
    for name in method_names():
        (row,) = [line for line in shown.out.splitlines() if name in line.split()[:1]]
        assert find_method(name).paper.split()[0] in row
    assert "arXiv:2110.04181" in shown.out


def test_json_holds_what_can_be_set():
    outcome = call("methods", "--json")
    assert outcome.err == ""
    assert outcome.json.keys() == set(method_names())
    assert outcome.json["dm"]["settings"]["iterations"] == 20_000
    assert outcome.json["random"]["settings"] == {}
    assert all(entry["summary"] and entry["paper"] for entry in outcome.json.values())


def test_the_settings_of_one_method_are_explained():
    shown = succeed("methods", "dm")
    for name, field in find_method("dm").model_fields.items():
        assert name in shown.out
        assert field.description.split()[0] in shown.out
    assert "20000" in shown.out


def test_settings_in_a_group_are_named_as_set_takes_them():
    described = {entry["name"]: entry for entry in call("methods", "lad", "--json").json["lad"]["described"]}
    assert described["experts.weight_decay"]["default"] == "0.005"
    assert described["experts.batch_size"]["meaning"].startswith("Images a step")
    assert described["initial_max_start_epoch"]["default"] == "null"


def test_an_unknown_method_is_a_clear_error():
    assert_clear_refusal(call("methods", "lab"), "Did you mean 'lad'?")


def test_a_method_without_settings_says_so():
    assert "no hyper-parameters" in succeed("methods", "random").out


def test_values_are_cut_after_commas_and_names_after_underscores_only():
    shown = succeed("methods", "tailor")
    for line in ("{epochs: 60,", "learning_rate: 0.1,", "mixing: cutmix,", "mixing_probability: 0.5}"):
        assert f" {line} " in shown.out
    assert "(no name)" not in shown.out
    described = {entry["name"]: entry for entry in call("methods", "tailor", "--json").json["tailor"]["described"]}
    assert yaml.safe_load(described["teacher.train"]["default"])["mixing_probability"] == 0.5
