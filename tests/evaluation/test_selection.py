"""The test set stays out of training; where an epoch is chosen, validation images choose it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distail.data.holdout import hold_out
from distail.data.image_set import ImageSet
from distail.evaluation import protocol
from distail.evaluation.protocol import VALIDATION_FRACTION, Scoring, evaluate
from distail.evaluation.references import random_subset
from distail.training.loop import Selection
from tests.evaluation.separable import NAMES, TEST, TRAIN, Said, images_of, make_set, quick

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
