"""What each stage learns: images, labels by any protocol, and how often."""

from dataclasses import replace

import pytest
import torch

from distail.data.preprocess import fit_preprocessing
from distail.distilled import DistilledSet
from distail.errors import DistailError
from distail.groups import two_stage_training
from distail.groups.grouping import Grouping
from distail.groups.settings import GroupingSettings, TwoStageRecipe
from distail.groups.stages import class_stages, group_stage
from distail.groups.two_stage_training import (
    TwoStageLessons,
    _distilled_classroom,
    require_two_stages,
    train_two_stages,
    two_stage_grouping,
)
from distail.learn.student import Classroom, train_student
from distail.runtime import Runtime
from distail.training.recipe import TrainRecipe
from tests.evaluation.separable import images_of
from tests.reference import two_stage as reference

NETWORK = "convnet2-w8"
NAMES = tuple("abcde")
GROUPING = Grouping(NAMES, (0, 1, 0, 2, 1))
TRAIN = images_of((12, 8, 6, 4, 2), seed=1, class_names=NAMES)
QUICK = TrainRecipe(epochs=10, learning_rate=0.05, schedule="constant", augmentation="none")
RECIPE = TwoStageRecipe(epochs=8, batch_size=8, learning_rate=0.05, augmentation="none")


def make_set(**parts) -> DistilledSet:
    """Two images of each class, not in the order of the classes."""
    chosen = images_of((2,) * 5, seed=3, class_names=NAMES)
    order = torch.tensor([7, 0, 5, 2, 9, 1, 3, 8, 4, 6])
    preprocessing = fit_preprocessing(TRAIN, "normalize")
    images, labels = preprocessing.apply(chosen.images[order]), chosen.labels[order]
    return DistilledSet(
        **{"images": images, "labels": labels, "class_names": NAMES, "preprocessing": preprocessing, **parts}
    )


def lessons(**parts) -> TwoStageLessons:
    return TwoStageLessons(**{"distilled": make_set(), "recipe": RECIPE, "train": QUICK, "images": TRAIN, **parts})


def soft_labels() -> torch.Tensor:
    return 4 * torch.randn(10, 5, generator=torch.Generator().manual_seed(8))


def targets(classroom: Classroom) -> torch.Tensor:
    positions = torch.arange(len(classroom.data))
    return classroom.data.targets(positions, classroom.data.images(positions)).for_cross_entropy


# Stages


def test_stages_name_their_outputs():
    assert group_stage(GROUPING).names == ("group 1", "group 2", "group 3")
    first, second, third = class_stages(GROUPING)
    assert third is None
    assert (first.names, second.names) == (("a", "c"), ("b", "e"))
    assert group_stage(GROUPING).answers(torch.arange(5)).tolist() == [0, 1, 0, 2, 1]
    assert second.answers(torch.arange(5)).tolist() == [-1, 0, -1, -1, 1]


def test_soft_labels_are_restricted_and_renormalised():
    distilled = make_set(soft_labels=soft_labels())
    for stage, members in zip(class_stages(GROUPING)[:2], ((0, 2), (1, 4)), strict=True):
        classroom = _distilled_classroom(lessons(distilled=distilled), stage)
        own = [place for place, label in enumerate(distilled.labels.tolist()) if label in members]
        expected = [reference.restricted(soft_labels()[place].tolist(), members) for place in own]
        torch.testing.assert_close(targets(classroom), torch.tensor(expected), rtol=0, atol=1e-6)
        assert torch.equal(classroom.data.images(torch.arange(4)), distilled.images[own])


def test_soft_labels_of_a_group_s_classes_are_summed():
    distilled = make_set(soft_labels=soft_labels())
    classroom = _distilled_classroom(lessons(distilled=distilled), group_stage(GROUPING))
    expected = [reference.merged(row, ((0, 2), (1, 4), (3,))) for row in soft_labels().tolist()]
    torch.testing.assert_close(targets(classroom), torch.tensor(expected), rtol=0, atol=1e-6)


