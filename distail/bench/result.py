"""What is known of a finished cell: the whole file, and the few figures of it that tables need."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from distail.bench.cell import Place, in_short
from distail.errors import DistailError
from distail.evaluation.result import Evaluation

FORMAT = 1

SCORE_TITLES = {
    "accuracy": "accuracy in percent",
    "balanced_accuracy": "balanced accuracy in percent",
    "class_std": "standard deviation over classes in points (less is better)",
    "worst_class": "accuracy of the worst class in percent",
    "macro_f1": "macro F1 in percent",
    "ece": "calibration error in percent (less is better)",
    "many": "accuracy of many-shot classes in percent",
    "medium": "accuracy of medium-shot classes in percent",
    "few": "accuracy of few-shot classes in percent",
}
"""Scores as titles of tables name them."""

SCORES = tuple(SCORE_TITLES)
"""Figures of a student that tables can show."""


@dataclass(frozen=True)
class StudentLine:
    """The figures of one trained and tested network.

    Attributes:
        subject: what it learned from: 'distilled', a reference, or the name of a baseline.
        scores: by name, those of `SCORES` that apply.
    """

    subject: str
    architecture: str
    seed: int
    labels: str
    scores: Mapping[str, float]
    train_seconds: float


@dataclass(frozen=True)
class CellResult:
    """A finished cell, without what only a page about it needs.

    Attributes:
        status: 'done' or 'failed'.
        row, values, seed: where the cell stood when it ran; grids may have changed since.
        kind: 'set' or 'baseline'.
        labels: the label protocol that applied; where the cell failed, the one that was asked for.
        set: key of the set that was scored; None for baselines.
        students: one by one.
        stored_bytes: what a user has to keep; None where the cell failed.
        distill_seconds: making the set, with its experts and teachers, whoever trained them; None for baselines.
        peak_memory_bytes: of the process that made the set, or trained the baseline.
        seconds: wall time of the cell in its process, waiting left out; a set that another cell had made is not in it.
        error: one paragraph, where the cell failed.
        warnings: what the user may not have wanted.
    """

    key: str
    status: str
    row: str
    values: Mapping[str, Any]
    seed: int
    kind: str
    method: str
    labels: str
    set: str | None
    students: tuple[StudentLine, ...]
    stored_bytes: int | None
    distill_seconds: float | None
    peak_memory_bytes: int | None
    seconds: float
    error: str | None
    written: str
    warnings: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """What students that the cell is about learned from; others are references."""
        return "distilled" if self.kind == "set" else self.method

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> CellResult:
        """What `to_json` gave.

        Raises:
            KeyError, TypeError: it is something else.
        """
        students = tuple(StudentLine(**student) for student in values["students"])
        return CellResult(**{**values, "students": students, "warnings": tuple(values.get("warnings", ()))})


def unscored(place: Place, key: str, set_key: str | None) -> CellResult:
    """The result of a cell that has failed, before it is known why."""
    cell = place.cell
    return CellResult(
        key=key,
        status="failed",
        row=place.row,
        values=dict(place.values),
        seed=place.seed,
        kind=cell.kind,
        method=cell.method,
        labels="hard" if cell.baseline else cell.evaluation.labels,
        set=set_key,
        students=(),
        stored_bytes=None,
        distill_seconds=None,
        peak_memory_bytes=None,
        seconds=0.0,
        error=None,
        written=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def student_lines(evaluation: Evaluation) -> tuple[StudentLine, ...]:
    """The figures of every student."""
    return tuple(
        StudentLine(
            subject=student.subject,
            architecture=student.architecture,
            seed=student.seed,
            labels=student.labels,
            scores={
                name: value
                for name in SCORES
                if (value := min(student.scores.per_class) if name == "worst_class" else getattr(student.scores, name))
                is not None
            },
            train_seconds=student.train_seconds,
        )
        for student in evaluation.students
    )


@dataclass(frozen=True)
class CellRun:
    """What running a cell gave: a result, and all that its page shows.

    Attributes:
        result: the figures.
        recipe: of the set or the baseline, as JSON values.
        evaluation: None where the cell failed.
        traceback: where it failed; empty for bad input, whose message says all.
        environment: versions and hardware.
    """

    result: CellResult
    recipe: Mapping[str, Any]
    evaluation: Evaluation | None
    traceback: str
    environment: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The content of the cell's file."""
        return {
            "format": FORMAT,
            **self.result.to_json(),
            "recipe": dict(self.recipe),
            "evaluation": None if self.evaluation is None else self.evaluation.to_json(),
            "traceback": self.traceback,
            "environment": dict(self.environment),
        }


def failure_of(error: BaseException) -> tuple[str, str]:
    """What to record of an error: one paragraph, and the traceback where the error is not for people."""
    if isinstance(error, DistailError):
        return str(error), ""
    return f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error))


def described(place: Place | CellResult) -> str:
    """'lad, IF 100, IPC 10, seed 0'."""
    return ", ".join(filter(None, (place.row, in_short(place.values), f"seed {place.seed}")))
