"""Flags of two-stage classification, which several commands share."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from distail.cli.options import Whole, num_groups
from distail.errors import DistailError


@Parameter(name="*")
@dataclass(frozen=True)
class TwoStageFlags:
    """Networks that decide for a group of classes first, then for a class in it."""

    two_stage: Annotated[bool, Parameter(negative=())] = False
    """Decide in two stages: for a group by all the long-tailed images, for a class in it by the distilled ones."""
    grouping: str | None = None
    """File of a grouping made by `distail group`, for --two-stage; groups are found when omitted."""
    groups: str | None = None
    """How many groups --two-stage finds, or auto; 2 when omitted."""
    group_epochs: Annotated[int | None, Whole] = None
    """Passes of --two-stage over the long-tailed images, to find groups and to learn them; 50 when omitted."""
    group_data: Literal["full", "distilled"] | None = None
    """What the group stage learns from: the long-tailed images (full), or the distilled ones."""
    class_data: Literal["distilled", "full"] | None = None
    """What the class stages learn from: the distilled images, or the long-tailed ones (full)."""

    def values(self) -> dict[str, Any] | None:
        """The fields of a `TwoStageRecipe` that were given; None without --two-stage.

        Raises:
            DistailError: flags that say nothing without each other, or contradict each other.
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        # Not `in (None, False)`: 0 epochs, which equal False, are to be refused and not overlooked.
        given = {name for name, value in values.items() if value is not None and value is not False}
        if not self.two_stage:
            if given:
                raise DistailError(
                    f"--{_flag(min(given))} is for two stages. Pass --two-stage as well, or leave it out."
                )
            return None
        if {"grouping", "groups"} <= given:
            raise DistailError(
                "--groups asks for groups to be found, but --grouping names them. Leave one of them out."
            )
        if (
            "group_epochs" in given
            and self.grouping
            and (self.group_data, self.class_data or "distilled")
            == (
                "distilled",
                "distilled",
            )
        ):
            raise DistailError(
                "--group-epochs are passes over the long-tailed images, from which nothing is learned here: the "
                "grouping is named and both stages learn from the distilled set. Leave it out; --epochs holds for both."
            )
        settings = {"epochs": self.group_epochs} if "group_epochs" in given else {}
        found = {"num_groups": num_groups(self.groups)} if self.groups else {}
        stages: dict[str, Any] = {
            name: getattr(self, name) for name in ("grouping", "group_data", "class_data") if name in given
        }
        return {**stages, **settings, "settings": {**settings, **found}}


def _flag(name: str) -> str:
    return name.replace("_", "-")
