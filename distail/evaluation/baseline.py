"""Scores of a baseline: networks trained on all the long-tailed images, tested where distilled sets are.

The test set is touched in one place, after training has ended. Settings are chosen on validation images or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from distail.baselines._baseline import Baseline
from distail.baselines._fitting import fit
from distail.baselines._registry import build_baseline
from distail.baselines._task import Fitted, Task
from distail.data.image_set import ImageSet
from distail.distilled import StoredBytes
from distail.evaluation.apart import count_leaked, describe_test, require_held_out
from distail.evaluation.recipe import BaselineRecipe
from distail.evaluation.result import Evaluation, StudentScore
from distail.evaluation.testing import tested
from distail.learn.kept import KeptNetworks
from distail.models.architecture import check_architecture
from distail.models.saved import SavedNetwork
from distail.progress import Progress, SilentProgress
from distail.provenance import environment
from distail.runtime import Runtime
from distail.training.recipe import TrainRecipe


@dataclass(frozen=True, eq=False)
class BaselineScoring:
    """Everything that scoring a baseline needs.

    Attributes:
        train: the long-tailed images.
        test: held-out images of the same classes.
        recipe: which baseline, and how.
        source_hash: content hash of what `train` was taken from, which the test data must not have.
        kept: where networks are kept and taken from, whole ones and plainly trained ones that baselines begin with;
            every network is trained when None.
    """

    train: ImageSet
    test: ImageSet
    recipe: BaselineRecipe
    source_hash: str | None = None
    runtime: Runtime = field(default_factory=Runtime)
    progress: Progress = field(default_factory=SilentProgress)
    kept: KeptNetworks | None = None

    def __post_init__(self) -> None:
        self.train.require_no_empty_class()
        require_held_out(self.test, self.train, self.source_hash, "the networks learn from")

    @cached_property
    def num_leaked(self) -> int:
        """Test images that equal, pixel by pixel, a training image."""
        return count_leaked(self.test, [self.train.fingerprints])


@dataclass(frozen=True, eq=False)
class BaselineResult:
    """Scores, and the networks that they are of, by seed."""

    evaluation: Evaluation
    networks: tuple[SavedNetwork, ...]


def evaluate_baseline(scoring: BaselineScoring) -> BaselineResult:
    """Trains and tests a network for each seed, or takes it from the kept ones.

    Raises:
        DistailError: an unknown baseline, setting or network; a class with a single image where some must be held out
            to choose a setting by; training diverges; or a kept file is damaged.
    """
    recipe = scoring.recipe
    baseline = build_baseline(recipe.method, recipe.settings)
    how = baseline.recipe_with(recipe.train)
    check_architecture(recipe.architecture)
    fitted, students = [], []
    for seed in range(recipe.seeds):
        fitted.append(fit(recipe.method, baseline, _task(scoring, how, seed), scoring.kept))
        students.append(_score(scoring, fitted[-1], how, seed))
        accuracy = students[-1].scores.balanced_accuracy
        scoring.progress.say(f"{recipe.method}, seed {seed}: balanced accuracy {accuracy:.1%}")
    evaluation = Evaluation(
        students=tuple(students),
        class_names=scoring.train.class_names,
        train_counts=scoring.train.class_counts,
        stored=StoredBytes(scoring.train.images.nbytes, scoring.train.labels.nbytes, 0),
        fairness={},
        provenance=_provenance(scoring, baseline, how, fitted),
    )
    return BaselineResult(evaluation, tuple(one.saved for one in fitted))


def _task(scoring: BaselineScoring, how: TrainRecipe, seed: int) -> Task:
    return Task(
        everything=scoring.train,
        train=scoring.train,
        validation=None,
        architecture=scoring.recipe.architecture,
        recipe=how,
        seed=seed,
        preprocessing_kind=scoring.recipe.preprocessing,
        runtime=scoring.runtime,
        progress=scoring.progress,
        kept=scoring.kept,
    )


def _score(scoring: BaselineScoring, fitted: Fitted, how: TrainRecipe, seed: int) -> StudentScore:
    return StudentScore(
        subject=scoring.recipe.method,
        architecture=fitted.saved.architecture,
        seed=seed,
        labels="hard",
        num_images=fitted.num_images,
        epochs=how.num_epochs,
        kept_epoch=fitted.history.kept_epoch,
        train_seconds=fitted.seconds,
        scores=tested(fitted.saved, scoring.test, scoring.train.class_counts, scoring.runtime),
        reused=fitted.reused_seconds > 0,
    )


def _provenance(scoring: BaselineScoring, baseline: Baseline, how: TrainRecipe, fitted: list[Fitted]) -> dict[str, Any]:
    return {
        "recipe": scoring.recipe.model_dump(mode="json"),
        "settings": baseline.model_dump(mode="json"),
        "paper": baseline.paper,
        "train": how.model_dump(mode="json"),
        "chosen": [one.chosen for one in fitted],
        "second_stage": fitted[0].second_stage,
        "test": describe_test(scoring.test, scoring.num_leaked),
        "train_sha256": scoring.train.content_hash,
        "train_images": len(scoring.train),
        "std": "sample standard deviation over seeds",
        **environment(scoring.runtime),
    }
