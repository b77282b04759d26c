import math
from dataclasses import replace

import pytest
import torch

from distail.data.image_set import ImageSet
from distail.data.preprocess import fit_preprocessing
from distail.errors import DistailError
from distail.groups.finding import find_grouping
from distail.groups.projection import project
from distail.groups.settings import GroupingSettings
from distail.progress import KeptWarnings, SilentProgress
from tests.evaluation.separable import images_of, make_set
from tests.reference.grouping import cut

NETWORK = "convnet2-w8"
QUICK = GroupingSettings(epochs=3, batch_size=16, augmentation="none", learning_rate=0.05)


def relatives(counts=(12, 10, 8, 8), seed=0, shape=(3, 8, 8)):
    """Classes 0 and 2 are alike, and so are 1 and 3."""
    generator = torch.Generator().manual_seed(5)
    families = 40 + 170 * torch.rand(2, *shape, generator=generator)
    own = 18 * torch.randn(len(counts), *shape, generator=generator)
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    noise = 10 * torch.randn(len(labels), *shape, generator=torch.Generator().manual_seed(seed))
    pixels = (families[labels % 2] + own[labels] + noise).round().clamp(0, 255).to(torch.uint8)
    return ImageSet(pixels, labels, tuple("abcdefgh"[: len(counts)]), origin="relatives")


def found_in(train, settings=QUICK, **others):
    return find_grouping(train, fit_preprocessing(train, "normalize"), settings, NETWORK, **others)


def changed(**settings):
    return QUICK.model_copy(update=settings)


def test_planted_families_are_found():
    found = found_in(relatives())
    assert found.grouping.group_of == (0, 1, 0, 1)
    assert found.cut.exact
    assert found.cut.value == pytest.approx(cut(found.distances, (0, 1, 0, 1)))
    assert found.features.shape == (38, found.network.network.feature_size)
    assert found.centroids.counts == (5, 5, 5, 5)


def test_features_that_tell_nothing_apart_are_warned_of():
    told = KeptWarnings(SilentProgress())
    found_in(relatives(), progress=told)
    assert told.warnings == []
    found = found_in(relatives(), changed(epochs=1, learning_rate=1e-9), progress=told)
    (warning,) = told.warnings
    accuracy = found.grouping.provenance["balanced_accuracy"]
    assert f"hardly better than chance ({accuracy:.0%} right" in warning
    assert "--epochs" in warning


def test_the_seed_decides():
    train = relatives()
    first, again, other = found_in(train, seed=1), found_in(train, seed=1), found_in(train, seed=2)
    assert torch.equal(first.features, again.features)
    assert torch.equal(first.distances, again.distances)
    assert first.cut == again.cut
    assert not torch.equal(first.features, other.features)


def test_a_grouping_knows_where_it_comes_from():
    train = relatives()
    facts = found_in(train, seed=7).grouping.provenance
    assert facts["data_sha256"] == train.content_hash
    assert (facts["origin"], facts["seed"], facts["architecture"]) == ("relatives", 7, NETWORK)
    assert facts["features"] == "train"
    assert facts["settings"]["epochs"] == 3
    assert {"versions", "hardware", "written"} <= facts.keys()


def test_features_are_the_network_s_of_the_training_images():
    train = relatives()
    found = found_in(train)
    inputs = found.network.preprocessing.apply(train.images)
    with torch.no_grad():
        torch.testing.assert_close(found.features, found.network.network.features(inputs))
    assert torch.equal(found.labels, train.labels)


def test_held_out_images_are_not_trained_on_but_looked_at():
    train = relatives((10, 10, 1, 5))
    found = found_in(train, changed(features="heldout", validation=0.4))
    assert torch.bincount(found.labels).tolist() == [4, 4, 1, 2]
    assert found.centroids.counts == (4, 4, 1, 2)
    inputs = found.network.preprocessing.apply(train.images)
    with torch.no_grad():
        seen = found.network.network.features(inputs)
    assert float(torch.cdist(found.features.double(), seen.double()).amin(dim=1).max()) < 1e-5
    assert found.grouping.provenance["trained_on"]["num_images"] == 6 + 6 + 1 + 3


def test_test_images_are_looked_at_on_demand_and_it_is_said():
    test = relatives((3, 3, 3, 3), seed=9)
    found = found_in(relatives(), changed(features="test"), test=test)
    assert len(found.features) == 12
    assert found.grouping.provenance["features"] == "test"


