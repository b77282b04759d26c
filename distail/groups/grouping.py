"""`Grouping`: which classes belong together, as a plain value that goes to a file and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distail.artifact import read_json, write_json
from distail.errors import DistailError


@dataclass(frozen=True)
class Grouping:
    """A partition of the classes.

    Attributes:
        class_names: in label order.
        group_of: group of each class, 0, 1, 2, ... numbered by the first class of each.
        provenance: how the groups were found, as JSON values.

    Raises:
        DistailError: there are fewer than two classes, or a class has no group or several.
    """

    class_names: tuple[str, ...]
    group_of: tuple[int, ...]
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.class_names) < 2:
            raise DistailError("Groups need at least two classes. Use data with more classes.")
        if len(self.group_of) != len(self.class_names):
            raise DistailError(
                f"The grouping puts {len(self.group_of)} classes into groups, but there are {len(self.class_names)}."
            )
        if self.group_of != canonical(self.group_of):
            raise DistailError(
                f"Groups are numbered 0, 1, 2, ... in the order of their first classes, not {list(self.group_of)}."
            )

    @property
    def num_groups(self) -> int:
        """How many groups there are."""
        return max(self.group_of) + 1

    def members(self, group: int) -> tuple[int, ...]:
        """Labels of the classes in a group, ascending."""
        return tuple(label for label, own in enumerate(self.group_of) if own == group)

    def require_for(self, class_names: tuple[str, ...], what: str) -> None:
        """Refuses a grouping that was made for other classes.

        Raises:
            DistailError: names what differs.
        """
        if self.class_names != class_names:
            missing = sorted(set(class_names) ^ set(self.class_names))
            others = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            differ = f"they differ in {', '.join(missing[:5])}{others}" if missing else "their order differs"
            raise DistailError(
                f"The grouping was made for other classes than those of {what}: {differ}. Make one with "
                "`distail group SOURCE`."
            )

    def to_json(self) -> dict[str, Any]:
        """Plain values that `grouping_from` reads back."""
        groups = [[self.class_names[label] for label in self.members(group)] for group in range(self.num_groups)]
        return {"class_names": list(self.class_names), "groups": groups, "provenance": self.provenance}

    def save(self, path: Path) -> None:
        """Writes the grouping as JSON, atomically."""
        write_json(path, self.to_json())


def canonical(labels: tuple[int, ...]) -> tuple[int, ...]:
    """The same partition with groups numbered by their first class."""
    order = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    return tuple(order[label] for label in labels)


def load_grouping(path: str | Path) -> Grouping:
    """Reads what `Grouping.save` wrote, or what a person wrote in the same form; `provenance` may be missing.

    Args:
        path: the file, or the folder that `distail group` made it in.

    Raises:
        DistailError: the file is missing or is no grouping; a class is in two groups, in none, or unknown.
    """
    if Path(path).is_dir():
        path = Path(path) / "grouping.json"
    if not Path(path).exists():
        raise DistailError(
            f"{path} does not exist. Name a grouping.json; `distail group SOURCE --out FOLDER` makes one there."
        )
    return grouping_from(read_json(Path(path)), str(path))


def grouping_from(values: Any, path: str) -> Grouping:
    """A grouping from the values that `Grouping.to_json` gave.

    Args:
        values: as read from JSON.
        path: the file they come from, for messages.

    Raises:
        DistailError: they are no grouping; a class is in two groups, in none, or unknown.
    """
    try:
        names = tuple(str(name) for name in values["class_names"])
        groups = [[str(name) for name in group] for group in values["groups"]]
        provenance = dict(values.get("provenance", {}))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DistailError(f"{path} is no grouping ({error!r}). Make one with `distail group SOURCE`.") from None
    placed = [name for group in groups for name in group]
    if sorted(placed) != sorted(names):
        odd = sorted(name for name in set(placed) | set(names) if placed.count(name) != 1 or name not in names)
        raise DistailError(
            f"{path}: every class must be in exactly one group, which is not so for {', '.join(odd[:5])}. Mend the "
            "file, or make a grouping with `distail group SOURCE`."
        )
    if not all(groups):
        raise DistailError(
            f"{path}: a group holds no class. Remove it, or make a grouping with `distail group SOURCE`."
        )
    number = {name: place for place, group in enumerate(groups) for name in group}
    return Grouping(names, canonical(tuple(number[name] for name in names)), provenance)
