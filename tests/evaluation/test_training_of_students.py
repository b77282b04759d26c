"""Students are trained as their set says, but for what is asked otherwise."""

import pytest

from distail.errors import DistailError
from distail.evaluation import protocol
from distail.evaluation.protocol import Scoring, evaluate
from distail.evaluation.recipe import EvaluationRecipe
from distail.groups.grouping import Grouping
from distail.groups.settings import TwoStageRecipe
from distail.learn.student import Classroom, train_student
from distail.runtime import Runtime
from distail.training.recipe import TrainRecipe
from tests.evaluation.separable import ARCHITECTURE, NAMES, TEST, TRAIN, make_set, soft_labels

OWN = TrainRecipe(
    epochs=3, learning_rate=0.02, schedule="constant", augmentation="flip", loss="divergence", mixing="mixup"
)


@pytest.fixture
def trained(monkeypatch) -> dict[str, TrainRecipe]:
    """The recipe by which each subject was trained."""
    seen: dict[str, TrainRecipe] = {}
    score, train = protocol._score_student, protocol.train_student

    def scored(scoring, subject, *args):
        def watched(classroom, architecture, recipe, *rest, **parts):
            seen[subject] = recipe
            return train(classroom, architecture, recipe, *rest, **parts)

        monkeypatch.setattr(protocol, "train_student", watched)
        return score(scoring, subject, *args)

    monkeypatch.setattr(protocol, "_score_student", scored)
    return seen


def asked(**changes) -> EvaluationRecipe:
    """One student, about whose training nothing is said but what is named."""
    train = TrainRecipe(**changes.pop("train", {}))
    return EvaluationRecipe(architectures=(ARCHITECTURE,), seeds=1, train=train, **changes)


def test_students_are_trained_as_the_set_says(trained):
    whole = make_set(soft_labels=soft_labels(2.0), training=OWN)
    recipe = asked(references=("random", "full"))
    found = evaluate(Scoring(whole, TEST, recipe, TRAIN))
    hard = OWN.model_copy(update={"loss": "cross_entropy"})
    assert trained == {"distilled": OWN, "random": hard, "full": hard, "distilled, hard": hard}
    assert found.provenance["train"] == OWN.model_dump(mode="json")
    assert found.provenance["recipe"]["train"] == {}
    assert [student.epochs for student in found.students] == [3] * 4


def test_single_values_may_be_asked_for(trained):
    whole = make_set(soft_labels=soft_labels(2.0), training=OWN)
    evaluate(Scoring(whole, TEST, asked(train={"epochs": 2, "mixing": "none"}), TRAIN))
    assert trained["distilled"] == OWN.model_copy(update={"epochs": 2, "mixing": "none"})


def test_without_a_recipe_of_the_set_it_is_the_common_one(trained):
    evaluate(Scoring(make_set(), TEST, asked(train={"epochs": 1})))
    assert trained["distilled"] == TrainRecipe(epochs=1)


def test_random_images_are_labelled_by_the_teacher_too(trained):
    teacher = train_student(
        Classroom.of_distilled(make_set(), "hard", Runtime()), ARCHITECTURE, OWN.on_hard_labels, 0, Runtime()
    ).saved
    whole = make_set(training=OWN)
    recipe = asked(references=("random", "full"), labels="teacher", full_epochs=2)
    found = evaluate(Scoring(whole, TEST, recipe, TRAIN, teacher=teacher))
    assert trained["distilled"] == trained["random"] == OWN
    assert trained["full"] == OWN.on_hard_labels.model_copy(update={"epochs": 2})
    labels = {student.subject: student.labels for student in found.students}
    assert (labels["distilled"], labels["random"], labels["full"]) == ("teacher", "teacher", "hard")
    assert found.stored.teacher == teacher.num_bytes


def test_a_set_whose_soft_labels_are_not_used_trains_by_cross_entropy(trained):
    whole = make_set(soft_labels=soft_labels(2.0), training=OWN)
    evaluate(Scoring(whole, TEST, asked(labels="hard")))
    assert trained["distilled"] == OWN.on_hard_labels


def test_asking_for_a_loss_that_hard_labels_cannot_have_is_an_error():
    with pytest.raises(DistailError, match="loss=squared_error is for soft labels"):
        evaluate(Scoring(make_set(), TEST, asked(train={"epochs": 1, "loss": "squared_error"})))


def test_two_stages_learn_as_the_set_says():
    whole = make_set(soft_labels=soft_labels(2.0), training=OWN)
    recipe = asked(two_stage=TwoStageRecipe(group_data="distilled"))
    found = evaluate(Scoring(whole, TEST, recipe, grouping=Grouping(NAMES, (0, 0, 1))))
    stages = found.of("two-stage, soft routing")[0].stages
    assert [stage.epochs for stage in stages] == [3, 3]
