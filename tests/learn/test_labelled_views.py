"""Learning from labelled views."""

from dataclasses import replace

import pytest
import torch

from distail.data.labelled_views import LabelledViews
from distail.distilled import DistilledSet, load_distilled
from distail.errors import DistailError
from distail.evaluation.protocol import Scoring, evaluate
from distail.export import export_set
from distail.groups.grouping import Grouping
from distail.groups.stages import class_stages, group_stage
from distail.learn.labelled_views import ViewTrainingSet
from distail.learn.labels import effective_protocol, labelled_training_set
from distail.learn.student import Classroom, train_student
from distail.runtime import Runtime
from distail.training.recipe import TrainRecipe
from distail.training.training_set import TensorTrainingSet, TrainingSet
from tests.evaluation.separable import ARCHITECTURE, TEST, make_set, quick

CPU = Runtime()
ALL = torch.arange(6)


def answer(images: torch.Tensor) -> torch.Tensor:
    return images.flatten(1)[:, :3]


def with_views(num_views: int = 3, mixed: float = 0.0, **parts) -> DistilledSet:
    whole = make_set(**{"soft_labels": torch.randn(6, 3, generator=torch.Generator().manual_seed(1)), **parts})
    generator = torch.Generator().manual_seed(3)
    views = LabelledViews.drawn(whole.images, num_views, answer, generator, smallest_crop=0.2, mixed=mixed)
    return replace(whole, views=views)


def views_of(whole: DistilledSet) -> LabelledViews:
    assert whole.views is not None
    return whole.views


def test_static_labels_are_those_of_the_views():
    whole = with_views()
    data = labelled_training_set(whole, "static", CPU)
    assert isinstance(data, ViewTrainingSet)
    assert isinstance(data, TrainingSet)
    assert (len(data), data.num_classes, data.image_shape) == (6, 3, whole.image_shape)
    assert effective_protocol(whole, "static") == "static"


def test_hard_labels_leave_views_alone():
    data = labelled_training_set(with_views(), "hard", CPU)
    assert isinstance(data, TensorTrainingSet)
    assert not data.targets(ALL, data.images(ALL)).are_soft


def test_epochs_take_turns_at_the_views():
    whole = with_views()
    data = labelled_training_set(whole, "static", CPU)
    for epoch in range(7):
        number = epoch % 3
        seen = data.of_epoch(epoch)
        assert torch.equal(seen.images(ALL), views_of(whole).seen(whole.images, number))
        targets = seen.targets(ALL, seen.images(ALL))
        assert torch.equal(targets.logits, views_of(whole).answers(number))
        assert torch.equal(targets.labels, whole.labels)
    assert torch.equal(data.images(ALL), data.of_epoch(0).images(ALL))
    assert torch.equal(data.targets(ALL, whole.images).logits, views_of(whole).answers(0))


def losses(room: Classroom, recipe: TrainRecipe) -> list[float]:
    return train_student(room, ARCHITECTURE, recipe, 0, CPU).history.losses


def test_students_augment_views_no_further():
    whole = with_views()
    room = Classroom.of_distilled(whole, "static", CPU)
    recipe = TrainRecipe(epochs=3, batch_size=4, schedule="constant", loss="squared_error")
    plain, mirrored = ({"augmentation": name} for name in ("none", "flip"))
    assert losses(room, recipe.model_copy(update={"augmentation": "resized"})) == losses(
        room, recipe.model_copy(update=plain)
    )
    assert losses(room, recipe.model_copy(update={"augmentation": "resized+flip"})) == losses(
        room, recipe.model_copy(update=mirrored)
    )
    assert losses(room, recipe.model_copy(update={"augmentation": "rand+resized+flip"})) == losses(
        room, recipe.model_copy(update=mirrored)
    )
    mixed = Classroom.of_distilled(with_views(mixed=1.0), "static", CPU)
    cutmix = recipe.model_copy(update={"mixing": "cutmix"})
    assert losses(mixed, cutmix) == losses(mixed, recipe)  # they are mixed already
    assert losses(room, cutmix) != losses(room, recipe)
    other = Classroom.of_distilled(with_views(2), "static", CPU)
    assert losses(other, recipe) != losses(room, recipe)


