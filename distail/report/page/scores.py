"""What a page shows of an evaluation: lines of scores, and for each kind of student its classes and mistakes."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from distail.config import parse_config
from distail.data.long_tail import FEW_BELOW, MANY_ABOVE, shot_group
from distail.distilled import DistilledSet, StoredBytes
from distail.errors import DistailError
from distail.evaluation.metrics import Summary
from distail.evaluation.recipe import EvaluationRecipe
from distail.evaluation.result import Evaluation
from distail.report.evaluation import by_network, evaluation_notes, subject_title
from distail.report.page.charts import Reliability, reliability
from distail.report.page.html import percent
from distail.report.page.pictures import Picture, shares_picture
from distail.report.page.run_facts import Scored

REFERENCES = ("random", "full")

SHOT_MEANINGS = {
    "many": f"more than {MANY_ABOVE} training images",
    "medium": f"{FEW_BELOW} to {MANY_ABOVE}",
    "few": f"fewer than {FEW_BELOW}",
}
"""What many, medium and few stand for."""

MAX_TABLE_CLASSES = 20
"""Classes up to which a confusion matrix is a table of numbers; a picture above."""

MAX_PICTURE_CLASSES = 400
"""Classes up to which it is a picture; above, only the most frequent mistakes are listed."""

_MISTAKES = 10


@dataclass(frozen=True)
class ScoreLine:
    """Scores of students of one kind.

    Attributes:
        title: what they were trained on.
        subject, architecture, labels: as in `StudentScore`.
        is_reference: whether it is there to compare with.
        n: students.
        num_images: that each was trained on.
        cells: by the name of the score.
        seconds: mean time of training one.
    """

    title: str
    subject: str
    architecture: str
    labels: str
    is_reference: bool
    n: int
    num_images: int
    cells: dict[str, Summary]
    seconds: float


@dataclass(frozen=True)
class ClassLine:
    """One class: its training images, many, medium or few, where known, and its accuracy, also in the references."""

    name: str
    count: int | None
    shot: str | None
    accuracy: Summary
    references: tuple[Summary, ...]


@dataclass(frozen=True)
class Mistake:
    """Test images of one class that were taken for another: how many, over all students, and as a share of it."""

    true: str
    predicted: str
    count: int
    share: float


@dataclass(frozen=True)
class Confusion:
    """What was taken for what, over all students.

    Attributes:
        shares: (true, predicted), as fractions of the true class; empty where there are too many for a table.
        picture: in place of a table.
        mistakes: the most frequent.
    """

    shares: tuple[tuple[float, ...], ...]
    picture: Picture | None
    mistakes: tuple[Mistake, ...]


@dataclass(frozen=True)
class Detail:
    """All about students of one kind.

    Attributes:
        line: their scores.
        classes: one by one.
        references: titles of the references that stand beside each class.
        confusion: what they take for what.
        reliability: how often they are right when they are so certain; None where the file does not tell.
    """

    line: ScoreLine
    classes: tuple[ClassLine, ...]
    references: tuple[str, ...]
    confusion: Confusion
    reliability: Reliability | None


@dataclass(frozen=True)
class EvaluationView:
    """One evaluation.

    Attributes:
        file: its name in the run folder.
        labels: the label protocol of the students of the set.
        lines: scores, as in the terminal's table: network by network, the set first.
        details: of the set's students, the first to be looked at first.
        notes: what a reader must know.
        stored: bytes of what a user has to keep under this protocol.
        missing_references: those that were not trained.
        written: when, as an ISO time; may be empty.
    """

    file: str
    labels: str
    lines: tuple[ScoreLine, ...]
    details: tuple[Detail, ...]
    notes: tuple[str, ...]
    stored: StoredBytes
    missing_references: tuple[str, ...]
    written: str

    @property
    def scores(self) -> frozenset[str]:
        """Names of the scores that any line has."""
        return frozenset(name for line in self.lines for name in line.cells)

    @property
    def first(self) -> ScoreLine:
        """The students of the set, of the first network."""
        return self.lines[0]

    @property
    def beside(self) -> tuple[ScoreLine, ...]:
        """Lines of the first network: the set first, then what stands beside it."""
        return tuple(line for line in self.lines if line.architecture == self.first.architecture)


def evaluation_view(scored: Scored, distilled: DistilledSet | None) -> EvaluationView:
    """What to show of it."""
    result = scored.result
    lines = tuple(_line(result, subject, architecture, distilled) for subject, architecture in by_network(result))
    return EvaluationView(
        file=scored.file,
        labels=lines[0].labels,
        lines=lines,
        details=tuple(_detail(result, line, lines) for line in lines if not line.is_reference),
        notes=tuple(_notes(result, distilled)),
        stored=result.stored,
        missing_references=tuple(name for name in REFERENCES if not result.of(name)),
        written=str(result.provenance.get("written", "")),
    )


def _line(result: Evaluation, subject: str, architecture: str, distilled: DistilledSet | None) -> ScoreLine:
    students = result.of(subject, architecture)
    return ScoreLine(
        title=subject_title(subject, distilled),
        subject=subject,
        architecture=architecture,
        labels=students[0].labels,
        is_reference=subject in REFERENCES,
        n=len(students),
        num_images=students[0].num_images,
        cells=result.summary(subject, architecture),
        seconds=sum(student.train_seconds for student in students) / len(students),
    )


def _detail(result: Evaluation, line: ScoreLine, lines: tuple[ScoreLine, ...]) -> Detail:
    students = result.of(line.subject, line.architecture)
    beside = [other for other in lines if other.is_reference and other.architecture == line.architecture]
    columns = [result.per_class(other.subject, other.architecture) for other in beside]
    counts = result.train_counts
    own = result.per_class(line.subject, line.architecture)
    classes = tuple(
        ClassLine(
            name=name,
            count=counts[label] if counts else None,
            shot=shot_group(counts[label]) if counts else None,
            accuracy=own[label],
            references=tuple(column[label] for column in columns),
        )
        for label, name in enumerate(result.class_names)
    )
    bins = [student.scores.calibration for student in students]
    known = [one for one in bins if one is not None]
    return Detail(
        line=line,
        classes=classes,
        references=tuple(other.title for other in beside),
        confusion=_confusion(result, line),
        reliability=reliability(known, percent(line.cells["ece"])) if len(known) == len(bins) else None,
    )


def _confusion(result: Evaluation, line: ScoreLine) -> Confusion:
    students = result.of(line.subject, line.architecture)
    counts = torch.stack([torch.tensor(student.scores.confusion) for student in students]).sum(0)
    shares = counts.double() / counts.sum(1, keepdim=True).clamp(min=1)
    names, size = result.class_names, len(counts)
    wrong = counts.clone().fill_diagonal_(0).flatten()
    order = wrong.argsort(descending=True, stable=True)[:_MISTAKES].tolist()
    mistakes = tuple(
        Mistake(
            names[place // size],
            names[place % size],
            int(wrong[place]),
            float(shares[place // size, place % size]),
        )
        for place in order
        if wrong[place]
    )
    if size <= MAX_TABLE_CLASSES:
        return Confusion(tuple(map(tuple, shares.tolist())), None, mistakes)
    alt = f"Confusion matrix of {size} classes in label order: a row for each true one, a column for each predicted one"
    return Confusion((), shares_picture(shares, alt) if size <= MAX_PICTURE_CLASSES else None, mistakes)


def _notes(result: Evaluation, distilled: DistilledSet | None) -> list[str]:
    """The terminal's notes; none where the file does not hold what they need, as those of other versions may not."""
    if distilled is None:
        return []
    try:
        recipe = parse_config(EvaluationRecipe, result.provenance["recipe"], "evaluation")
        return evaluation_notes(result, distilled, recipe)
    except (DistailError, KeyError, IndexError, TypeError):
        return []