def test_hard_labels_are_renumbered():
    distilled = make_set(soft_labels=soft_labels())
    hard = lessons(distilled=distilled, labels="hard")
    assert targets(_distilled_classroom(hard, class_stages(GROUPING)[1])).tolist() == [
        (1, 4).index(label) for label in distilled.labels.tolist() if label in (1, 4)
    ]
    assert targets(_distilled_classroom(hard, group_stage(GROUPING))).tolist() == [
        GROUPING.group_of[label] for label in distilled.labels.tolist()
    ]


def test_a_teacher_is_asked_the_stage_s_question():
    classroom = Classroom.of_images(TRAIN, fit_preprocessing(TRAIN, "zca"), Runtime())
    teacher = train_student(classroom, NETWORK, QUICK, 0, Runtime()).saved
    taught = lessons(labels="teacher", teacher=teacher)
    logits = teacher.predict_logits(make_set().to_pixels())
    own = [place for place, label in enumerate(make_set().labels.tolist()) if label in (0, 2)]
    first = targets(_distilled_classroom(taught, class_stages(GROUPING)[0]))
    expected = [reference.restricted(logits[place].tolist(), (0, 2)) for place in own]
    torch.testing.assert_close(first, torch.tensor(expected), rtol=0, atol=1e-4)
    groups = targets(_distilled_classroom(taught, group_stage(GROUPING)))
    expected = [reference.merged(row, ((0, 2), (1, 4), (3,))) for row in logits.tolist()]
    torch.testing.assert_close(groups, torch.tensor(expected), rtol=0, atol=1e-4)


def test_mosaics_are_decoded():
    stage = class_stages(GROUPING)[0]
    classroom = _distilled_classroom(lessons(distilled=make_set(mosaic=2)), stage)
    assert len(classroom.data) == 16
    assert classroom.data.image_shape == (3, 8, 8)


def test_a_learned_learning_rate_is_kept():
    assert (
        _distilled_classroom(lessons(distilled=make_set(learning_rate=0.3)), group_stage(GROUPING)).learning_rate == 0.3
    )


# Training


def test_which_stage_learns_from_what():
    def kinds(**recipe):
        trained = train_two_stages(lessons(recipe=RECIPE.model_copy(update=recipe)), GROUPING, NETWORK, 0)
        return [(one.title, one.data, one.num_images, one.epochs) for one in trained.stages]

    titles = ("groups", "classes of group 1", "classes of group 2")
    assert kinds() == [
        (titles[0], "full", 32, 8),
        (titles[1], "distilled", 4, 10),
        (titles[2], "distilled", 4, 10),
    ]
    assert kinds(class_data="full") == [
        (titles[0], "full", 32, 8),
        (titles[1], "full", 18, 8),
        (titles[2], "full", 10, 8),
    ]
    assert kinds(group_data="distilled")[0] == (titles[0], "distilled", 10, 10)


def test_the_same_seed_gives_the_same_bits():
    test = images_of((3,) * 5, 2, class_names=NAMES).images
    first, again, other = (train_two_stages(lessons(), GROUPING, NETWORK, seed).saved for seed in (1, 1, 2))
    state = torch.get_rng_state()
    assert torch.equal(first.predict_logits(test), again.predict_logits(test))
    assert not torch.equal(first.predict_logits(test), other.predict_logits(test))
    assert torch.equal(torch.get_rng_state(), state)
    assert first.provenance["seed"] == 1
    assert len(first.provenance["stages"]) == 3


def test_an_easy_problem_is_learned():
    test = images_of((6,) * 5, 2, class_names=NAMES)
    recipe = RECIPE.model_copy(update={"epochs": 30})
    train = QUICK.model_copy(update={"epochs": 30})
    saved = train_two_stages(lessons(recipe=recipe, train=train), GROUPING, NETWORK, 0).saved
    assert saved.decide(test.images).group_accuracy(test.labels) > 0.7
    assert float((saved.predict_logits(test.images).argmax(1) == test.labels).float().mean()) > 0.6


