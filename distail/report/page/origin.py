"""Where a run comes from: what making it took, what was done to its labels later, and all that decided it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from distail.data.image_set import IN_MEMORY
from distail.provenance import making_seconds
from distail.report.page.run_facts import RunFacts

_NAMED = 5
"""Unreadable files that are named before the rest is counted."""


@dataclass(frozen=True)
class Making:
    """What making the images took: seconds, bytes of memory, on what, and by which version; None where not known."""

    seconds: float | None
    memory: int | None
    hardware: str | None
    version: str | None

    @classmethod
    def of(cls, provenance: dict[str, Any]) -> Making:
        """What a manifest tells."""
        return cls(
            seconds=making_seconds(provenance),
            memory=provenance.get("peak_memory_bytes"),
            hardware=_text(provenance.get("hardware")),
            version=_version(provenance),
        )


@dataclass(frozen=True)
class Relabelling:
    """One time that `distail relabel` changed the labels.

    Attributes:
        source: the run or file whose labels were changed.
        rows: (what, value) of how.
        version: of distail that did it, where known.
    """

    source: str
    rows: tuple[tuple[str, str], ...]
    version: str | None


def relabellings(provenance: dict[str, Any]) -> tuple[Relabelling, ...]:
    """All times, the first one first; none where the labels are those that the method made."""
    found, facts = [], provenance.get("relabelled")
    while isinstance(facts, dict):
        found.append(Relabelling(str(facts.get("from", "an unknown set")), _rows(facts), _version(facts)))
        facts = facts.get("before")
    return tuple(reversed(found))


def _rows(facts: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    teacher, adsa, views = facts.get("teacher"), facts.get("adsa"), facts.get("views")
    by = "those stored before" if teacher is None else f"{teacher.get('architecture')}, {teacher.get('file')}"
    rows = [
        ("relabelled from", facts.get("from")),
        ("when", facts.get("written")),
        ("labels by" if teacher else "labels", by),
        ("SHA-256 of the teacher", None if teacher is None else teacher.get("sha256")),
        ("ADSA", _about_adsa(adsa)),
        ("labelled views", "none" if not views else "1 of each image" if views == 1 else f"{views:,} of each image"),
        ("on", facts.get("hardware")),
    ]
    return tuple((name, str(value)) for name, value in rows if value is not None)


def _about_adsa(adsa: dict[str, Any] | None) -> str:
    """Whether the labels were corrected for the long tail, and by how much."""
    if adsa is None:
        return "no correction for the long tail"
    counts = adsa["class_counts"]
    return f"corrected by τ = {adsa['tau']:.2f} for classes of {max(counts):,} to {min(counts):,} training images"


def about_silence(facts: RunFacts) -> str:
    """Why nothing was logged on the way."""
    if earlier := relabellings(facts.provenance):
        return f"The images are those of {earlier[0].source}, which has its losses, if any. Only labels changed."
    if not facts.complete:
        return "Nothing was logged yet."
    if facts.real_indices is not None:
        return "Nothing was logged on the way: methods that only choose images have no losses."
    return "Nothing was logged on the way."


def about_unreadable(facts: RunFacts) -> str:
    """How many files of the source were left out, and the first of them by name; nothing where none was."""
    found = facts.provenance.get("unreadable") or []
    if not found:
        return ""
    named = ", ".join(f"{one['where']} ({one['reason']})" for one in found[:_NAMED])
    more = f" and {len(found) - _NAMED:,} more" if len(found) > _NAMED else ""
    return f"{len(found):,} left out: {named}{more}"


def can_be_made_again(facts: RunFacts) -> bool:
    """Whether the recipe lies in the folder and names data that a command can read."""
    there = (facts.folder / "recipe.yaml").exists()
    return there and facts.recipe is not None and facts.source != IN_MEMORY


def provenance_rows(facts: RunFacts) -> tuple[tuple[str, str], ...]:
    """(what, value) of all that decided or describes the images."""
    found = facts.provenance
    versions = found.get("versions") or {}
    rows = [
        ("images written" if "relabelled" in found else "written", found.get("written")),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
        ("hardware", found.get("hardware")),
        ("device", found.get("device")),
        ("precision", found.get("precision")),
        ("threads", found.get("threads")),
        ("seed", facts.recipe.seed if facts.recipe else None),
        ("SHA-256 of the training images", found.get("data_sha256")),
        ("SHA-256 of the source", found.get("source_sha256")),
        ("SHA-256 of the images kept", (found.get("data") or {}).get("kept_indices_sha256")),
    ]
    return tuple((name, str(value)) for name, value in rows if value not in (None, ""))


def _version(provenance: dict[str, Any]) -> str | None:
    return _text((provenance.get("versions") or {}).get("distail"))


def _text(value: object) -> str | None:
    return None if value is None else str(value)
