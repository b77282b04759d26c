import numpy as np
import pytest
import torch

from distail.groups.choice import GroupCount
from distail.groups.distances import ClassCentroids, class_centroids, class_distances
from distail.groups.finding import FoundGroups
from distail.groups.grouping import Grouping, canonical
from distail.groups.max_cut import max_cut
from distail.groups.projection import Projection
from distail.groups.stability import agreement
from distail.models.saved import SavedNetwork
from distail.report.evaluation import render_text
from distail.report.group_pictures import COLOURS, Shown, comparison_picture, distances_picture, features_picture
from distail.report.groups import agreement_table, classes_table, groups_notes, groups_table, tried_table
from tests.report.pictures import pixels_of

ODD = ("$x$", "$\\undefined{", "<script>", "n" * 300, "猫", "two\nlines\x1b[31m", "")


def found_of(count=6, groups=2, names=None):
    """As if found on 12 images a class; no network is needed to show it."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count).repeat_interleave(12)
    features = torch.randn(len(labels), 5, generator=generator) + 3 * (labels % groups)[:, None] + 0.3 * labels[:, None]
    names = names or tuple(f"class {label}" for label in range(count))
    centroids = class_centroids(features, labels, names)
    distances = class_distances(centroids)
    cut = max_cut(distances, groups)
    facts = {"features": "train", "num_images": len(labels), "architecture": "convnet3"}
    network = object.__new__(SavedNetwork)
    return FoundGroups(Grouping(names, cut.group_of, facts), cut, distances, features, labels, centroids, network)


def shown_of(found, name="imbalance 100"):
    """The first two features in place of a projection, which takes seconds."""
    centres = found.centroids.centres[:, :2].float().numpy()
    plane = Projection(found.features[:, :2].numpy(), found.labels, centres, found.centroids.labels)
    return Shown(name, plane, found.grouping)


def count_of(picture, colour):
    wanted = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)])
    return int((picture == wanted).all(-1).sum())


def test_the_plane_shows_classes_and_groups(tmp_path):
    features_picture(shown_of(found_of()), tmp_path / "features.png")
    picture = pixels_of(tmp_path / "features.png")
    for colour in COLOURS[:6]:
        assert count_of(picture, colour) > 100
    right = picture[:, picture.shape[1] // 2 :]
    assert count_of(right, COLOURS[0]) > 100
    assert count_of(right, COLOURS[1]) > 100
    assert count_of(right, COLOURS[2]) == 0  # two groups have two colours


def test_columns_stand_side_by_side(tmp_path):
    found = found_of()
    comparison_picture([shown_of(found)] * 2, tmp_path / "two.png")
    comparison_picture([shown_of(found)] * 4, tmp_path / "four.png")
    two, four = pixels_of(tmp_path / "two.png"), pixels_of(tmp_path / "four.png")
    assert four.shape[1] > 1.4 * two.shape[1]
    assert (four < 250).any(-1).mean() > 0.02


def test_groups_of_other_columns_take_the_colours_of_the_first(tmp_path):
    """Group 1 of the second is nearly group 2 of the first, and looks like it."""
    names = tuple("abcdef")
    found = found_of(names=names)

    def column(groups):
        shown = shown_of(found)
        return Shown("x", shown.projection, Grouping(names, canonical(groups)))

    first, second = column((0, 1, 1, 1, 1, 1)), column((0, 0, 0, 0, 0, 1))
    comparison_picture([first, second], tmp_path / "both.png")
    picture = pixels_of(tmp_path / "both.png")
    height, width = picture.shape[:2]
    lower = picture[height // 2 + 40 :]
    left, right = lower[:, : width // 2 - 40], lower[:, width // 2 : width - 260]
    assert count_of(left, COLOURS[1]) > 2 * count_of(left, COLOURS[0])
    assert count_of(right, COLOURS[1]) > 2 * count_of(right, COLOURS[0])


@pytest.mark.parametrize("count", [2, 22, 70])
def test_any_number_of_classes(tmp_path, count):
    found = found_of(count)
    features_picture(shown_of(found), tmp_path / "features.png")
    distances_picture(found, tmp_path / "distances.png")
    for name in ("features", "distances"):
        picture = pixels_of(tmp_path / f"{name}.png")
        assert max(picture.shape) < 4000
        assert (picture < 250).any(-1).mean() > 0.01


def test_the_matrix_is_ordered_by_group(tmp_path):
    found = found_of(6)
    assert found.grouping.group_of == (0, 1, 0, 1, 0, 1)
    distances_picture(found, tmp_path / "distances.png")
    picture = pixels_of(tmp_path / "distances.png")
    dark = (picture[..., 1] < 110) & (picture[..., 2] > 60)  # near, in viridis
    rows = np.flatnonzero(dark.any(1))
    middle = (rows.min() + rows.max()) // 2
    upper = np.flatnonzero(dark[rows.min() : middle - 20].any(0))
    lower = np.flatnonzero(dark[middle + 20 : rows.max()].any(0))
    assert upper.mean() < lower.mean()


def test_odd_class_names_are_drawn_literally(tmp_path):
    found = found_of(len(ODD), names=ODD)
    features_picture(shown_of(found), tmp_path / "features.png")
    distances_picture(found, tmp_path / "distances.png")
    assert pixels_of(tmp_path / "features.png").shape[1] < 2600
    assert pixels_of(tmp_path / "distances.png").shape[1] < 2200


# Tables


def test_tables_tell_groups_and_why():
    found = found_of()
    text = render_text([groups_table(found), classes_table(found), *groups_notes(found)])
    assert "class 0, class 2, class 4" in text
    assert "no partition has a larger one" in text
    assert "72 training images, as convnet3 sees them" in text
    assert "class 2 (" in text


def test_a_group_of_one_class_has_no_distance_inside():
    found = found_of(3, groups=3)
    text = render_text([groups_table(found), classes_table(found)])
    assert text.count("–") == 6


def test_of_many_classes_the_doubtful_ones_are_shown():
    text = render_text([classes_table(found_of(50))])
    assert "the 40 of 50 classes that stand nearest to another group" in " ".join(text.split())


def test_test_images_and_missing_centroids_are_said():
    found = found_of()
    found.grouping.provenance["features"] = "test"
    counts = (5, 5, 1, 5, 5, 3)
    centroids = ClassCentroids(found.centroids.centres, found.centroids.labels, counts, 5)
    changed = FoundGroups(
        found.grouping, found.cut, found.distances, found.features, found.labels, centroids, found.network
    )
    text = " ".join(groups_notes(changed))
    assert "CAUTION: these groups have seen the test images" in text
    assert "want of images: class 2, class 5." in text


def test_agreement_and_numbers_of_groups_as_tables():
    halves, alone = Grouping(tuple("abcd"), (0, 0, 1, 1)), Grouping(tuple("abcd"), (0, 1, 1, 1))
    text = render_text([agreement_table(agreement({"tail": [halves, alone], "balanced": [halves]}))])
    assert "–" in text
    assert "1.00" not in text.splitlines()[2]
    tried = [GroupCount(1, 0.9, 0.01, 1.0), GroupCount(2, 0.8, 0.02, 0.85)]
    text = render_text([tried_table(tried, 2)])
    assert "80.0 ±2.0" in text
    assert "chosen" in text.splitlines()[3]
