"""Strict configuration: an unknown key or an impossible value is one clear error that names the closest key."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from distail.errors import DistailError, did_you_mean


class Config(BaseModel):
    """A frozen group of settings; the docstring under each field is its help text."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


ConfigT = TypeVar("ConfigT", bound=BaseModel)


def parse_config(model: type[ConfigT], values: Mapping[str, Any], where: str) -> ConfigT:
    """Builds `model` from plain values.

    Args:
        model: the group of settings.
        values: as read from YAML or gathered from flags.
        where: what the user knows the values as, for the error message.

    Raises:
        DistailError: every problem found, one a line, each with its key and what is allowed.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        problems = [_explained(model, problem) for problem in error.errors()]
        raise DistailError(f"{where}: {'; '.join(problems)}") from None


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`under` with the values of `over`, group by group; neither changes."""
    result = dict(under)
    for key, value in over.items():
        there = result.get(key)
        result[key] = merged(there, value) if isinstance(there, Mapping) and isinstance(value, Mapping) else value
    return result


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """{'data': {'imbalance': 100}} for {'data.imbalance': 100}; later names change what earlier ones say."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        for part in reversed(name.split(".")):
            value = {part: value}
        found = merged(found, value)
    return found


def with_own_defaults(model: type[BaseModel], values: Mapping[str, Any]) -> dict[str, Any]:
    """`values`, where a group that is given in part is filled up from the model's default for that group.

    Pydantic would fill it up from the group's own class, which knows nothing of the model: `{"experts": {"batch_size":
    32}}` should change the batch size of this method's experts, and nothing else about them.
    """
    defaults = {
        name: field.default.model_dump(mode="json")
        for name, field in model.model_fields.items()
        if isinstance(field.default, BaseModel) and isinstance(values.get(name), Mapping)
    }
    return merged(defaults, values)


@dataclass(frozen=True)
class Setting:
    """One field of a group of settings, for people.

    Attributes:
        name: as `--set` takes it, 'experts.batch_size' within a group.
        default: as YAML would write it.
        meaning: the docstring under the field.
    """

    name: str
    default: str
    meaning: str

    def to_json(self) -> dict[str, str]:
        """As JSON values."""
        return {"name": self.name, "default": self.default, "meaning": self.meaning}


def described(model: type[BaseModel], instance: BaseModel | None = None, prefix: str = "") -> list[Setting]:
    """All fields of a group and of the groups in it, in their order, with the defaults that apply there."""
    instance = instance or model()
    found = []
    for name, field in model.model_fields.items():
        value, meaning = getattr(instance, name), field.description or ""
        if isinstance(value, BaseModel):
            found.append(Setting(prefix + name, "", meaning))
            found += described(type(value), value, f"{prefix}{name}.")
        else:
            found.append(Setting(prefix + name, _as_yaml(value), " ".join(meaning.split())))
    return found


def _as_yaml(value: object) -> str:
    if value and isinstance(value, tuple) and all(isinstance(one, BaseModel) for one in value):
        return json.dumps([one.model_dump(mode="json", exclude_defaults=True) for one in value])
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_as_yaml(one)}" for name, one in value.items()) + "}"
    words: dict[object, str] = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else str(value)


def _explained(model: type[BaseModel], problem: ErrorDetails) -> str:
    location, message = problem["loc"], problem["msg"].removeprefix("Value error, ")
    message = message.replace("valid tuple", "list").replace("valid list", "list")
    key = ".".join(str(part) for part in location)
    if problem["type"] == "extra_forbidden":
        name, groups = str(location[-1]), _groups_at(model, location[:-1])
        at = "".join(f"{part}." for part in location[:-1])
        fields = {field for group in groups for field in group.model_fields}
        return f"unknown key '{key}'. {elsewhere(name, *groups, at=at) or did_you_mean(name, fields)}"
    if problem["type"] == "missing":
        message += ": give it"
    found = problem["input"]
    if "should be" in message and isinstance(found, str | int | float):
        message += f", not {found!r}"
    return f"'{key}': {message[0].lower()}{message[1:]}" if key else message


def elsewhere(name: str, *models: type[BaseModel], at: str = "") -> str:
    """'Did you mean data.imbalance?' where groups inside these have such a field, of several the two least deep ones.

    Args:
        at: what stands before the names, such as "evaluation.".
    """
    places = sorted({f"{at}{place}" for model in models for place in _places_of(name, model)})
    nearest = sorted(places, key=lambda place: place.count("."))[:2]
    quoted = " or ".join(f"'{place}'" for place in nearest)
    return f"Did you mean {quoted}?" if nearest else ""


def _places_of(name: str, model: type[BaseModel]) -> Iterator[str]:
    """Dotted names of all fields called `name` in the groups inside a group."""
    for own, field in model.model_fields.items():
        for group in _groups_in(field.annotation):
            if name in group.model_fields:
                yield f"{own}.{name}"
            yield from (f"{own}.{place}" for place in _places_of(name, group))


def _groups_at(model: type[BaseModel], location: Sequence[str | int]) -> list[type[BaseModel]]:
    """The nested groups that `location` may lead to."""
    groups = [model]
    for part in location:
        # A part that is no field is a place in a list, a key of a dict, or the name of one group of several.
        reached = [group.model_fields[str(part)].annotation for group in groups if str(part) in group.model_fields]
        named = [group for group in groups if group.__name__ == part]
        groups = [group for annotation in reached for group in _groups_in(annotation)] or named or groups
    return groups


def _groups_in(annotation: Any) -> list[type[BaseModel]]:
    """Every group of settings that an annotation such as `list[A] | B | None` mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [group for option in get_args(annotation) for group in _groups_in(option)]
