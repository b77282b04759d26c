import json

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distail.data.image_set import ImageSet
from distail.data.inspection import DuplicateGroup, inspect
from distail.data.sources import SourceContents, UnreadableImage, read_source
from tests.data.sources.builders import pixels, write_folder


def contents(kinds, labels, num_classes=3, split="train", unreadable=()) -> SourceContents:
    """Images that are equal where their kinds are."""
    looks = torch.from_numpy(pixels(10, (1, 8, 8)))
    names = tuple("abcdefgh"[:num_classes])
    images = ImageSet(looks[torch.tensor(kinds)], torch.tensor(labels), names, "here")
    return SourceContents(images, split, tuple(unreadable), {(8, 8): len(kinds)})


def test_counts_groups_and_empty_classes():
    labels = [0] * 101 + [1] * 20
    found = inspect(contents([0] * 121, labels, unreadable=[UnreadableImage("x.png", "broken")]))
    assert found.class_names == ("a", "b", "c")
    assert found.class_counts == (101, 20, 0)
    assert found.shot_groups == ("many", "medium", "few")
    assert found.imbalance_factor == float("inf")
    assert found.empty_classes == ("c",)
    assert found.image_shape == (1, 8, 8)
    assert found.num_images == 121
    assert found.unreadable[0].where == "x.png"
    assert found.duplicates_across == ()


def test_duplicates_within_a_split_and_their_labels():
    found = inspect(contents([4, 1, 4, 2, 1, 4], [0, 1, 0, 2, 2, 0]))
    assert found.duplicates_within == (
        DuplicateGroup((0, 2, 5), (), ("a",)),
        DuplicateGroup((1, 4), (), ("b", "c")),
    )
    assert [group.labels_disagree for group in found.duplicates_within] == [False, True]


def test_duplicates_across_splits_compare_classes_by_name():
    train = contents([0, 1, 2, 1], [0, 1, 2, 1])
    test = contents([5, 1, 0], [0, 1, 2], split="test")
    assert inspect(train, test).duplicates_across == (
        DuplicateGroup((0,), (2,), ("a", "c")),
        DuplicateGroup((1, 3), (1,), ("b",)),
    )
    assert inspect(train, contents([6, 7], [0, 1], split="test")).duplicates_across == ()


@given(st.lists(st.integers(0, 9), min_size=1, max_size=25), st.lists(st.integers(0, 9), min_size=1, max_size=25))
@settings(deadline=None)
def test_groups_are_exactly_the_equal_images(kinds, other_kinds):
    labels = [kind % 3 for kind in kinds]
    found = inspect(contents(kinds, labels), contents(other_kinds, [0] * len(other_kinds), split="test"))
    repeated = {kind for kind in kinds if kinds.count(kind) > 1}
    assert {kinds[group.indices[0]] for group in found.duplicates_within} == repeated
    for group in found.duplicates_within + found.duplicates_across:
        kind = kinds[group.indices[0]]
        assert group.indices == tuple(index for index, other in enumerate(kinds) if other == kind)
    assert {kinds[group.indices[0]] for group in found.duplicates_across} == set(kinds) & set(other_kinds)
    for group in found.duplicates_across:
        assert {other_kinds[index] for index in group.other_indices} == {kinds[group.indices[0]]}


def test_the_same_bytes_in_another_shape_are_another_image():
    flat = torch.zeros(2, 1, 8, 18, dtype=torch.uint8)
    labels = torch.tensor([0, 1])
    wide = SourceContents(ImageSet(flat, labels, ("a", "b")), "train", (), {(8, 18): 2})
    square = SourceContents(ImageSet(flat.reshape(2, 1, 12, 12), labels, ("a", "b")), "test", (), {(12, 12): 2})
    assert inspect(wide, square).duplicates_across == ()


def test_json_holds_everything(tmp_path):
    colour = pixels(3)
    root = write_folder(tmp_path, {"a": colour[:2], "b": [colour[0], np.full((8, 8, 3), 7, np.uint8)], "c": []})
    (root / "a" / "broken.png").write_bytes(b"broken")
    facts = json.loads(json.dumps(inspect(read_source(root)).to_json(), allow_nan=False))
    assert facts["origin"] == str(root)
    assert facts["split"] == "train"
    assert facts["num_images"] == 4
    assert facts["classes"][0] == {"name": "a", "count": 2, "shot_group": "few"}
    assert facts["imbalance_factor"] is None
    assert facts["image_shape"] == [3, 8, 8]
    assert facts["sizes"] == [{"height": 8, "width": 8, "count": 4}]
    assert facts["unreadable"][0]["where"] == str(root / "a" / "broken.png")
    assert facts["empty_classes"] == ["c"]
    assert facts["duplicates_within"] == [
        {"indices": [0, 2], "other_indices": [], "class_names": ["a", "b"], "labels_disagree": True}
    ]
    assert facts["duplicates_across"] == []
