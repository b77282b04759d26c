import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distail.evaluation.fairness import fairness
from distail.evaluation.protocol import Scoring, evaluate
from tests.evaluation.separable import ARCHITECTURE, TEST, TRAIN, make_set, quick, soft_labels
from tests.reference import metrics as reference

fractions = st.floats(0, 1)


def test_by_hand():
    found = fairness(real_hard=0.9, synthetic_hard=0.6, synthetic_any=0.7, random_any=0.5)
    assert found.hard_label_recovery == pytest.approx(0.3)
    assert found.improvement_over_random == pytest.approx(0.2)
    # alpha = (0.2 - 0.3) / 2 = -0.05
    assert found.label_robust_score == pytest.approx((0.951229424500714 - 0.367879441171442) / 2.350402387287603)


@given(real=fractions, hard=fractions, any_labels=fractions, random=fractions)
def test_the_score_is_that_of_its_formula_and_a_fraction(real, hard, any_labels, random):
    found = fairness(real, hard, any_labels, random)
    expected = reference.label_robust_score(real - hard, any_labels - random)
    assert found.label_robust_score == pytest.approx(expected, abs=1e-10)
    assert -1e-12 <= found.label_robust_score <= 1 + 1e-12


def test_the_ends_of_the_scale():
    assert fairness(0.0, 1.0, 1.0, 0.0).label_robust_score == pytest.approx(1.0)
    assert fairness(1.0, 0.0, 0.0, 1.0).label_robust_score == pytest.approx(0.0)
    middle = fairness(0.5, 0.5, 0.5, 0.5).label_robust_score
    assert middle == pytest.approx((1 - 1 / math.e) / (math.e - 1 / math.e))


@given(real=fractions, hard=st.floats(0, 0.9), any_labels=st.floats(0, 0.9), random=fractions)
def test_a_better_set_scores_higher(real, hard, any_labels, random):
    score = fairness(real, hard, any_labels, random).label_robust_score
    assert fairness(real, hard + 0.1, any_labels, random).label_robust_score > score
    assert fairness(real, hard, any_labels + 0.1, random).label_robust_score > score


# Of a set


@pytest.mark.parametrize("seeds", [1, 2])
def test_fairness_is_made_of_the_accuracies(seeds):
    recipe = quick(seeds=seeds, references=("random", "full"), epochs=3, full_epochs=2)
    evaluation = evaluate(Scoring(make_set(), TEST, recipe, TRAIN))

    def accuracy(subject: str) -> float:
        return sum(student.scores.accuracy for student in evaluation.of(subject)) / seeds

    found = evaluation.fairness[ARCHITECTURE]
    assert found.hard_label_recovery == pytest.approx(accuracy("full") - accuracy("distilled"))
    assert found.improvement_over_random == pytest.approx(accuracy("distilled") - accuracy("random"))
    assert found.label_robust_score == pytest.approx(
        reference.label_robust_score(
            accuracy("full") - accuracy("distilled"), accuracy("distilled") - accuracy("random")
        )
    )


def test_fairness_of_soft_labels_trains_a_hard_student_too():
    whole = make_set(soft_labels=soft_labels(1.0))
    evaluation = evaluate(Scoring(whole, TEST, quick(references=("full", "random"), epochs=3, full_epochs=1), TRAIN))
    labels = {student.subject: student.labels for student in evaluation.students}
    assert labels == {"distilled": "static", "full": "hard", "random": "hard", "distilled, hard": "hard"}
    (hard,), (plain,) = evaluation.of("distilled, hard"), evaluate(Scoring(make_set(), TEST, quick(epochs=3))).students
    assert hard.scores.confusion == plain.scores.confusion
    accuracy = {student.subject: student.scores.accuracy for student in evaluation.students}
    found = evaluation.fairness[ARCHITECTURE]
    assert found.hard_label_recovery == pytest.approx(accuracy["full"] - accuracy["distilled, hard"])
    assert found.improvement_over_random == pytest.approx(accuracy["distilled"] - accuracy["random"])


@pytest.mark.parametrize("references", [(), ("random",), ("full",)])
def test_fairness_needs_both_references(references):
    recipe = quick(references=references, epochs=1, full_epochs=1)
    assert evaluate(Scoring(make_set(), TEST, recipe, TRAIN)).fairness == {}
