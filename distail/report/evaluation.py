"""An `Evaluation` as tables and sentences."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

from rich.console import Console, RenderableType
from rich.table import Table

from distail.config import parse_config
from distail.distilled import DistilledSet
from distail.errors import counted
from distail.evaluation.recipe import EvaluationRecipe
from distail.evaluation.result import Evaluation, StudentScore
from distail.report.names import one_line
from distail.report.terminal import ScoreRow, evaluation_table, per_class_table
from distail.training.recipe import TrainRecipe

TEXT_WIDTH = 110
OPTIMIZERS = {"sgd": "SGD", "adamw": "AdamW"}
"""How they are written."""
MIN_TEST_IMAGES = 10
"""Test images of a class below which a reader is warned."""


def subject_title(subject: str, distilled: DistilledSet | None = None) -> str:
    """What a row is called: 'distilled (dm)', 'random images', 'whole training set'."""
    method = distilled.provenance.get("recipe", {}).get("method") if distilled else None
    titles = {"random": "random images", "full": "whole training set"}
    if subject in titles:
        return titles[subject]
    if not method:
        return subject
    later = {"relabelled": ", relabelled", "exported_to": ", exported"}
    changed = "".join(words for fact, words in later.items() if distilled and fact in distilled.provenance)
    return subject.replace("distilled", f"distilled ({method}{changed})")


def by_network(result: Evaluation) -> list[tuple[str, str]]:
    """(subject, architecture) of all rows: those of a network side by side, the set before what it is compared with."""
    networks = list(dict.fromkeys(architecture for _, architecture in result.groups))
    return sorted(result.groups, key=lambda row: (networks.index(row[1]), row[0] != "distilled"))


def evaluation_tables(result: Evaluation, distilled: DistilledSet | None = None) -> list[Table]:
    """The table of scores, and that of per-class accuracies."""
    score_rows, class_rows = [], {}
    for subject, architecture in by_network(result):
        first = result.of(subject, architecture)[0]
        title = subject_title(subject, distilled)
        summary = result.summary(subject, architecture)
        cells = {name: (value.mean, value.std) for name, value in summary.items()}
        score_rows.append(ScoreRow(title, architecture, first.labels, summary["accuracy"].n, cells))
        per_class = result.per_class(subject, architecture)
        class_rows[f"{title}, {architecture}"] = tuple((value.mean, value.std) for value in per_class)
    note = _whose_training(result, distilled) if distilled else ""
    return [evaluation_table(score_rows, note), per_class_table(result.class_names, class_rows)]


def evaluation_notes(result: Evaluation, distilled: DistilledSet, recipe: EvaluationRecipe) -> list[str]:
    """What a reader must know beside the numbers: labels, selection, bytes, fairness."""
    first = result.of("distilled")[0]
    notes = []
    if recipe.labels == "static" and first.labels == "hard":
        notes.append("Labels: the set stores no soft labels, so 'static' means its hard labels.")
    chosen = "last epoch" if recipe.select == "last" else "best epoch on validation images from the training data"
    how = _training(result)
    optimizer = OPTIMIZERS[how.optimizer]
    notes.append(
        f"Each student: {_epochs(how)}, {chosen}, batch {how.batch_size}, {optimizer} learning rate "
        f"{_learning_rates(result, distilled, how)}, augmentation {how.augmentation}, "
        f"{result.provenance['precision']} on {result.provenance['device']}."
    )
    notes += _about_training(result, distilled, recipe)
    if recipe.seeds > 1:
        notes.append(
            "± is the sample standard deviation over seeds: over students of one and the same distilled set, while "
            "each student on random images has a draw of its own."
            if result.of("random")
            else "± is the sample standard deviation over students of one and the same set, made once."
        )
    notes += about_reused(result)
    notes += about_two_stages(result)
    notes += about_test_images(result, first)
    notes += about_leaked(result, "the images the set was made from")
    if full := result.of("full"):
        notes.append(
            f"Students on the whole training set: {full[0].num_images:,} images as they are, "
            f"{counted(full[0].epochs, 'epoch')}{_against_hard_labels(how)}. "
            "Training that makes up for the imbalance would score higher; `distail baseline` does."
        )
    notes += about_teacher(result)
    stored = result.stored
    notes.append(
        f"Stored bytes: images {stored.images:,}, labels {stored.labels:,}, preprocessing {stored.preprocessing:,}"
        + (f", teacher {stored.teacher:,}" if stored.teacher else "")
        + f"; together {stored.total:,}."
    )
    return notes + [_about_fairness(result, architecture) for architecture in result.fairness]


def about_teacher(result: Evaluation) -> list[str]:
    """What the network that labelled views gets itself; nothing where students asked none."""
    if result.teacher is None:
        return []
    return [
        f"The network that students asked gets {result.teacher.accuracy:.1%} of the test images right itself, of its "
        f"worst class {min(result.teacher.per_class):.1%}. It has to be kept with the set to train like this."
    ]


def students_in_short(result: Evaluation) -> str:
    """'100 epochs; batch_size=10, optimizer=adamw': how students of the set were trained, where that differs from the
    common evaluation. Tells nothing of a learning rate that was learned with the set."""
    how = _training(result)
    differing = [f"{name}={value}" for name, value in how.given.items() if name != "epochs"]
    return "; ".join([_epochs(how), ", ".join(differing) or "otherwise the common evaluation"])


def about_reused(result: Evaluation) -> list[str]:
    """How many networks were trained earlier; nothing where none was."""
    count = sum(student.reused for student in result.students)
    if not count:
        return []
    return [
        f"{count} of {len(result.students)} rows are of networks that were trained earlier and kept, wholly or in a "
        "part; their times are those of then."
    ]


def _epochs(how: TrainRecipe) -> str:
    """'1001 epochs (1000, and one more by the step schedule)'."""
    asked, run = how.epochs, how.num_epochs
    return counted(run, "epoch") + (f" ({asked}, and one more by the step schedule)" if run != asked else "")


def _training(result: Evaluation) -> TrainRecipe:
    """How students of the set were trained."""
    return parse_config(TrainRecipe, result.provenance["train"], "evaluation")


def _whose_training(result: Evaluation, distilled: DistilledSet) -> str:
    """Whose recipe students were trained by; empty where that is the common one, but for what a note always tells."""
    if distilled.training is not None:
        return "trained as stored with the set"
    return "trained by a recipe of one's own" if _training(result).given.keys() - _ALWAYS_TOLD else ""


_ALWAYS_TOLD = {"epochs", "batch_size", "learning_rate", "augmentation"}


def _about_training(result: Evaluation, distilled: DistilledSet, recipe: EvaluationRecipe) -> list[str]:
    """The whole recipe of the students, where it is not the common one."""
    if not _whose_training(result, distilled):
        return []
    stored = distilled.training is not None
    asked = sorted(recipe.train.model_fields_set) if stored else []
    whose = "as it is stored with the set" if stored else "as asked"
    but = f", but for {', '.join(asked)}, as asked" if asked else ""
    differing = ", ".join(f"{name}={value}" for name, value in _training(result).given.items()) or "nothing"
    return [
        f"Training {whose}{but}; what differs from the common evaluation: {differing}. Scores by different training "
        "are not comparable."
    ]


def _against_hard_labels(how: TrainRecipe) -> str:
    """What the reference on the whole training set is trained by where students of the set learn by another loss."""
    return "" if how == how.on_hard_labels else ", by cross-entropy with hard labels, otherwise by the same recipe"


def _learning_rates(result: Evaluation, distilled: DistilledSet, how: TrainRecipe) -> str:
    """'0.01', or the one that was learned with the set and that of the references."""
    usual = f"{how.learning_rate:g}"
    if how.learning_rate_large is not None:
        usual += f" ({how.learning_rate_large:g} for networks of over a million weights)"
    if distilled.learning_rate is None:
        return usual
    learned = f"{distilled.learning_rate:.3g} (learned with the set"
    return f"{learned}; {usual} on the references)" if len(result.groups) > 1 else f"{learned})"


def _about_fairness(result: Evaluation, architecture: str) -> str:
    """The set beside its references: first as it is meant to be used, then with hard labels all round."""
    scores = result.fairness[architecture]
    own, random = result.of("distilled", architecture)[0].labels, result.of("random", architecture)[0].labels
    best = result.summary("distilled", architecture)["accuracy"]
    beside = result.summary("random", architecture)["accuracy"]
    text = (
        f"{architecture}: distilled with {own} labels {100 * best.mean:.1f}, random images with {random} labels "
        f"{100 * beside.mean:.1f}, a difference of {100 * (best.mean - beside.mean):+.1f} points"
    )
    if best.n > 1 and abs(best.mean - beside.mean) <= math.hypot(best.std, beside.std):
        text += ", which is no more than their deviations"
    hard = result.summary("distilled" if own == "hard" else "distilled, hard", architecture)["accuracy"]
    full = result.summary("full", architecture)["accuracy"]
    all_hard = [f"distilled {100 * hard.mean:.1f}"] if own != "hard" else []
    all_hard += [f"random {100 * beside.mean:.1f}"] if own != "hard" and random == "hard" else []
    all_hard += [f"the whole training set {100 * full.mean:.1f}"]
    return (
        f"{text}. With hard labels: {', '.join(all_hard)}. Label-robust score {scores.label_robust_score:.3f} "
        "(DD-Ranking, 0 to 1)."
    )


def about_two_stages(result: Evaluation) -> list[str]:
    """Which groups two stages went by, what they learned from, and how often the group was right; none without them."""
    rows = [(subject, architecture) for subject, architecture in result.groups if result.of(subject)[0].stages]
    if not rows:
        return []
    grouping = result.provenance["grouping"]
    groups = "; ".join(f"{number}: {', '.join(members)}" for number, members in enumerate(grouping["groups"], start=1))
    learned = "; ".join(
        f"{stage.title} from {stage.num_images:,} {'long-tailed' if stage.data == 'full' else 'distilled'} images, "
        + counted(stage.epochs, "epoch")
        for stage in result.of(rows[0][0])[0].stages
    )
    notes = [f"Two stages decide between groups ({groups}), then in one. They learned {learned}."]
    for architecture in dict.fromkeys(architecture for _, architecture in rows):
        right = result.group_accuracy(rows[0][0], architecture)
        assert right is not None
        spread = f" ± {100 * right.std:.1f}" if right.n > 1 else ""
        notes.append(
            f"{architecture}: the group is right for {100 * right.mean:.1f}%{spread} of the test images, n = {right.n}."
        )
    if grouping["provenance"].get("features") == "test":
        notes.append(
            "CAUTION: the groups were found in features of test images, as in the paper, which makes scores too good "
            "if they are those tested on."
        )
    return notes


def about_test_images(result: Evaluation, student: StudentScore) -> list[str]:
    """How many images the scores rest on."""
    counts = [sum(row) for row in student.scores.confusion]
    test = result.provenance["test"]
    notes = [
        f"Tested on {sum(counts):,} images of {test['origin']}, which no student was trained on and no epoch "
        "selected by."
    ]
    if min(counts) < MIN_TEST_IMAGES:
        notes.append(_about_few(result.class_names, counts))
    return notes


def _about_few(class_names: Sequence[str], counts: Sequence[int]) -> str:
    """How many classes have few test images, and which has the fewest."""
    few = sum(count < MIN_TEST_IMAGES for count in counts)
    fewest = f"'{one_line(class_names[counts.index(min(counts))])}'"
    if few == 1:
        what = f"class {fewest} has only {counted(min(counts), 'test image')}"
    else:
        every = "all" if few == len(counts) else f"{few:,} of {len(counts):,}"
        what = f"{every} classes have fewer than {MIN_TEST_IMAGES} test images, {fewest} the fewest: {min(counts)}"
    return f"CAUTION: {what}. Accuracies that rest on so few mean little, and '±' does not show it."


def about_leaked(result: Evaluation, among: str) -> list[str]:
    """How many test images are training images too, where any are."""
    test = result.provenance["test"]
    if not test["leaked"]:
        return []
    are = "is" if test["leaked"] == 1 else "are"
    return [
        f"CAUTION: {test['leaked']} of the {test['images']} test images {are} also among {among}, which makes scores "
        "too good."
    ]


def render_text(parts: Sequence[RenderableType]) -> str:
    """The parts as plain text, for a file."""
    console = Console(file=io.StringIO(), width=TEXT_WIDTH, color_system=None, force_terminal=False)
    for part in parts:
        console.print(part, highlight=False, markup=False)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
