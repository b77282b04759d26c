"""Flags that several commands share, and how commands speak."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from distail.choices import DeviceName, PrecisionName
from distail.errors import DistailError
from distail.progress import Progress, no_more, progress_for

if TYPE_CHECKING:
    from cyclopts import Token
    from rich.console import Console, RenderableType

    from distail.catalog import BuiltIn
    from distail.recipe import Recipe

Repeatable = Parameter(negative=())


def _whole_number(type_: Any, tokens: Sequence[Token]) -> int:
    """Reads 10 and 1e3, and refuses 1.5, which cyclopts would round."""
    text = tokens[0].value
    try:
        return int(text) if text.lstrip("+-").isdigit() else _exactly(float(text))
    except ValueError:
        raise ValueError(f"'{text}' is no whole number") from None


def _exactly(number: float) -> int:
    if not number.is_integer():
        raise ValueError
    return int(number)


Whole = Parameter(converter=_whole_number)
"""Marks a flag that takes a whole number."""


@Parameter(name="*")
@dataclass(frozen=True)
class Compute:
    """Where and how to compute."""

    device: DeviceName = "auto"
    """Device to compute on."""
    precision: PrecisionName = "auto"
    """Precision of network passes; bf16 where the hardware multiplies it faster."""


Devices = Annotated[int, Whole]
"""Type of the flag that says how many processes share a job."""


@Parameter(name="*")
@dataclass(frozen=True)
class Output:
    """How to report."""

    quiet: Annotated[bool, Parameter(negative=())] = False
    """Show no progress."""
    json: Annotated[bool, Parameter(negative=())] = False
    """Print the result as JSON on standard output, and nothing else."""

    def progress(self) -> Progress:
        """The reporter these flags ask for."""
        return progress_for(quiet=self.quiet or self.json)

    def show(self, value: dict[str, Any], *readable: RenderableType) -> None:
        """Prints the result: as JSON if asked, else as the readable parts."""
        if self.json:
            console = standard_output()
            console.out(json.dumps(value), highlight=False)
        else:
            self.tell(*readable)

    def tell(self, *readable: RenderableType) -> None:
        """Prints readable parts of a longer story, and nothing where JSON is asked for."""
        if self.json:
            return
        console = standard_output()
        for part in readable:
            console.print(part, highlight=False, markup=False, soft_wrap=isinstance(part, str))


def standard_output() -> Console:
    """A console on standard output; 100 columns where there is no terminal to ask.

    Where the reader has seen enough, as `head` soon has, the rest goes nowhere and the command goes on: others' seeing
    less of a result is no reason to lose it.
    """
    import sys

    from rich.console import Console

    class Readers(Console):
        """Its readers may leave early."""

        def on_broken_pipe(self) -> None:
            """Says nothing any more."""
            no_more(sys.stdout)

    return Readers(file=sys.stdout, width=None if sys.stdout.isatty() else 100)


def require_place(out: Path | None) -> None:
    """Refuses, before anything is trained, a file that a result cannot go to."""
    from distail.artifact import require_free

    if out is None:
        return
    if out.suffix == ".txt":
        raise DistailError(f"--out {out}: the result is JSON, with a .txt beside it. Name it {out.stem}.json.")
    try:
        require_free(out)
        require_free(out.with_suffix(".txt"))
    except DistailError as error:
        raise DistailError(f"{error} --out FILE.json names another.") from None


def num_groups(text: str) -> int | str:
    """Reads how many groups to make: a whole number, or auto.

    Raises:
        DistailError: it is neither.
    """
    if text == "auto":
        return text
    if not text.isdigit():
        raise DistailError(f"--groups {text} is no number of groups. Give a whole number such as 2, or auto.")
    return int(text)


def parse_settings(assignments: Sequence[str], flag: str = "--set", example: str = "iterations=500") -> dict[str, Any]:
    """Reads 'key=value' flags; values are YAML, so numbers, true and lists work. 'group.key=value' sets one of a group.

    Raises:
        DistailError: an assignment without '=', or a value that is not YAML.
    """
    from distail.config import merged, nested

    settings: dict[str, Any] = {}
    for assignment in assignments:
        name, value = parse_assignment(assignment, flag, example)
        settings = merged(settings, nested({name: value}))
    return settings


def parse_assignment(assignment: str, flag: str, example: str) -> tuple[str, Any]:
    """Reads one 'name=value'; the value is YAML.

    Raises:
        DistailError: there is no '=', or the value is not YAML.
    """
    import yaml

    from distail.recipe import parse_yaml

    remedy = f"Write {flag} NAME=VALUE, such as {flag} {example}."
    name, sign, value = assignment.partition("=")
    if not sign or not name:
        raise DistailError(f"{flag} {assignment} is no assignment. {remedy}")
    try:
        return name.strip(), parse_yaml(value)
    except yaml.YAMLError:
        raise DistailError(f"{flag} {assignment}: the value is not YAML. {remedy}") from None


def asked_training(recipe: Sequence[str], **flags: Any) -> dict[str, Any]:
    """Values of a `TrainRecipe` that the user names, by flags of their own (None where not) or by --recipe.

    Raises:
        DistailError: a value is named twice, or --recipe is no assignment.
    """
    asked = {name: value for name, value in flags.items() if value is not None}
    others = parse_settings(recipe, "--recipe", "loss=divergence")
    if twice := sorted(asked.keys() & others.keys()):
        raise DistailError(f"'{twice[0]}' has a flag of its own, and --recipe names it too. Leave one of them out.")
    return asked | others


def asked_recipe(
    recipe: str, *, source: str | None = None, settings: Sequence[str] = ()
) -> tuple[Recipe, BuiltIn | None]:
    """The recipe that a user names and changes by flags, and what else is known about it where it is a built-in one.

    Args:
        recipe: a YAML file, or the name of a built-in recipe; the file where there is one of that name.
        source: where the data are, if not where the recipe says.
        settings: 'key=value' of hyper-parameters to change.

    Raises:
        DistailError: it is neither, the file is no recipe, or a setting is no assignment.
    """
    from distail.catalog import find_built_in
    from distail.config import merged
    from distail.recipe import load_recipe

    named = find_built_in(recipe)
    asked = named.recipe if named else load_recipe(recipe)
    if source:
        asked = asked.model_copy(update={"data": asked.data.model_copy(update={"source": source})})
    if settings:
        asked = asked.model_copy(update={"settings": merged(asked.settings, parse_settings(settings))})
    return asked, named
