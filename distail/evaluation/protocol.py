"""The protocol: train students on the set and its references, test them, summarise.

The test set is touched after training has ended. Epochs are selected on validation images or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from distail.data.holdout import Holdout, hold_out
from distail.data.image_set import ImageSet, require_same_classes
from distail.distilled import DistilledSet, StoredBytes
from distail.errors import DistailError
from distail.evaluation.apart import count_leaked, describe_test, require_apart
from distail.evaluation.fairness import Fairness, fairness
from distail.evaluation.metrics import Scores
from distail.evaluation.recipe import EvaluationRecipe
from distail.evaluation.references import random_subset
from distail.evaluation.result import Evaluation, StudentScore
from distail.evaluation.testing import tested
from distail.evaluation.two_stages import TWO_STAGE, score_two_stages
from distail.groups.grouping import Grouping
from distail.groups.settings import TwoStageRecipe
from distail.groups.two_stage_training import TwoStageLessons, require_two_stages, two_stage_grouping
from distail.learn.kept import KeptNetworks
from distail.learn.labels import effective_protocol, own_training, require_teacher
from distail.learn.student import Classroom, train_student
from distail.models.saved import SavedNetwork
from distail.progress import Progress, SilentProgress
from distail.provenance import environment
from distail.runtime import Runtime
from distail.training.loop import Selection
from distail.training.recipe import LabelProtocol, TrainRecipe
from distail.training.validation import VALIDATION_FRACTION, selection_on


@dataclass(frozen=True, eq=False)
class Scoring:
    """Everything that scoring needs.

    Attributes:
        distilled: the set to score.
        test: held-out images of the same classes.
        recipe: how.
        train: the long-tailed images that were distilled; needed by references, validation and two stages only.
        teacher: the network that labels views, under the protocol 'teacher'.
        grouping: which two stages go by; found on the training images when None.
        kept: where trained networks are kept and taken from; every network is trained when None.
    """

    distilled: DistilledSet
    test: ImageSet
    recipe: EvaluationRecipe
    train: ImageSet | None = None
    teacher: SavedNetwork | None = None
    runtime: Runtime = field(default_factory=Runtime)
    progress: Progress = field(default_factory=SilentProgress)
    grouping: Grouping | None = None
    kept: KeptNetworks | None = None

    def __post_init__(self) -> None:
        require_teacher(self.recipe.labels, self.teacher)
        require_same_classes(self.distilled.class_names, "the distilled set", self.test.class_names, "the test data")
        self.test.require_no_empty_class()
        if self.test.image_shape != self.distilled.image_shape:
            raise DistailError(
                f"Test images are {self.test.image_shape} (channels, height, width), distilled ones "
                f"{self.distilled.image_shape}. Use test data of the same kind, or distil again with --image-size "
                f"{self.distilled.image_shape[1]}, so that both are resized alike."
            )
        if self.train is None:
            if self.recipe.references or self.recipe.select == "validation":
                raise DistailError(
                    "References and a validation split are drawn from the training data, which are not known here. "
                    "Name them with --train SOURCE (and --imbalance as when distilling)."
                )
        else:
            require_same_classes(
                self.distilled.class_names, "the distilled set", self.train.class_names, "the training data"
            )
        seen = {self.distilled.provenance.get(key) for key in ("data_sha256", "source_sha256")} | {self._train_hash}
        require_apart(self.test, seen, self.num_leaked, "the set was made from")
        if self.recipe.two_stage is not None:
            require_two_stages(self.distilled, self.recipe.two_stage, self.train, self.grouping)

    @property
    def num_leaked(self) -> int:
        """Test images that equal, pixel by pixel, one of the images the set was made from."""
        known = [self.distilled.training_fingerprints, None if self.train is None else self.train.fingerprints]
        return count_leaked(self.test, [fingerprints for fingerprints in known if fingerprints is not None])

    @property
    def train_counts(self) -> tuple[int, ...] | None:
        """Images of each class in the data that were distilled, where known."""
        if self.train is not None:
            return self.train.class_counts
        recorded = self.distilled.provenance.get("class_counts")
        return None if recorded is None else tuple(recorded)

    @property
    def train_recipe(self) -> TrainRecipe:
        """How students of the set are trained."""
        return own_training(self.distilled, self.recipe.labels).changed_by(self.recipe.train)

    @property
    def _train_hash(self) -> str | None:
        return self.train.content_hash if self.train is not None else None


def evaluate(scoring: Scoring) -> Evaluation:
    """Trains and tests all students that the recipe asks for.

    Raises:
        DistailError: parts of `scoring` do not fit together, or training diverges.
    """
    grouping = _grouping(scoring)
    subjects = ["distilled", *([TWO_STAGE] if grouping else []), *scoring.recipe.references]
    effective = effective_protocol(scoring.distilled, scoring.recipe.labels)
    wants_fairness = {"random", "full"} <= set(scoring.recipe.references)
    if wants_fairness and effective != "hard":
        subjects.append("distilled, hard")
    students: list[StudentScore] = []
    for architecture in scoring.recipe.architectures:
        for subject in subjects:
            for seed in range(scoring.recipe.seeds):
                if subject == TWO_STAGE and grouping:
                    scored = _score_two_stages(scoring, grouping, architecture, seed)
                else:
                    scored = [_score_student(scoring, subject, architecture, seed)]
                students += scored
                for one in scored:
                    right = f"{one.scores.accuracy:.1%} of the test images right"
                    scoring.progress.say(f"{one.subject}, {architecture}, seed {seed}: {right}")
    stored = scoring.distilled.stored_bytes(effective)
    teacher_bytes = scoring.teacher.num_bytes if scoring.teacher else 0
    return Evaluation(
        students=tuple(students),
        class_names=scoring.distilled.class_names,
        train_counts=scoring.train_counts,
        stored=StoredBytes(stored.images, stored.labels, stored.preprocessing, teacher_bytes),
        fairness=_fairness(students, scoring.recipe.architectures, effective) if wants_fairness else {},
        provenance=_provenance(scoring, grouping),
        teacher=_score_teacher(scoring),
    )


def _score_teacher(scoring: Scoring) -> Scores | None:
    """What the network that labels views gets itself: whoever has to ship it could use it instead of a student."""
    if scoring.teacher is None:
        return None
    scores = tested(scoring.teacher, scoring.test, scoring.train_counts, scoring.runtime)
    scoring.progress.say(f"the network that students asked: {scores.accuracy:.1%} of the test images right")
    return scores


def _score_student(scoring: Scoring, subject: str, architecture: str, seed: int) -> StudentScore:
    recipe, labels = _training(scoring, subject)
    classroom = _classroom(scoring, subject, labels, seed)
    student = train_student(
        classroom,
        architecture,
        recipe,
        seed,
        scoring.runtime,
        progress=scoring.progress,
        selection=_selection(scoring, classroom, recipe, seed),
        kept=scoring.kept,
    )
    return StudentScore(
        subject=subject,
        architecture=architecture,
        seed=seed,
        labels=labels,
        num_images=len(classroom.data),
        epochs=recipe.num_epochs,
        kept_epoch=student.history.kept_epoch,
        train_seconds=student.seconds,
        scores=tested(student.saved, scoring.test, scoring.train_counts, scoring.runtime),
        reused=student.reused,
    )


def _training(scoring: Scoring, subject: str) -> tuple[TrainRecipe, LabelProtocol]:
    """The recipe and the label protocol that apply to a subject."""
    recipe, labels = scoring.train_recipe, effective_protocol(scoring.distilled, scoring.recipe.labels)
    if subject == "full":
        epochs = scoring.recipe.full_epochs or recipe.epochs
        return recipe.on_hard_labels.model_copy(update={"epochs": epochs}), "hard"
    # Random real images store no soft labels, so only a teacher can give them any.
    if subject == "distilled, hard" or (subject == "random" and labels == "static"):
        return recipe.on_hard_labels, "hard"
    return recipe, labels


def _classroom(scoring: Scoring, subject: str, labels: LabelProtocol, seed: int) -> Classroom:
    distilled, teacher = scoring.distilled, scoring.teacher if labels == "teacher" else None
    if subject in ("distilled", "distilled, hard"):
        return Classroom.of_distilled(distilled, labels, scoring.runtime, teacher)
    train = scoring.train
    assert train is not None, "Scoring refuses references without training data"
    if scoring.recipe.select == "validation":
        train = train.subset(hold_out(train, VALIDATION_FRACTION, seed, "validation").rest)
    if subject == "random":
        return Classroom.of_distilled(random_subset(distilled, train, seed), labels, scoring.runtime, teacher)
    return Classroom.of_images(train, distilled.preprocessing, scoring.runtime)


def _selection(scoring: Scoring, classroom: Classroom, recipe: TrainRecipe, seed: int) -> Selection | None:
    if scoring.recipe.select == "last" or scoring.train is None:
        return None
    held_out = scoring.train.subset(_validation_split(scoring.train, seed).held_out)
    return selection_on(held_out, classroom.preprocessing, recipe, scoring.runtime)


def _validation_split(train: ImageSet, seed: int) -> Holdout:
    split = hold_out(train, VALIDATION_FRACTION, seed, "validation")
    if len(split.held_out) == 0:
        raise DistailError(
            "No class of the training data has two images, so none can be held out for validation. Use --select last."
        )
    return split


def _lessons(scoring: Scoring, recipe: TwoStageRecipe) -> TwoStageLessons:
    return TwoStageLessons(
        distilled=scoring.distilled,
        recipe=recipe,
        train=scoring.train_recipe,
        labels=effective_protocol(scoring.distilled, scoring.recipe.labels),
        images=scoring.train,
        teacher=scoring.teacher,
        runtime=scoring.runtime,
        progress=scoring.progress,
        kept=scoring.kept,
    )


def _grouping(scoring: Scoring) -> Grouping | None:
    """The grouping that all two-stage rows go by, found once with the first network; None without such rows."""
    recipe = scoring.recipe.two_stage
    if recipe is None or scoring.grouping is not None:
        return None if recipe is None else scoring.grouping
    return two_stage_grouping(_lessons(scoring, recipe), scoring.recipe.architectures[0])


def _score_two_stages(scoring: Scoring, grouping: Grouping, architecture: str, seed: int) -> list[StudentScore]:
    recipe = scoring.recipe.two_stage
    assert recipe is not None, "without it there is no grouping"
    lessons = _lessons(scoring, recipe)
    if scoring.recipe.select == "validation" and scoring.train is not None:
        split = _validation_split(scoring.train, seed)
        rest, held_out = scoring.train.subset(split.rest), scoring.train.subset(split.held_out)
        lessons = replace(lessons, images=rest, held_out=held_out)
    return score_two_stages(lessons, grouping, architecture, seed, scoring.test, scoring.train_counts)


def _fairness(
    students: list[StudentScore], architectures: tuple[str, ...], effective: LabelProtocol
) -> dict[str, Fairness]:
    hard = "distilled" if effective == "hard" else "distilled, hard"

    def accuracy(subject: str, architecture: str) -> float:
        own = [s.scores.accuracy for s in students if (s.subject, s.architecture) == (subject, architecture)]
        return sum(own) / len(own)

    return {
        name: fairness(
            accuracy("full", name),
            accuracy(hard, name),
            accuracy("distilled", name),
            accuracy("random", name),
        )
        for name in architectures
    }


def _provenance(scoring: Scoring, grouping: Grouping | None) -> dict[str, Any]:
    recipe, labels = _training(scoring, "distilled")
    return {
        "recipe": scoring.recipe.model_dump(mode="json"),
        "train": _classroom(scoring, "distilled", labels, 0).in_effect(recipe).model_dump(mode="json"),
        **({"grouping": grouping.to_json()} if grouping else {}),
        "test": describe_test(scoring.test, scoring.num_leaked),
        "train_sha256": scoring.train.content_hash if scoring.train else None,
        "std": "sample standard deviation over seeds",
        "set": scoring.distilled.provenance,
        **environment(scoring.runtime),
    }
