"""The protocol: what is refused, what is trained on what, and that the test set stays out of training."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distail.data.holdout import hold_out
from distail.data.image_set import ImageSet
from distail.data.preprocess import fit_preprocessing
from distail.distilled import DistilledSet
from distail.errors import DistailError
from distail.evaluation import protocol
from distail.evaluation.protocol import VALIDATION_FRACTION, Scoring, evaluate, random_subset
from distail.evaluation.recipe import EvaluationRecipe
from distail.evaluation.result import load_evaluation
from distail.groups.grouping import Grouping
from distail.groups.settings import TwoStageRecipe
from distail.learn.student import Classroom, train_student
from distail.runtime import Runtime
from distail.training.loop import Selection
from distail.training.recipe import TrainRecipe
from tests.evaluation.separable import ARCHITECTURE, NAMES, TEST, TRAIN, Said, images_of, make_set, quick, scores_of
from tests.reference import metrics as reference


def soft_labels(strength: float) -> torch.Tensor:
    labels = make_set().labels
    return strength * torch.nn.functional.one_hot(labels, len(NAMES)).float()


# Scores


def test_an_easy_problem_is_learned():
    evaluation = evaluate(Scoring(make_set(), TEST, quick(epochs=30, seeds=2)))
    for student in evaluation.students:
        assert student.scores.accuracy > 0.8  # chance is a third
    assert evaluation.summary()["accuracy"].n == 2
    assert evaluation.class_names == NAMES


def test_a_hopeless_set_scores_like_chance():
    """The other end: where the labels say nothing, so does the score."""
    whole = make_set()
    empty = replace(whole, images=torch.zeros_like(whole.images))
    assert evaluate(Scoring(empty, TEST, quick(seeds=3))).summary()["accuracy"].mean < 0.6


def test_same_seeds_same_scores():
    first = evaluate(Scoring(make_set(), TEST, quick(seeds=2)))
    torch.manual_seed(321)
    state = torch.get_rng_state()
    second = evaluate(Scoring(make_set(), TEST, quick(seeds=2)))
    assert torch.equal(torch.get_rng_state(), state)
    assert scores_of(first) == scores_of(second)
    assert [student.seed for student in first.students] == [0, 1]
    assert first.students[0].scores.ece != first.students[1].scores.ece


def test_students_do_not_depend_on_each_other():
    alone = evaluate(Scoring(make_set(), TEST, quick()))
    among = evaluate(Scoring(make_set(), TEST, quick(seeds=2, references=("random",)), TRAIN))
    ours, theirs = alone.students[0].scores, among.of("distilled")[0].scores
    assert (ours.accuracy, ours.ece, ours.confusion) == (theirs.accuracy, theirs.ece, theirs.confusion)


def test_everything_asked_for_is_scored_and_told():
    architectures = (ARCHITECTURE, "convnet1-w8")
    said = Said()
    recipe = quick(architectures=architectures, seeds=2, references=("random", "full"), full_epochs=3, epochs=4)
    evaluation = evaluate(Scoring(make_set(), TEST, recipe, TRAIN, progress=said))
    expected = [(s, a, n) for a in architectures for s in ("distilled", "random", "full") for n in range(2)]
    assert [(s.subject, s.architecture, s.seed) for s in evaluation.students] == expected
    assert len(said.titles) == len(said.messages) == 12
    assert said.messages[0].startswith(f"distilled, {ARCHITECTURE}, seed 0: ")
    for student in evaluation.students:
        assert student.labels == "hard"
        assert student.num_images == (len(TRAIN) if student.subject == "full" else 6)
        assert student.epochs == (3 if student.subject == "full" else 4)
        assert student.kept_epoch == student.epochs - 1
        assert student.train_seconds > 0
    assert set(evaluation.fairness) == set(architectures)


def test_the_step_schedule_runs_one_epoch_more():
    recipe = quick()
    recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"epochs": 3, "schedule": "step"})})
    (student,) = evaluate(Scoring(make_set(), TEST, recipe)).students
    assert (student.epochs, student.kept_epoch) == (4, 3)


def test_predictions_are_those_of_the_student():
    """Trains the same student by hand and counts its right answers."""
    whole, recipe = make_set(), quick(epochs=5)
    (scored,) = evaluate(Scoring(whole, TEST, recipe)).students
    classroom = Classroom.of_distilled(whole, "static", Runtime())
    student = train_student(classroom, ARCHITECTURE, recipe.train, 0, Runtime())
    with torch.no_grad():
        logits = student.saved.network(whole.preprocessing.apply(TEST.images))
    right = sum(int(guess == truth) for guess, truth in zip(logits.argmax(1), TEST.labels, strict=True))
    assert scored.scores.accuracy == right / len(TEST)


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


# Labels


@pytest.mark.parametrize("labels", ["hard", "static"])
def test_static_without_soft_labels_is_called_hard(labels):
    evaluation = evaluate(Scoring(make_set(), TEST, quick(labels=labels, epochs=2)))
    assert [student.labels for student in evaluation.students] == ["hard"]


def test_soft_labels_that_are_certain_teach_like_hard_ones():
    hard = evaluate(Scoring(make_set(), TEST, quick())).students[0].scores
    certain = evaluate(Scoring(make_set(soft_labels=soft_labels(60.0)), TEST, quick())).students[0]
    vague = evaluate(Scoring(make_set(soft_labels=soft_labels(0.5)), TEST, quick())).students[0]
    assert certain.labels == vague.labels == "static"
    assert certain.scores.confusion == hard.confusion
    assert certain.scores.ece == pytest.approx(hard.ece, abs=1e-4)
    assert abs(vague.scores.ece - hard.ece) > 0.05


def test_hard_ignores_soft_labels():
    whole = make_set(soft_labels=soft_labels(-9.0))
    ignored = evaluate(Scoring(whole, TEST, quick(labels="hard"))).students[0]
    assert ignored.labels == "hard"
    assert ignored.scores == evaluate(Scoring(make_set(), TEST, quick())).students[0].scores


def make_teacher(train: ImageSet = TRAIN):
    classroom = Classroom.of_images(train, fit_preprocessing(train, "zca"), Runtime())
    return train_student(classroom, ARCHITECTURE, quick(epochs=30).train, 7, Runtime()).saved


def test_a_teacher_is_asked_and_its_bytes_are_counted():
    teacher = make_teacher()
    evaluation = evaluate(Scoring(make_set(), TEST, quick(labels="teacher", references=("random",)), TRAIN, teacher))
    assert [student.labels for student in evaluation.students] == ["teacher", "teacher"]
    assert evaluation.stored.teacher == teacher.num_bytes > 0
    assert evaluation.stored.images == make_set().stored_bytes().images
    assert all(student.scores.accuracy > 0.4 for student in evaluation.students)


@pytest.mark.parametrize("labels", ["hard", "static"])
def test_a_teacher_goes_with_its_protocol(labels):
    with pytest.raises(DistailError, match="go together: pass both"):
        Scoring(make_set(), TEST, quick(labels=labels), teacher=make_teacher())
    with pytest.raises(DistailError, match="go together: pass both"):
        Scoring(make_set(), TEST, quick(labels="teacher"))


# What is refused


def with_classes(names: Sequence[str]) -> ImageSet:
    return ImageSet(TEST.images, TEST.labels, tuple(names), "test images")


def test_other_classes_are_refused():
    with pytest.raises(DistailError, match="orders them 'ant', 'bee', 'cow', the test data orders them 'bee'"):
        Scoring(make_set(), with_classes(("bee", "ant", "cow")), quick())
    with pytest.raises(DistailError, match="the test data lacks 'cow'; the test data has 'dog'"):
        Scoring(make_set(), with_classes(("ant", "bee", "dog")), quick())
    other = ImageSet(TRAIN.images, TRAIN.labels, ("bee", "ant", "cow"))
    with pytest.raises(DistailError, match="the training data orders them"):
        Scoring(make_set(), TEST, quick(), train=other)


@pytest.mark.parametrize("shape", [(3, 8, 9), (3, 10, 10), (1, 8, 8)])
def test_other_image_sizes_are_refused(shape):
    with pytest.raises(DistailError, match=r"Test images are .*distilled ones \(3, 8, 8\).*--image-size 8"):
        Scoring(make_set(), images_of((2, 2, 2), 0, shape), quick())


def test_a_test_set_that_lacks_a_class_is_refused():
    with pytest.raises(DistailError, match="no image in class bee"):
        Scoring(make_set(), images_of((2, 0, 2), 0), quick())


def test_testing_on_the_training_data_is_refused():
    same = ImageSet(TRAIN.images.clone(), TRAIN.labels.clone(), NAMES, "a copy")  # whatever it is called
    with pytest.raises(DistailError, match="a copy is the very data the set was made from"):
        Scoring(make_set(provenance={"data_sha256": TRAIN.content_hash}), same, quick())
    with pytest.raises(DistailError, match="a copy is the very data"):
        Scoring(make_set(), same, quick(), train=TRAIN)
    Scoring(make_set(provenance={"data_sha256": TRAIN.content_hash}), TEST, quick(), train=TRAIN)


@pytest.mark.parametrize("recipe", [{"references": ("random",)}, {"references": ("full",)}, {"select": "validation"}])
def test_what_needs_training_data_says_so(recipe):
    with pytest.raises(DistailError, match=r"drawn from the training data.*--train"):
        Scoring(make_set(), TEST, quick(**recipe))


# The training data


def test_the_tail_is_known_from_provenance_or_data():
    assert Scoring(make_set(), TEST, quick()).train_counts is None
    assert Scoring(make_set(provenance={"class_counts": [7, 8, 9]}), TEST, quick()).train_counts == (7, 8, 9)
    assert Scoring(make_set(provenance={"class_counts": [7, 8, 9]}), TEST, quick(), TRAIN).train_counts == (30, 12, 4)
    scores = evaluate(Scoring(make_set(), TEST, quick(epochs=1), TRAIN)).students[0].scores
    assert scores.medium == scores.per_class[0]
    assert scores.few == pytest.approx((scores.per_class[1] + scores.per_class[2]) / 2)
    assert scores.many is None


def validation_split(train: ImageSet, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions to learn from and to validate on."""
    split = hold_out(train, VALIDATION_FRACTION, seed, "validation")
    return split.rest, split.held_out


