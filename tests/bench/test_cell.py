"""What grids expand to."""

import pytest

from distail.bench.cell import expand, in_short
from distail.errors import DistailError
from tests.bench.grids import BASE, IF, IPC, NETWORK, grid_of


def test_seeds_change_slowest_and_rows_fastest():
    grid = grid_of(["random", "dm"], vary={IF: [100, 10], IPC: [1, 5]}, seeds=2)
    found = [(place.seed, *place.values.values(), place.row) for place in expand(grid).places]
    assert found == [
        (seed, imbalance, ipc, row)
        for seed in (0, 1)
        for imbalance in (100, 10)
        for ipc in (1, 5)
        for row in ("random", "dm")
    ]


def test_rows_change_the_base_and_what_varies_changes_both():
    rows = {"few": {"method": "dm", "settings": {"iterations": 3}, "data": {"image_size": 8}, IPC: 7}}
    grid = grid_of(rows, base={"settings": {"image_lr": 2.0}}, vary={IPC: [1], "settings.real_batch": [4]}, seeds=[5])
    (place,) = expand(grid).places
    recipe = place.cell.recipe
    assert (recipe.method, recipe.images_per_class, recipe.seed) == ("dm", 1, 5)
    assert recipe.settings == {"image_lr": 2.0, "iterations": 3, "real_batch": 4}
    assert recipe.data.image_size == 8
    assert recipe.data.source == BASE["data"]["source"]
    assert place.cell.architectures == (NETWORK,)
    assert (place.cell.kind, place.cell.method) == ("set", "dm")


def test_a_row_is_named_for_its_method_unless_something_says_another():
    assert [place.cell.method for place in expand(grid_of({"dm": {}, "x": {"method": "random"}})).places] == [
        "dm",
        "random",
    ]
    assert [place.cell.method for place in expand(grid_of({"a": {}, "b": {}}, base={"method": "dm"})).places] == [
        "dm"
    ] * 2


def test_where_holds_a_row_to_some_values():
    rows = {"random": {}, "dm": {"where": {IPC: [1], IF: 10}}}
    grid = grid_of(rows, vary={IF: [100, 10.0], IPC: [1, 5]})
    found = [tuple(place.values.values()) for place in expand(grid).places if place.row == "dm"]
    assert found == [(10.0, 1)]
    assert len(expand(grid).places) == 5


def test_a_baseline_stands_in_several_columns_as_one_cell():
    rows = {"all": {"baseline": {"method": "crt", "seeds": 2}}, "random": {}}
    grid = grid_of(rows, vary={IF: [100, 10], IPC: [1, 5]}, seeds=2)
    places = [place for place in expand(grid).places if place.row == "all"]
    assert len(places) == 8
    cells = [place.cell for place in places]
    assert len({cell.recipe.model_dump_json() for cell in cells}) == 2  # the data of two imbalances
    cell = cells[0]
    assert (cell.kind, cell.method, cell.architectures) == ("baseline", "crt", (NETWORK,))
    assert cell.baseline
    assert cell.baseline.seeds == 2
    assert cell.recipe.data.imbalance == 100


def test_a_baseline_follows_the_students():
    grid = grid_of({"all": {"baseline": "crt"}}, base={"evaluation": {"seeds": 4}, "preprocessing": "zca"})
    baseline = expand(grid).places[0].cell.baseline
    assert baseline
    assert (baseline.architecture, baseline.seeds, baseline.preprocessing) == (NETWORK, 4, "zca")


FAMILY = {"lad": {"recipe": "lad-cifar10lt-cpu"}, "random": {}}


def test_a_family_of_recipes_brings_the_one_of_each_place():
    from distail.catalog import built_in

    base = {"data": {"source": "here"}, "evaluation": {"seeds": 2}}
    found = expand(grid_of(FAMILY, base=base, vary={IF: [100, 10.0], IPC: [10, 50]}))
    cells = {tuple(place.values.values()): place.cell.recipe for place in found.places if place.row == "lad"}
    assert len(cells) == 4
    for (imbalance, ipc), recipe in cells.items():
        published = built_in(f"lad-cifar10lt-if{imbalance:g}-ipc{ipc}-cpu").recipe
        assert (recipe.method, recipe.settings) == ("lad", published.settings)
        assert recipe.data.source == "here"
        assert recipe.evaluation
        assert recipe.evaluation.seeds == 2


def test_places_without_a_recipe_are_left_out_with_a_reason():
    found = expand(grid_of(FAMILY, vary={IF: [100, None], IPC: [10, 999]}, seeds=2))
    assert len(found.places) == 2 * (4 + 1)
    assert [out.values for out in found.left_out] == [
        {IF: 100, IPC: 999},
        {IF: None, IPC: 10},
        {IF: None, IPC: 999},
    ]
    assert found.left_out[0].reason == "there is no recipe lad-cifar10lt-if100-ipc999-cpu"