def test_at_most_so_many_images_of_a_class():
    found = found_in(relatives(), changed(max_images=9))
    assert torch.bincount(found.labels).tolist() == [9, 9, 8, 8]


@pytest.mark.parametrize("groups", [3, 4])
def test_more_groups(groups):
    assert found_in(relatives(), changed(num_groups=groups)).grouping.num_groups == groups


def test_two_classes_are_two_groups_of_one():
    assert found_in(relatives((6, 4))).grouping.group_of == (0, 1)


def test_the_number_of_groups_can_be_chosen_on_held_out_images():
    found = found_in(relatives((20, 18, 16, 14)), changed(num_groups="auto", epochs=8))
    assert [count.num_groups for count in found.tried] == [1, 2, 3, 4]
    assert found.grouping.num_groups in (2, 3, 4)
    assert found.grouping.provenance["tried"][1]["num_groups"] == 2
    assert [count.num_groups for count in found_in(relatives(), changed(num_groups="auto", max_groups=2)).tried] == [
        1,
        2,
    ]


def test_a_network_may_learn_from_a_distilled_set():
    train = images_of((20, 12, 6), 1)
    lessons = make_set(train)
    found = found_in(train, changed(batch_size=4), lessons=lessons)
    assert found.network.preprocessing is lessons.preprocessing
    assert len(found.features) == 38
    assert found.grouping.provenance["trained_on"]["kind"] == "distilled set"
    # As many steps as on the images: 3 epochs of 10 are 15 of 2.
    assert found.network.provenance["recipe"]["epochs"] == 15
    mosaics = found_in(train, changed(batch_size=4), lessons=replace(lessons, mosaic=2))
    assert mosaics.network.provenance["recipe"]["epochs"] == 30 // 6  # of each image it learns four cells


def without_class(distilled, label):
    kept = distilled.labels != label
    return make_set(images=distilled.images[kept], labels=distilled.labels[kept])


def test_bad_input_is_refused_before_training():
    train = images_of((8, 6, 4), 1)
    whole = make_set(train)
    named_otherwise = images_of((8, 6, 4), 1, class_names=("ant", "bee", "elk"))
    cases = [
        (changed(num_groups=4), {}, "2 to 3"),
        (changed(num_groups=1), {}, "2 to 3"),
        (QUICK, {"lessons": without_class(whole, 1)}, "no image of class 'bee'"),
        (QUICK, {"lessons": make_set(named_otherwise, class_names=("ant", "bee", "elk"))}, "differ"),
        (QUICK, {"lessons": make_set(images_of((8, 6, 4), 1, (3, 9, 9)))}, "same size"),
        (changed(features="test"), {}, "pass both"),
        (QUICK, {"test": train}, "pass both"),
        (changed(features="test"), {"test": train.subset([0, 1])}, "no image in class"),
    ]
    for settings, others, said in cases:
        with pytest.raises(DistailError, match=said):
            found_in(train, settings, **others)
    with pytest.raises(DistailError, match="no image in class"):
        found_in(train.subset([0, 1, 2]))
    with pytest.raises(DistailError, match="none can be held out"):
        found_in(relatives((1, 1, 1)), changed(num_groups="auto"))


def test_on_a_plane_alike_stay_near():
    found = found_in(relatives((30, 30, 30, 30)), changed(epochs=8))
    plane = project(found.features, found.labels, found.centroids, max_points=80)
    assert plane.points.shape == (80, 2)
    assert plane.centres.shape == (20, 2)
    assert torch.bincount(plane.labels).tolist() == [20, 20, 20, 20]
    again = project(found.features, found.labels, found.centroids, max_points=80)
    assert (plane.points == again.points).all()
    points = torch.from_numpy(plane.points).double()
    families = plane.labels % 2
    within = torch.cdist(points[families == 0], points[families == 0]).mean()
    between = torch.cdist(points[families == 0], points[families == 1]).mean()
    assert between > within


@pytest.mark.parametrize("counts", [(1, 1), (2, 1), (3, 2, 1)])
def test_very_few_images_have_a_plane_too(counts):
    found = found_in(relatives(counts))
    plane = project(found.features, found.labels, found.centroids)
    assert len(plane.points) == sum(counts)
    assert math.isfinite(float(plane.points.sum()))