@settings(max_examples=40, deadline=None)
@given(counts=st.lists(st.integers(1, 40), min_size=2, max_size=5), seed=st.integers(0, 99))
def test_the_validation_split_is_stratified(counts, seed):
    train = images_of(counts, 1, class_names=tuple(map(str, range(len(counts)))))
    learn, validate = validation_split(train, seed)
    assert sorted([*learn.tolist(), *validate.tolist()]) == list(range(len(train)))  # disjoint, and all
    held_out = torch.bincount(train.labels[validate], minlength=len(counts)).tolist()
    assert held_out == [0 if count == 1 else max(1, round(count / 10)) for count in counts]
    again = validation_split(train, seed)
    assert torch.equal(again[0], learn)
    assert torch.equal(again[1], validate)


def test_the_validation_split_depends_on_the_seed():
    splits = [tuple(sorted(validation_split(TRAIN, seed)[1].tolist())) for seed in range(5)]
    assert len(set(splits)) > 1


@pytest.mark.parametrize("per_class", [1, 2, 4, 6])
def test_random_references_are_real_balanced_and_of_equal_number(per_class):
    like = make_set(
        images=make_set().images[:1].repeat(3 * per_class, 1, 1, 1), labels=torch.arange(3).repeat_interleave(per_class)
    )
    drawn = random_subset(like, TRAIN, seed=3)
    assert drawn.class_counts == (per_class,) * 3
    assert drawn.soft_labels is None
    real = {image.numpy().tobytes(): int(label) for image, label in zip(TRAIN.images, TRAIN.labels, strict=True)}
    found = [real[image.numpy().tobytes()] for image in drawn.to_pixels()]
    assert found == drawn.labels.tolist()
    assert torch.equal(random_subset(like, TRAIN, seed=3).images, drawn.images)
    assert not torch.equal(random_subset(like, TRAIN, seed=4).images, drawn.images)


