"""`Evaluation`: all that scoring found out, as plain values that go to JSON and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from distail.artifact import read_json, write_json
from distail.distilled import StoredBytes
from distail.errors import DistailError
from distail.evaluation.fairness import Fairness
from distail.evaluation.metrics import SCALAR_SCORES, CalibrationBin, Scores, Summary, summarise
from distail.groups.stages import StageTraining

FILE_NAME = "evaluation.json"


@dataclass(frozen=True)
class StudentScore:
    """One trained and tested student.

    Attributes:
        subject: what it was trained on: 'distilled', 'random' or 'full', or 'distilled, hard' for fairness scores; or
            'two-stage, soft routing' and 'two-stage, hard routing', of one and the same networks; or the name of the
            baseline that trained it on all images.
        labels: the label protocol that applied.
        num_images: training images; of two stages those of all of them.
        epochs: passes over them; of two stages those of the group stage.
        kept_epoch: the epoch whose network was scored; of two stages that of the group stage.
        train_seconds: wall time of training; of two stages that of all of them.
        reused: whether all of it, or a part, was trained earlier and kept; the time is then that of another hour, and
            perhaps of another machine.
        group_accuracy: of two stages, share of test images whose group is decided rightly, 0 to 1.
        stages: how each of several stages was trained, the group stage first.
    """

    subject: str
    architecture: str
    seed: int
    labels: str
    num_images: int
    epochs: int
    kept_epoch: int
    train_seconds: float
    scores: Scores
    group_accuracy: float | None = None
    stages: tuple[StageTraining, ...] = ()
    reused: bool = False


@dataclass(frozen=True)
class Evaluation:
    """Scores of a distilled set and of its references, or of a baseline.

    Attributes:
        students: every student, one by one.
        class_names: in label order.
        train_counts: images of each class in the data that was distilled, where known.
        stored: bytes of what a user has to keep.
        fairness: by architecture; empty unless both references were trained.
        provenance: recipe, versions, hardware, hashes.
        teacher: of the network that labelled views, on the same test images; None where students asked none.
    """

    students: tuple[StudentScore, ...]
    class_names: tuple[str, ...]
    train_counts: tuple[int, ...] | None
    stored: StoredBytes
    fairness: dict[str, Fairness]
    provenance: dict[str, Any]
    teacher: Scores | None = None

    def of(self, subject: str, architecture: str | None = None) -> tuple[StudentScore, ...]:
        """Students trained on this subject, with this architecture or any."""
        return tuple(
            student
            for student in self.students
            if student.subject == subject and architecture in (None, student.architecture)
        )

    @property
    def groups(self) -> tuple[tuple[str, str], ...]:
        """The distinct (subject, architecture) pairs, in order of training."""
        return tuple(dict.fromkeys((student.subject, student.architecture) for student in self.students))

    def summary(self, subject: str | None = None, architecture: str | None = None) -> dict[str, Summary]:
        """n, mean and sample std of each score over seeds; scores that do not apply are left out.

        Args:
            subject: whose; when omitted the distilled set's, or those of the baseline that was scored.
            architecture: of which networks; any when omitted.

        Raises:
            DistailError: no such students.
        """
        students = self._scored(subject or self.students[0].subject, architecture)
        found = {}
        for name in SCALAR_SCORES:
            values = [getattr(student.scores, name) for student in students]
            if all(value is not None for value in values):
                found[name] = summarise(values)
        return found

    def per_class(self, subject: str | None = None, architecture: str | None = None) -> tuple[Summary, ...]:
        """n, mean and sample std of each class' accuracy over seeds; arguments as for `summary`."""
        students = self._scored(subject or self.students[0].subject, architecture)
        rows = [student.scores.per_class for student in students]
        return tuple(summarise(list(column)) for column in zip(*rows, strict=True))

    def group_accuracy(self, subject: str, architecture: str | None = None) -> Summary | None:
        """n, mean and sample std over seeds of the share of test images whose group was decided rightly; None where
        there are no two stages.

        Raises:
            DistailError: no such students.
        """
        values = [student.group_accuracy for student in self._scored(subject, architecture)]
        known = [value for value in values if value is not None]
        return summarise(known) if known else None

    def _scored(self, subject: str, architecture: str | None) -> tuple[StudentScore, ...]:
        """As `of`, but at least one."""
        if students := self.of(subject, architecture):
            return students
        there = "; ".join(f"'{one}' with {network}" for one, network in self.groups)
        raise DistailError(
            f"Nothing was scored on '{subject}' with {architecture or 'any architecture'}. Ask for one of: {there}."
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values, with the summaries beside the single students."""
        summaries = [
            {
                "subject": subject,
                "architecture": architecture,
                "scores": {name: asdict(value) for name, value in self.summary(subject, architecture).items()},
                "per_class": [asdict(value) for value in self.per_class(subject, architecture)],
                "group_accuracy": asdict(groups) if (groups := self.group_accuracy(subject, architecture)) else None,
            }
            for subject, architecture in self.groups
        ]
        return {**asdict(self), "summaries": summaries}

    def save(self, path: Path) -> None:
        """Writes the evaluation as JSON, atomically."""
        write_json(path, self.to_json())


def load_evaluation(path: Path) -> Evaluation:
    """Reads what `Evaluation.save` wrote.

    Raises:
        DistailError: the file is missing or is no evaluation.
    """
    return parse_evaluation(read_json(path), str(path))


def parse_evaluation(values: Any, where: str) -> Evaluation:
    """The evaluation that `Evaluation.to_json` wrote.

    Args:
        values: as read from JSON.
        where: what the user knows them as, for the error message.

    Raises:
        DistailError: they are no evaluation.
    """
    try:
        students = tuple(_student(student) for student in values["students"])
        counts = values["train_counts"]
        return Evaluation(
            students=students,
            class_names=tuple(values["class_names"]),
            train_counts=None if counts is None else tuple(counts),
            stored=StoredBytes(**values["stored"]),
            fairness={name: Fairness(**scores) for name, scores in values["fairness"].items()},
            provenance=values["provenance"],
            # Files from before teachers were scored do not name any.
            teacher=None if (teacher := values.get("teacher")) is None else _scores(teacher),
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise DistailError(f"{where} is no evaluation of distail ({error}). Score the run again.") from None


def _student(values: Any) -> StudentScore:
    # Files from before there were two stages do not name any.
    stages = tuple(StageTraining(**stage) for stage in values.get("stages", ()))
    return StudentScore(**{**values, "scores": _scores(values["scores"]), "stages": stages})


def _scores(values: dict[str, Any]) -> Scores:
    nested: Callable[[Any], Any] = lambda value: (  # noqa: E731
        tuple(nested(item) for item in value) if isinstance(value, list) else value
    )
    # Files from before bins were kept do not name any.
    bins = values.get("calibration")
    calibration = None if bins is None else tuple(CalibrationBin(**one) for one in bins)
    plain = {name: nested(value) for name, value in values.items() if name != "calibration"}
    return Scores(**plain, calibration=calibration)
