from typing import Literal

import pytest
from pydantic import Field, field_validator

from distail.config import Config, described, parse_config, with_own_defaults
from distail.errors import DistailError


class Optimiser(Config):
    """Settings in a group."""

    learning_rate: float = Field(default=0.1, gt=0)
    """Step size."""
    momentum: float = 0.9
    """Share of the last step."""


class Plain(Config):
    """The other kind of a group of two."""

    speed: int = 1
    """How fast."""


class Run(Config):
    """Settings with groups in them."""

    epochs: int = Field(default=10, ge=1)
    """Passes over the data,
    all of them."""
    mode: Literal["fast", "slow"] = "fast"
    """How."""
    optimiser: Optimiser = Optimiser()
    """A group."""
    second: Optimiser | None = None
    """A group or none."""
    many: list[Optimiser] = []
    """Several groups."""
    named: dict[str, Optimiser] = {}
    """Groups by name."""
    either: Optimiser | Plain | None = None
    """One of two."""

    @field_validator("epochs")
    @classmethod
    def _no_unlucky_number(cls, value: int) -> int:
        if value == 13:
            raise ValueError("13 is unlucky")
        return value


def message_of(values: dict[str, object]) -> str:
    with pytest.raises(DistailError) as caught:
        parse_config(Run, values, "recipe.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "key", "meant"),
    [
        ({"speed": 3}, "speed", "'either.speed'"),
        ({"momentum": 3}, "momentum", "'either.momentum' or 'many.momentum'"),
    ],
)
def test_a_key_of_a_group_inside_is_named_by_its_place(values, key, meant):
    assert message_of(values) == f"recipe.yaml: unknown key '{key}'. Did you mean {meant}?"


def test_good_values_are_built_and_the_rest_are_defaults():
    run = parse_config(Run, {"epochs": 3, "second": {"momentum": 0.5}}, "recipe.yaml")
    assert run == Run(epochs=3, second=Optimiser(momentum=0.5))
    assert run.optimiser.learning_rate == 0.1


def test_an_unknown_key_suggests_the_closest():
    assert message_of({"epoch": 3}) == "recipe.yaml: unknown key 'epoch'. Did you mean 'epochs'?"


def test_an_unknown_key_like_no_other_lists_them_all():
    known = "either, epochs, many, mode, named, optimiser, second"
    assert message_of({"zzz": 3}) == f"recipe.yaml: unknown key 'zzz'. Choose one of: {known}."


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"optimiser": {"momentun": 1}}, "optimiser.momentun"),
        ({"second": {"momentun": 1}}, "second.momentun"),
        ({"many": [{}, {"momentun": 1}]}, "many.1.momentun"),
        ({"named": {"first": {"momentun": 1}}}, "named.first.momentun"),
        ({"either": {"momentun": 1}}, "either.Optimiser.momentun"),
    ],
)
def test_an_unknown_key_in_a_group_suggests_the_groups_own(values, key):
    assert f"unknown key '{key}'. Did you mean 'momentum'?" in message_of(values)


def test_of_two_groups_each_answers_for_its_own_keys():
    message = message_of({"either": {"zzz": 1}})
    assert "unknown key 'either.Optimiser.zzz'. Choose one of: learning_rate, momentum." in message
    assert "unknown key 'either.Plain.zzz'. Choose one of: speed." in message


def test_a_wrong_type_says_what_is_allowed():
    assert message_of({"epochs": "many"}).startswith("recipe.yaml: 'epochs': input should be a valid integer")
    assert message_of({"mode": "quick"}) == "recipe.yaml: 'mode': input should be 'fast' or 'slow', not 'quick'"
    assert "'optimiser': input should be a valid dictionary" in message_of({"optimiser": 3})


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf")])
def test_an_impossible_value_in_a_group_is_named_with_its_group(value):
    message = message_of({"optimiser": {"learning_rate": value}})
    assert message.startswith("recipe.yaml: 'optimiser.learning_rate': input should be ")


def test_a_validator_of_ones_own_is_heard():
    assert message_of({"epochs": 13}) == "recipe.yaml: 'epochs': 13 is unlucky"


def test_every_problem_is_reported_at_once():
    message = message_of({"epochs": 0, "mode": "quick", "optimizer": {}})
    assert "'epochs': input should be greater than or equal to 1" in message
    assert "'mode': input should be 'fast' or 'slow'" in message
    assert "unknown key 'optimizer'. Did you mean 'optimiser'?" in message
    assert message.count("; ") == 2


def test_no_traceback_of_the_library_below_is_shown():
    with pytest.raises(DistailError) as caught:
        parse_config(Run, {"epochs": 0}, "recipe.yaml")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_settings_are_frozen_and_documented():
    with pytest.raises(Exception, match="frozen"):
        Run().epochs = 3
    assert Optimiser.model_fields["momentum"].description == "Share of the last step."
    assert all(field.description for field in Run.model_fields.values())


def test_what_is_written_reads_back():
    run = Run(epochs=3, second=Optimiser(momentum=0.25), many=[Optimiser()])
    assert parse_config(Run, run.model_dump(), "written") == run


class Group(Config):
    """A group."""

    size: int = 1
    """How large."""
    rate: float = 0.5
    """How fast."""


class Owner(Config):
    """Has a group with a default of its own."""

    group: Group = Group(rate=0.1)
    """The group."""


def test_a_group_given_in_part_keeps_the_default_of_its_owner():
    values = with_own_defaults(Owner, {"group": {"size": 3}})
    assert parse_config(Owner, values, "here").group == Group(size=3, rate=0.1)
    assert with_own_defaults(Owner, {"group": "odd"}) == {"group": "odd"}
    assert with_own_defaults(Owner, {}) == {}


def test_settings_are_described_with_the_defaults_that_apply():
    assert [(s.name, s.default, s.meaning) for s in described(Owner)] == [
        ("group", "", "The group."),
        ("group.size", "1", "How large."),
        ("group.rate", "0.1", "How fast."),
    ]