# Selection and the test set


class GuardedImages(ImageSet):
    """Test images that nobody may look at while a network trains."""

    guard: Said

    def __getattribute__(self, name: str):
        if name in ("images", "labels", "subset", "indices_of"):
            guard = object.__getattribute__(self, "__dict__").get("guard")
            assert guard is None or not guard.busy, f"{name} of the test set was read while training"
        return super().__getattribute__(name)


@pytest.mark.parametrize("select", ["last", "validation"])
def test_the_test_set_is_not_touched_while_training(select):
    said = Said()
    test = GuardedImages(TEST.images, TEST.labels, NAMES, "test images")
    test.__dict__["guard"] = said
    recipe = quick(select=select, references=("random", "full"), epochs=3)
    evaluation = evaluate(Scoring(make_set(), test, recipe, TRAIN, progress=said))
    assert len(said.titles) == len(evaluation.students) == 3
    said.busy = True
    with pytest.raises(AssertionError, match="read while training"):
        _ = test.images


def test_selection_keeps_the_best_epoch_on_validation_images(monkeypatch):
    looked = []
    original = protocol.train_student

    def watch(*args, selection, **kwargs):
        def judge(network):
            looked.append(selection.score(network))
            return looked[-1]

        return original(*args, selection=Selection(judge, selection.every), **kwargs)

    monkeypatch.setattr(protocol, "train_student", watch)
    (student,) = evaluate(Scoring(make_set(), TEST, quick(select="validation", epochs=12), TRAIN)).students
    assert len(looked) == 12
    assert student.kept_epoch == looked.index(max(looked))
    # Three images of class 0 and one of each other are held out; the score is the mean of the class accuracies.
    possible = {(a / 3 + b + c) / 3 for a in range(4) for b in range(2) for c in range(2)}
    assert all(min(abs(value - other) for other in possible) < 1e-9 for value in looked)