def test_a_family_goes_by_the_base_where_nothing_varies():
    grid = grid_of({"lad": {"recipe": "lad-cifar10lt"}}, base={"data": {"imbalance": 100}, IPC: 10})
    assert len(expand(grid).places) == 1
    one = grid_of({"lad": {"recipe": "lad-cifar10lt-if100-ipc10"}})
    assert expand(one).places[0].cell.recipe.data.imbalance == 100


BAD = {
    "an axis that is no key": ({"rows": ["dm"], "vary": {"image_per_class": [1]}}, "image_per_class", "Did you mean"),
    "an axis of a group": (
        {"rows": ["dm"], "vary": {"imbalance": [1]}},
        "'imbalance'",
        "Did you mean 'data.imbalance'?",
    ),
    "an axis of a misspelled group": (
        {"rows": ["dm"], "vary": {"dat.imbalance": [1]}},
        "Did you mean 'data.imbalance'?",
    ),
    "a key of a group in another": (
        {"rows": ["dm"], "base": {"evaluation": {"epochs": 3}}},
        "'evaluation.epochs'",
        "Did you mean 'evaluation.train.epochs' or ",
    ),
    "seeds as an axis": ({"rows": ["dm"], "vary": {"seed": [1]}}, "'seed'", "write `seeds:`"),
    "a seed in the base": ({"rows": ["dm"], "base": {"seed": 1}}, "'base' holds a seed", "write `seeds:`"),
    "a seed in a row": ({"rows": {"dm": {"seed": 1}}}, "row dm", "write `seeds:`"),
    "a recipe and a baseline": ({"rows": {"x": {"recipe": "r", "baseline": "b"}}}, "row x", "Leave one of them out"),
    "where without names": ({"rows": {"dm": {"where": [10]}}}, "row dm", "'where' has no names", "Give names"),
    "where with nothing": ({"rows": {"dm": {"where": None}}}, "row dm", "'where' has no names"),
    "where of another key": (
        {"rows": {"dm": {"where": {"images": 10}}}, "vary": {IPC: [10]}},
        "row dm",
        "'images', which does not vary",
        "Did you mean 'images_per_class'?",
    ),
    "where of another value": (
        {"rows": {"dm": {"where": {IPC: [10, 20]}}}, "vary": {IPC: [10, 50]}},
        "row dm",
        "images_per_class 20, which is not varied",
        "Use some of 10, 50",
    ),
    "a key that is none": ({"rows": {"dm": {"setings": {}}}}, "row dm", "setings", "Did you mean 'settings'?"),
    "an impossible value": ({"rows": ["dm"], "vary": {IPC: [0]}}, "g.yaml, vary: ", "images_per_class", "greater than"),
    "no data": ({"rows": ["dm"], "base": {"data": {"source": None}}}, "g.yaml, base: ", "data.source", "should be"),
    "an unknown key in the base": ({"rows": ["dm"], "base": {"setings": {}}}, "g.yaml, base: ", "setings"),
    "no such recipe": ({"rows": {"x": {"recipe": "lad-cifar11lt"}}}, "row x", "lad-cifar11lt", "Did you mean"),
    "a family without a place": ({"rows": {"x": {"recipe": "lad-cifar10lt"}}}, "row x", "Give both in base or vary"),
    "a baseline that is a number": ({"rows": {"x": {"baseline": 3}}}, "row x", "'baseline'", "Write one"),
    "a baseline with a wrong key": ({"rows": {"x": {"baseline": {"nethod": "crt"}}}}, "row x, baseline", "'method'?"),
    "nothing but what is left out": (
        {"rows": {"lad": {"recipe": "lad-cifar10lt"}}, "vary": {IF: [77], IPC: [1]}},
        "has no cells",
        "lad-cifar10lt-if77-ipc1",
        "Give 'vary' or 'where' other values",
    ),
    "numbers of unknown data": ({"rows": ["dm"], "published": "cifar10"}, "'cifar10'", "Did you mean 'cifar10lt'?"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_is_refused_by_row_and_key(case):
    values, *words = BAD[case]
    with pytest.raises(DistailError) as refusal:
        expand(grid_of(**values), "grid g.yaml")
    for word in ("g.yaml", *words):
        assert word in str(refusal.value)


@pytest.mark.parametrize(("imbalance", "named"), [(50, "IF 50"), (50.0, "IF 50"), (0.02, "IF 50"), (1, "IF 1")])
def test_an_inverse_imbalance_is_named_by_its_factor(imbalance, named):
    assert in_short({IF: imbalance}) == named
