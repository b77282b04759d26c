import json

import pytest

from distail.errors import DistailError
from distail.groups.grouping import Grouping, canonical, load_grouping

NAMES = ("ant", "bee", "cow", "doe")


def test_members_and_numbers():
    grouping = Grouping(NAMES, (0, 1, 0, 1))
    assert grouping.num_groups == 2
    assert grouping.members(0) == (0, 2)
    assert grouping.members(1) == (1, 3)


def test_a_group_of_one_class_is_allowed():
    assert Grouping(NAMES, (0, 1, 1, 1)).members(0) == (0,)


def test_canonical_numbers_groups_by_their_first_class():
    assert canonical((5, 2, 5, 9)) == (0, 1, 0, 2)


@pytest.mark.parametrize(
    ("names", "groups", "said"),
    [
        (("ant",), (0,), "at least two classes"),
        (NAMES, (0, 1), "there are 4"),
        (NAMES, (1, 0, 0, 0), "order of their first classes"),
        (NAMES, (0, 2, 0, 2), "order of their first classes"),
    ],
)
def test_what_is_no_partition_is_refused(names, groups, said):
    with pytest.raises(DistailError, match=said):
        Grouping(names, groups)


def test_saved_and_loaded_is_the_same(tmp_path):
    grouping = Grouping(NAMES, (0, 1, 0, 2), {"seed": 3})
    grouping.save(tmp_path / "grouping.json")
    assert load_grouping(tmp_path / "grouping.json") == grouping


def test_a_person_may_write_one(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"class_names": NAMES, "groups": [["doe"], ["cow", "ant"], ["bee"]]}))
    assert load_grouping(path) == Grouping(NAMES, (0, 1, 0, 2))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not readable as JSON"),
        ("[]", "is no grouping"),
        ('{"class_names": ["a", "b"]}', "is no grouping"),
        ('{"class_names": ["a", "b"], "groups": [["a"]]}', "not so for b"),
        ('{"class_names": ["a", "b"], "groups": [["a", "b"], ["b"]]}', "not so for b"),
        ('{"class_names": ["a", "b"], "groups": [["a", "b", "c"]]}', "not so for c"),
        ('{"class_names": ["a", "b"], "groups": [1, 2]}', "is no grouping"),
    ],
)
def test_damaged_files_are_refused(tmp_path, text, said):
    path = tmp_path / "grouping.json"
    path.write_text(text)
    with pytest.raises(DistailError, match=said):
        load_grouping(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DistailError, match="does not exist"):
        load_grouping(tmp_path / "grouping.json")


@pytest.mark.parametrize(
    ("names", "said"), [(("ant", "bee", "cow", "elk"), "doe, elk"), (("bee", "ant", "cow", "doe"), "order differs")]
)
def test_a_grouping_of_other_classes_is_refused(names, said):
    grouping = Grouping(NAMES, (0, 1, 0, 1))
    grouping.require_for(NAMES, "the images")
    with pytest.raises(DistailError, match=said):
        grouping.require_for(names, "the images")
