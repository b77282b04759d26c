"""The built-in recipes: every row of the published tables that can be run here, by name. Imports no torch.

A name is METHOD-DATAlt-ifIMBALANCE-ipcIMAGES, such as 'lad-cifar10lt-if100-ipc10', and with '-cpu' behind it a variant
that 2 CPU cores distil in minutes. One file in `distail/recipes/` holds all rows of a method on a data set, a family:
what they share once, and of each row what differs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from pydantic import Field

from distail.config import Config, merged, parse_config
from distail.errors import DistailError, did_you_mean
from distail.recipe import Recipe, parse_yaml

CPU = "-cpu"
"""End of the names of variants for a CPU."""

_NAME = re.compile(r"(?P<family>.+?)-(?P<row>if[0-9]+-ipc[0-9]+)(?P<cpu>-cpu)?")
_ROW = re.compile(r"if(?P<imbalance>[0-9]+)-ipc(?P<ipc>[0-9]+)")


class Published(Config):
    """What a table says that others reached. Their code, data subsets and choice of the scored iteration may differ."""

    accuracy: float = Field(gt=0, le=100)
    """Mean test accuracy in percent."""
    std: float | None = Field(default=None, ge=0)
    """Its standard deviation, where one is published."""
    source: str = ""
    """The table; that of the family when omitted."""


class About(Config):
    """The data of a family, as far as costs depend on them, and where its numbers are published."""

    data: str
    """Name of the long-tailed data set."""
    num_classes: int = Field(ge=2)
    """How many classes it has."""
    largest_class: int = Field(ge=1)
    """Images of its largest class."""
    image_shape: tuple[int, int, int]
    """Channels, height and width in pixels."""
    published_in: str
    """The table that rows are from, unless they name another."""
    note: str = ""
    """What holds for all rows."""


class Row(Config):
    """One row; its key says how imbalanced the data are, and how many images per class are made."""

    published: Published | None = None
    """What others reached; nothing where no number is published."""
    settings: dict[str, Any] = {}
    """Hyper-parameters that differ from the family's."""
    note: str = ""
    """What to know about it."""


class CPUVariant(Config):
    """What differs in the variants for a CPU, the same for every row."""

    settings: dict[str, Any]
    """Hyper-parameters that differ from the row's."""
    note: str
    """What they change, in words."""


class Family(Config):
    """All rows of one method on one data set."""

    about: About
    """The data."""
    common: dict[str, Any]
    """What the recipes of all rows share."""
    rows: dict[str, Row]
    """By 'ifIMBALANCE-ipcIMAGES'."""
    cpu: CPUVariant
    """What differs in the variants for a CPU."""


@dataclass(frozen=True)
class BuiltIn:
    """A recipe of the catalog, with what is known about it.

    Attributes:
        name: 'lad-cifar10lt-if100-ipc10-cpu'.
        family: 'lad-cifar10lt'.
        recipe: ready to run, but for the place of the data.
        about: the data.
        published: of the row, also for the variant for a CPU, which is not expected to reach it.
        family_note: what holds for all rows of the family; may be empty.
        row_note: what to know about this row; may be empty.
        cpu_note: what the variant for a CPU changes; empty where it is not one.
    """

    name: str
    family: str
    recipe: Recipe
    about: About
    published: Published | None
    family_note: str
    row_note: str
    cpu_note: str

    @property
    def is_for_cpu(self) -> bool:
        """Whether it is the variant for a CPU."""
        return self.name.endswith(CPU)

    @property
    def note(self) -> str:
        """All notes."""
        return " ".join(note for note in (self.family_note, self.row_note, self.cpu_note) if note)


def family_names() -> tuple[str, ...]:
    """'METHOD-DATAlt' of every family, sorted."""
    return tuple(sorted(_files()))


def recipe_names() -> tuple[str, ...]:
    """All names, family by family in the order of the tables, each followed by its variant for a CPU."""
    return tuple(
        f"{family}-{row}{variant}" for family in family_names() for row in _family(family).rows for variant in ("", CPU)
    )


def built_in(name: str) -> BuiltIn:
    """The recipe of that name, with what is known about it.

    Raises:
        DistailError: there is none; the closest name is suggested.
    """
    if not (found := _find(name)):
        raise DistailError(f"There is no built-in recipe '{name}'. {_nearest(name)}`distail recipes` lists all.")
    return found


def built_in_recipe(name: str) -> Recipe:
    """The recipe of that name, ready to run but for the place of the data.

    Raises:
        DistailError: there is none; the closest name is suggested.
    """
    return built_in(name).recipe


def find_built_in(text: str) -> BuiltIn | None:
    """What is meant where a user may name a recipe's file or a built-in one: None where there is such a file.

    Raises:
        DistailError: it is neither.
    """
    if Path(text).is_file():
        return None
    if not (found := _find(text)):
        if Path(text).exists():
            return None
        raise DistailError(
            f"There is no recipe '{text}': neither a file nor a built-in recipe is called that. {_nearest(text)}"
            "Check the path; that of a run is RUN/recipe.yaml. `distail recipes` lists the built-in ones."
        )
    return found


def _find(name: str) -> BuiltIn | None:
    parts = _NAME.fullmatch(name)
    if not parts or parts["family"] not in _files() or parts["row"] not in _family(parts["family"]).rows:
        return None
    family = _family(parts["family"])
    row = family.rows[parts["row"]]
    size = _ROW.fullmatch(parts["row"])
    assert size, "the name's pattern holds the row's"
    values = merged(
        family.common,
        {
            "data": {"imbalance": int(size["imbalance"])},
            "images_per_class": int(size["ipc"]),
            "settings": row.settings,
        },
    )
    if parts["cpu"]:
        values = merged(values, {"settings": family.cpu.settings})
    published = row.published
    if published and not published.source:
        published = published.model_copy(update={"source": family.about.published_in})
    return BuiltIn(
        name=name,
        family=parts["family"],
        recipe=parse_config(Recipe, values, f"built-in recipe {name}"),
        about=family.about,
        published=published,
        family_note=family.about.note,
        row_note=row.note,
        cpu_note=family.cpu.note if parts["cpu"] else "",
    )


def _nearest(name: str) -> str:
    """'Did you mean ...? ' where a name is close, else nothing: all of them would fill a page."""
    sentence = did_you_mean(name, recipe_names())
    return f"{sentence} " if sentence.startswith("Did") else ""


@cache
def _files() -> dict[str, Traversable]:
    """The families' files by name."""
    entries = resources.files("distail").joinpath("recipes").iterdir()
    return {entry.name.removesuffix(".yaml"): entry for entry in entries if entry.name.endswith(".yaml")}


@cache
def _family(name: str) -> Family:
    return parse_config(Family, parse_yaml(_files()[name].read_text(encoding="utf-8")), f"recipe family {name}")