def test_validation_images_choose_epochs_where_a_group_has_some(monkeypatch):
    """What is held out decides: with other answers to the same images, other epochs are kept."""
    held_out = TRAIN.subset(TRAIN.indices_of(0)[:2])  # none of group 2
    trained = train_two_stages(lessons(held_out=held_out), GROUPING, NETWORK, 0)
    assert trained.stages[2].kept_epoch == 9
    seen: list[str] = []
    original = two_stage_training.train_student

    def watch(classroom, *arguments, selection, title, **keywords):
        seen.append(f"{title}: {selection is not None}")
        return original(classroom, *arguments, selection=selection, title=title, **keywords)

    monkeypatch.setattr(two_stage_training, "train_student", watch)
    train_two_stages(lessons(held_out=held_out), GROUPING, NETWORK, 0)
    assert [one.rpartition(": ")[2] for one in seen] == ["True", "True", "False"]


def test_groups_are_found_behind_the_set_s_preprocessing():
    settings = GroupingSettings(epochs=1, num_groups=3, batch_size=8)
    found = two_stage_grouping(lessons(recipe=RECIPE.model_copy(update={"settings": settings})), NETWORK)
    assert found.num_groups == 3
    assert found.provenance["data_sha256"] == TRAIN.content_hash


def test_rows_say_by_which_labels_their_stages_learned():
    soft = make_set(soft_labels=soft_labels())
    for stages, expected in (
        ({}, ("static", ["hard", "static", "static"])),
        ({"group_data": "distilled"}, ("static", ["static"] * 3)),
        ({"class_data": "full"}, ("hard", ["hard"] * 3)),
    ):
        recipe = RECIPE.model_copy(update={"epochs": 1, **stages})
        own = replace(lessons(distilled=soft, recipe=recipe), labels="static", train=TrainRecipe(epochs=1))
        trained = train_two_stages(own, GROUPING, NETWORK, 0)
        assert (trained.labels, [stage.labels for stage in trained.stages]) == expected


# What is refused


def test_bad_input_is_refused_before_training():
    distilled = make_set()
    with pytest.raises(DistailError, match=r"Name them with --train SOURCE"):
        require_two_stages(distilled, RECIPE, None, GROUPING)
    with pytest.raises(DistailError, match=r"Name them with --train SOURCE"):
        train_two_stages(lessons(images=None), GROUPING, NETWORK, 0)
    with pytest.raises(DistailError, match="made for other classes"):
        require_two_stages(distilled, RECIPE, TRAIN, Grouping(tuple("abcdx"), (0, 1, 0, 1, 1)))
    with pytest.raises(DistailError, match="into one group"):
        require_two_stages(distilled, RECIPE, TRAIN, Grouping(NAMES, (0,) * 5))
    many = RECIPE.model_copy(update={"settings": GroupingSettings(num_groups=6)})
    with pytest.raises(DistailError, match="5 classes cannot be cut into 6 groups"):
        require_two_stages(distilled, many, TRAIN, None)
    with pytest.raises(DistailError, match="images of the same size"):
        require_two_stages(distilled, RECIPE, images_of((2,) * 5, 1, (3, 9, 9), class_names=NAMES), GROUPING)


def test_a_set_without_a_class_is_refused_where_a_stage_learns_from_it():
    whole = make_set()
    kept = whole.labels != 3
    lacking = replace(whole, images=whole.images[kept], labels=whole.labels[kept])
    with pytest.raises(DistailError, match="no image of class 'd'"):
        lessons(distilled=lacking)
    lessons(distilled=lacking, recipe=RECIPE.model_copy(update={"class_data": "full"}))


def test_both_stages_of_a_set_need_no_other_images():
    recipe = RECIPE.model_copy(update={"group_data": "distilled"})
    require_two_stages(make_set(), recipe, None, GROUPING)
    assert len(train_two_stages(lessons(recipe=recipe, images=None), GROUPING, NETWORK, 0).stages) == 3


def test_test_images_decide_nothing():
    with pytest.raises(ValueError, match="test images decide"):
        TwoStageRecipe(settings=GroupingSettings(features="test"))