def test_stages_without_views_of_their_own_take_labels_of_images():
    whole = with_views(num_views=1, mixed=1.0)
    parts = views_of(whole).parts
    assert parts is not None
    others = replace(parts, partners=torch.tensor([2, 3, 0, 1, 2, 3], dtype=torch.int32)[:, None])
    whole = replace(whole, views=replace(views_of(whole), parts=others))
    inside = class_stages(Grouping(whole.class_names, (0, 1, 0)))[0]
    assert inside is not None
    own = inside.of_set(whole)
    assert own.soft_labels is not None
    assert own.views is None


def test_digests_tell_views_apart():
    digests = [
        labelled_training_set(one, "static", CPU).digest()
        for one in (with_views(), with_views(2), replace(with_views(), images=with_views().images + 1))
    ]
    assert len(set(digests)) == 3
    assert digests[0] == labelled_training_set(with_views(), "static", CPU).digest()


def test_views_are_saved_with_the_set_and_counted(tmp_path):
    whole = with_views()
    whole.save(tmp_path / "set.safetensors")
    again = load_distilled(tmp_path / "set.safetensors")
    assert torch.equal(views_of(again).boxes, views_of(whole).boxes)
    assert torch.equal(views_of(again).logits, views_of(whole).logits)
    more = whole.stored_bytes().labels - replace(whole, views=None).stored_bytes().labels
    for protocol in ("hard", "teacher"):
        assert whole.stored_bytes(protocol).labels == 8 * 6
    assert more == views_of(whole).nbytes == 6 * 3 * (4 + 2 * 3)


def test_views_of_other_images_or_classes_or_of_mosaics_are_refused():
    whole = with_views()
    with pytest.raises(DistailError, match="5 images and 3 classes"):
        replace(whole, views=views_of(whole).of_images(torch.arange(6) < 5))
    with pytest.raises(DistailError, match="6 images and 2 classes"):
        replace(whole, views=views_of(whole).answering(lambda logits: logits[:, :2]))
    with pytest.raises(DistailError, match="mosaics"):
        replace(whole, mosaic=2)
    with pytest.raises(DistailError, match="soft labels of its images"):
        replace(whole, soft_labels=None)


def test_hard_labels_are_mixed_as_the_views_are():
    whole = with_views(mixed=1.0)
    seen = labelled_training_set(whole, "static", CPU).of_epoch(1)
    found = seen.targets(ALL, seen.images(ALL)).labels
    assert torch.equal(found, views_of(whole).hard_labels(whole.labels, 1, (8, 8)))
    assert found.shape == (6, 3)


def test_exports_say_that_views_are_lost(tmp_path):
    lost = export_set(with_views(), tmp_path / "set.npz", "npz").dropped
    assert "labelled views" in lost


def test_stages_learn_from_views_of_their_own_images():
    whole = with_views()
    grouping = Grouping(whole.class_names, (0, 1, 0))
    between = group_stage(grouping)
    of_groups = between.of_set(whole)
    logits = views_of(whole).logits.float()
    expected = torch.stack([logits[:, :, [0, 2]].logsumexp(2), logits[:, :, 1]], dim=2)
    torch.testing.assert_close(views_of(of_groups).logits.float(), expected, rtol=1e-2, atol=1e-2)
    inside = class_stages(grouping)[0]
    assert inside is not None
    own = whole.labels != 1
    torch.testing.assert_close(
        views_of(inside.of_set(whole)).logits.float(), logits[own][:, :, [0, 2]], rtol=1e-2, atol=1e-2
    )


def test_scores_name_the_training_that_views_and_a_learned_step_size_leave():
    own = TrainRecipe(augmentation="resized+flip", mixing="cutmix", batch_size=3)
    whole = with_views(mixed=1.0, training=own, learning_rate=0.02)
    recipe = quick(epochs=1)
    train = recipe.train.model_copy(update={"augmentation": "crop+flip", "mixing": "mixup", "learning_rate": 0.5})
    found = evaluate(Scoring(whole, TEST, recipe.model_copy(update={"train": train}))).provenance["train"]
    assert (found["augmentation"], found["mixing"], found["learning_rate"]) == ("flip", "none", 0.02)
    unmixed = evaluate(Scoring(with_views(training=own), TEST, quick(epochs=1))).provenance["train"]
    assert unmixed["mixing"] == "cutmix"