def test_validation_is_looked_at_about_twenty_times(monkeypatch):
    seen = []
    monkeypatch.setattr(protocol, "train_student", lambda *_, selection, **__: seen.append(selection.every) or 1 / 0)
    for epochs in (1, 19, 20, 1000):
        with pytest.raises(ZeroDivisionError):
            evaluate(Scoring(make_set(), TEST, quick(select="validation", epochs=epochs), TRAIN))
    assert seen == [1, 1, 1, 50]


def test_references_do_not_learn_validation_images(monkeypatch):
    learned = {}
    original = protocol.train_student

    def watch(classroom, *args, **kwargs):
        images = classroom.data.images(torch.arange(len(classroom.data)))
        pixels = make_set().preprocessing.invert(images).mul(255).round().to(torch.uint8)
        learned[len(learned)] = {image.numpy().tobytes() for image in pixels}
        return original(classroom, *args, **kwargs)

    monkeypatch.setattr(protocol, "train_student", watch)
    recipe = quick(select="validation", references=("random", "full"), epochs=1)
    evaluate(Scoring(make_set(), TEST, recipe, TRAIN))
    held_out = {image.numpy().tobytes() for image in TRAIN.images[validation_split(TRAIN, 0)[1]]}
    assert len(held_out) == 5
    assert not learned[1] & held_out
    assert not learned[2] & held_out
    assert len(learned[2]) == len(TRAIN) - 5


# Records


def test_the_result_is_json_and_comes_back(tmp_path):
    whole = make_set(soft_labels=soft_labels(2.0), provenance={"recipe": {"a": [1]}, "class_counts": [30, 12, 4]})
    evaluation = evaluate(Scoring(whole, TEST, quick(references=("random", "full"), epochs=2), TRAIN))
    evaluation.save(tmp_path / "evaluation.json")
    assert load_evaluation(tmp_path / "evaluation.json") == evaluation
    json.dumps(evaluation.to_json(), allow_nan=False)


def test_provenance_says_how_the_score_came_about():
    recipe = quick(epochs=1)
    whole = make_set(provenance={"recipe": {"method": "dm"}})
    found = evaluate(Scoring(whole, TEST, recipe, TRAIN)).provenance
    assert found["recipe"] == recipe.model_dump(mode="json")
    assert found["test"] == {"origin": "test images", "images": 18, "leaked": 0, "sha256": TEST.content_hash}
    assert found["train_sha256"] == TRAIN.content_hash
    assert found["set"] == whole.provenance
    assert found["hardware"]
    assert found["versions"]["distail"]
    assert evaluate(Scoring(whole, TEST, recipe)).provenance["train_sha256"] is None


def test_bfloat16_scores_about_the_same():
    single = evaluate(Scoring(make_set(), TEST, quick(epochs=20))).students[0].scores
    half = evaluate(Scoring(make_set(), TEST, quick(epochs=20), runtime=Runtime("cpu", "bf16"))).students[0].scores
    assert half.accuracy == pytest.approx(single.accuracy, abs=0.2)
    assert math.isfinite(half.ece)


# Test images among the training images


def mixed(leaked: int) -> ImageSet:
    """60 test images, of which the first few of each class are training images."""
    fresh = images_of((20, 20, 20), seed=2)
    images = fresh.images.clone()
    stolen = torch.cat([TRAIN.indices_of(label)[: leaked // 3] for label in range(3)])
    places = torch.cat([fresh.indices_of(label)[: leaked // 3] for label in range(3)])
    images[places] = TRAIN.images[stolen]
    return ImageSet(images, fresh.labels, fresh.class_names, "mixed images")


def informed() -> DistilledSet:
    return replace(make_set(), training_fingerprints=TRAIN.fingerprints)


def test_a_few_training_images_in_the_test_data_are_counted():
    evaluation = evaluate(Scoring(informed(), mixed(6), quick()))
    assert evaluation.provenance["test"]["leaked"] == 6
    assert evaluate(Scoring(informed(), mixed(0), quick())).provenance["test"]["leaked"] == 0
    # Without fingerprints in the set, the training data tell the same.
    assert Scoring(make_set(), mixed(6), quick(), TRAIN).num_leaked == 6
    assert Scoring(make_set(), mixed(6), quick()).num_leaked == 0


def test_many_training_images_in_the_test_data_are_refused():
    with pytest.raises(DistailError, match="9 of the 60 images of mixed images are among"):
        Scoring(informed(), mixed(9), quick())


# How students are trained


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
