"""A grid's text: short forms, order, and what is refused."""

import pytest

from distail.bench.grid import Grid, combinations, grid_text, load_grid, parse_grid
from distail.config import nested
from distail.errors import DistailError

TEXT = """
base: {data: {source: digits}}
rows:
  random:
  lad, few: {method: lad, settings: {iterations: 1e1}}
vary:
  images_per_class: [10, 50]
"""


def test_a_row_that_says_nothing_is_the_methods():
    grid = parse_grid(TEXT, "grid g.yaml")
    assert grid.rows == {"random": {}, "lad, few": {"method": "lad", "settings": {"iterations": 10.0}}}
    assert grid.seeds == [0]


def test_a_list_of_methods_is_short_for_rows():
    assert Grid(rows=["random", "dm"]).rows == {"random": {}, "dm": {}}


@pytest.mark.parametrize(("given", "meant"), [(3, [0, 1, 2]), ([7, 5], [7, 5])])
def test_a_number_of_seeds_counts_from_nought(given, meant):
    assert Grid(rows=["dm"], seeds=given).seeds == meant


def test_the_last_value_changes_fastest():
    assert [tuple(values.values()) for values in combinations({"a": [1, 2], "b": [3], "c": [4, 5]})] == [
        (1, 3, 4),
        (1, 3, 5),
        (2, 3, 4),
        (2, 3, 5),
    ]
    assert list(combinations({})) == [{}]


def test_dotted_names_are_groups_and_what_varies_is_left_as_it_is():
    values = {"data": {"source": "digits"}, "data.imbalance": 100, "architecture": "a", "architecture.x": 1}
    assert nested(values) == {"data": {"source": "digits", "imbalance": 100}, "architecture": {"x": 1}}
    assert values["data"] == {"source": "digits"}


def test_the_text_of_a_grid_says_the_same(tmp_path):
    (tmp_path / "g.yaml").write_text(TEXT)
    grid, text = load_grid(tmp_path / "g.yaml")
    assert text == TEXT
    assert parse_grid(grid_text(grid), "grid") == grid


BAD = {
    "rows: [": ("not valid YAML", "Correct it"),
    "42": ("holds no settings", "Write them"),
    "base: {}": ("'rows': field required", "give it"),
    "rows: {}": ("'rows'", "nothing is compared", "rows: [random]"),
    "rows: []": ("'rows'", "nothing is compared"),
    "rows: {random: {}, dm\n": ("line 2, column 1", "expected"),
    "rows: [dm, dm]": ("a row stands there twice", "remove one"),
    "rows: {dm: {}, dm: {method: random}}": ("'dm' stands there twice", "Remove or rename"),
    "rows: [dm]\nrows: [random]": ("'rows' stands there twice",),
    "rows: {dm: {settings: {iterations: 1, iterations: 2}}}": ("'iterations' stands there twice",),
    "rows: [dm]\nvary: [{a: 1}, {a: 2}]": ("'vary'",),
    "rows: {dm: 3}": ("'rows.dm'", "dictionary"),
    "rows: [dm]\nrow: {}": ("unknown key 'row'", "Did you mean 'rows'?"),
    "rows: [dm]\nvary: {images_per_class: []}": ("'images_per_class' has no values", "give some"),
    "rows: [dm]\nvary: {images_per_class: [10, 10.0]}": ("'images_per_class' has a value twice", "leave one out"),
    "rows: [dm]\nvary: {images_per_class: 10}": ("'vary.images_per_class'", "list"),
    "rows: [dm]\nseeds: 0": ("'seeds'", "ask for at least 1"),
    "rows: [dm]\nseeds: []": ("'seeds'", "give at least one seed"),
    "rows: [dm]\nseeds: [1, 1]": ("'seeds'", "none twice"),
    "rows: [dm]\nseeds: true": ("'seeds'",),
    "rows: [dm]\nseeds: abc": ("'seeds': give a number of seeds, or a list",),
}


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_grid_is_refused_by_name(text):
    with pytest.raises(DistailError) as refusal:
        parse_grid(text, "grid g.yaml")
    for words in ("grid g.yaml", *BAD[text]):
        assert words in str(refusal.value)


@pytest.mark.parametrize("content", [None, b"\xff\xfe rows"])
def test_a_file_that_cannot_be_read(tmp_path, content):
    if content:
        (tmp_path / "g.yaml").write_bytes(content)
    with pytest.raises(DistailError, match=r"g.yaml cannot be read: .*Check the path"):
        load_grid(tmp_path / "g.yaml")
