"""What two recipes that were to make the same set disagree on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distail.errors import DistailError
from distail.methods._registry import build_method
from distail.recipe import Recipe

_SCORING = {"evaluation", "test"}


def changed_settings(there: Recipe, asked: Recipe) -> dict[str, str]:
    """'settings.image_lr': 'default 100.0 there, 5 asked' for all that decides the set; how it is scored may differ.

    Hyper-parameters that one recipe leaves to the method are compared, and shown, by the default, as far as the method
    is still there and takes what the recipes say.
    """
    before, after = (_flat(recipe.model_dump(exclude=_SCORING)) for recipe in (there, asked))
    whole_before, whole_after = (_whole(there), _whole(asked)) if there.method == asked.method else (before, after)
    changed = {}
    for name in dict.fromkeys([*before, *after]):
        if whole_before.get(name, _ABSENT) != whole_after.get(name, _ABSENT):
            old, new = _shown(name, before, whole_before), _shown(name, after, whole_after)
            changed[name] = f"{old} there, {new} asked"
    return changed


_ABSENT = object()


def _shown(name: str, given: Mapping[str, Any], whole: Mapping[str, Any]) -> str:
    if name in given:
        return _word(given[name])
    return f"default {_word(whole[name])}" if name in whole else "default"


def _word(value: object) -> str:
    return "none" if value is None else str(value)


def _whole(recipe: Recipe) -> dict[str, Any]:
    """All that decides the set, defaults of the method included."""
    values = recipe.model_dump(exclude=_SCORING)
    try:
        settings = build_method(recipe.method, recipe.settings).model_dump()
    except DistailError:  # settings of another version, or a method that is not here; begun runs need no more than this
        settings = values["settings"]
    return _flat({**values, "settings": settings})


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{'data.source': 'digits'} for {'data': {'source': 'digits'}}; empty groups vanish."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found
