"""Keys of cells: the same for the same result, another for every change that could make another."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distail.bench import keys as keys_module
from distail.bench.cell import expand
from distail.bench.keys import Keys
from distail.errors import DistailError
from tests.bench.grids import BASE, IPC, NETWORK, grid_of, keys, plan_of

SET = {"method": "dm", "settings": {"iterations": 3}}
ALL = {"baseline": {"method": "crt"}}


def cell_of(row: dict[str, Any], base: dict[str, Any] | None = None, seed: int = 0) -> Any:
    return expand(grid_of({"row": row}, base=base, seeds=[seed])).places[0].cell


def key_of(row: dict[str, Any], base: dict[str, Any] | None = None, seed: int = 0) -> str:
    return keys().of_cell(cell_of(row, base, seed))


OF_SETS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "method": ({**SET, "method": "dsa"}, {}),
    "setting": ({**SET, "settings": {"iterations": 4}}, {}),
    "setting that had its default": ({**SET, "settings": {"iterations": 3, "image_lr": 2.0}}, {}),
    "images per class": ({**SET, IPC: 11}, {}),
    "preprocessing": (SET, {"preprocessing": "zca"}),
    "architecture": (SET, {"architecture": "convnet2-w16"}),
    "imbalance": (SET, {"data": {"imbalance": 10}}),
    "holdout": (SET, {"data": {"holdout": 0.2}}),
    "size": (SET, {"data": {"image_size": 16}}),
    "strict": (SET, {"data": {"strict": True}}),
    "device": (SET, {"device": "auto"}),
    "precision": (SET, {"precision": "bf16"}),
}
"""Changes that make another set."""
OF_SCORES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "labels": (SET, {"evaluation": {"labels": "hard"}}),
    "labels of a teacher": (SET, {"evaluation": {"labels": "teacher"}}),
    "students": (SET, {"evaluation": {"seeds": 2}}),
    "networks": (SET, {"evaluation": {"architectures": [NETWORK, "convnet1-w8"]}}),
    "epochs": (SET, {"evaluation": {"train": {"epochs": 3}}}),
    "learning rate": (SET, {"evaluation": {"train": {"learning_rate": 0.03}}}),
    "selection": (SET, {"evaluation": {"select": "validation"}}),
    "references": (SET, {"evaluation": {"references": ["random"]}}),
    "two stages": (SET, {"evaluation": {"two_stage": {"epochs": 2}}}),
}
"""Changes that make other scores of the same set."""
OF_BASELINES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "baseline": ({"baseline": "lws"}, {}),
    "its setting": ({"baseline": {"method": "tau_norm", "settings": {"tau": 0.5}}}, {}),
    "its other setting": ({"baseline": {"method": "tau_norm", "settings": {"tau": 0.6}}}, {}),
    "its epochs": ({"baseline": {"method": "crt", "train": {"epochs": 3}}}, {}),
    "its networks": ({"baseline": {"method": "crt", "seeds": 2}}, {}),
    "its network": ({"baseline": {"method": "crt", "architecture": "convnet1-w8"}}, {}),
    "its preprocessing": (ALL, {"preprocessing": "zca"}),
    "its data": (ALL, {"data": {"imbalance": 10}}),
}


def test_every_change_gives_a_key_of_its_own():
    found = {"set": key_of(SET), "seed": key_of(SET, seed=1), "baseline as it is": key_of(ALL)}
    found |= {name: key_of(*change) for name, change in {**OF_SETS, **OF_SCORES, **OF_BASELINES}.items()}
    assert len(set(found.values())) == len(found)


def test_sets_are_shared_by_cells_that_differ_in_scoring_only():
    named = keys()
    own = named.of_set(cell_of(SET))
    assert {named.of_set(cell_of(*change)) for change in OF_SCORES.values()} == {own}
    others = {named.of_set(cell_of(*change)) for change in OF_SETS.values()} | {named.of_set(cell_of(SET, seed=1))}
    assert own not in others
    assert len(others) == len(OF_SETS) + 1


@pytest.mark.parametrize("row", [SET, ALL])
def test_the_content_of_the_data_counts_and_not_their_place(row):
    moved = cell_of(row, {"data": {"source": "elsewhere/pets.npz"}})
    assert keys().of_cell(moved) == key_of(row)
    others = Keys(lambda data: "other", lambda data, test: "abc"), Keys(lambda data: "abc", lambda data, test: "other")
    assert len({key_of(row), *(other.of_cell(cell_of(row)) for other in others)}) == 3


def test_a_default_may_be_spelled_out():
    from distail.methods._registry import build_method

    every = build_method("dm", {"iterations": 3}).model_dump(mode="json")
    assert key_of({**SET, "settings": every}) == key_of(SET)
    assert key_of(SET, {"data": {"strict": False, "holdout": None}}) == key_of(SET)
    assert key_of(SET, {"evaluation": {"labels": "static", "select": "last"}}) == key_of(SET)
    assert key_of({**SET, "preprocessing": "normalize", IPC: 10}) == key_of(SET)


def test_a_default_of_a_baseline_may_be_spelled_out():
    from distail.baselines._registry import build_baseline

    crt = build_baseline("crt", {})
    spelled = {"settings": crt.model_dump(mode="json"), "train": {"epochs": crt.recipe_with({}).epochs}}
    assert key_of({"baseline": {"method": "crt", **spelled}}) == key_of(ALL)
    assert key_of({"baseline": {"method": "crt", "architecture": NETWORK, "seeds": 1}}) == key_of(ALL)


def test_numbers_may_be_written_in_several_ways():
    assert key_of(SET, {"data": {"imbalance": 10}}) == key_of(SET, {"data": {"imbalance": 10.0}})
    assert key_of({**SET, "settings": {"iterations": 3.0}}) == key_of(SET)


@settings(max_examples=20)
@given(st.permutations(list(BASE)), st.permutations(["iterations", "image_lr", "real_batch"]))
def test_the_order_of_keys_does_not_count(names, inner):
    values = {"iterations": 3, "image_lr": 1.5, "real_batch": 8}
    ordered = {"method": "dm", "settings": {name: values[name] for name in inner}}
    from distail.bench.grid import Grid

    grid = Grid(base={name: BASE[name] for name in names}, rows={"row": ordered})
    assert keys().of_cell(expand(grid).places[0].cell) == key_of({"method": "dm", "settings": values})


@settings(max_examples=20)
@given(
    st.lists(
        st.tuples(st.integers(1, 50), st.sampled_from([None, 10.0, 100.0]), st.integers(0, 9), st.integers(1, 9)),
        min_size=2,
        max_size=6,
        unique=True,
    )
)
def test_different_cells_have_different_keys(cells):
    found = {
        key_of({**SET, IPC: ipc}, {"data": {"imbalance": imbalance}, "evaluation": {"seeds": students}}, seed)
        for ipc, imbalance, seed, students in cells
    }
    assert len(found) == len(cells)


def test_a_name_of_a_row_does_not_count():
    plan = plan_of(grid_of({"a": SET, "b": {**SET, "where": {IPC: [5]}}}, vary={IPC: [5, 7]}))
    assert len(plan.keys) == 3
    assert len(plan.jobs) == 2
    assert plan.keys[0] == plan.keys[1]


OWN = """
import distail

class Own(distail.Method):
    \"\"\"Own.\"\"\"
    iterations: int = 1
    def distill(self, problem):
        raise AttributeError("{word}")
"""


OWN_NETWORK = """
import distail
from distail.models import convnet

class Own(distail.Baseline):
    \"\"\"{word}\"\"\"

class Net(convnet.ConvNet):
    \"\"\"{word}\"\"\"
"""


def test_changing_a_module_of_ones_own_makes_other_cells(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "own_for_keys.py"
    file.write_text(OWN.format(word="one"))
    row = {"method": "own_for_keys"}
    before = key_of(row)
    assert key_of(row) == before
    file.write_text(OWN.format(word="two"))
    keys_module._outside.cache_clear()  # as in a process that is started later
    assert key_of(row) != before


@pytest.mark.parametrize(
    "row",
    [
        {"method": "rldd", "settings": {"teacher": {"architecture": "own_network_for_keys"}}},
        {"method": "rldd", "settings": {"teacher": {"baseline": "own_network_for_keys"}}},
        {"method": "edc", "settings": {"observers": [{"architecture": "own_network_for_keys"}]}},
        {"method": "dm", "architecture": "own_network_for_keys+convnet2-w8"},
    ],
    ids=["network of a teacher", "baseline of a teacher", "observer", "member of an ensemble"],
)
def test_modules_of_ones_own_count_wherever_they_are_named(tmp_path, monkeypatch, row):
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "own_network_for_keys.py"
    found = set()
    for word in ("one", "two"):
        file.write_text(OWN_NETWORK.format(word=word))
        keys_module._outside.cache_clear()  # as in processes that are started one after the other
        keys_module._sources.cache_clear()
        found.add(key_of(row))
    assert len(found) == 2


def test_a_groupings_file_counts_by_its_content(tmp_path):
    file = tmp_path / "grouping.json"
    file.write_text("one")
    staged = {"evaluation": {"two_stage": {"grouping": str(file)}}}
    before = key_of(SET, staged)
    file.write_text("two")
    assert key_of(SET, staged) != before
    file.unlink()
    with pytest.raises(DistailError, match=r"grouping.json cannot be read: .*Check the path"):
        key_of(SET, staged)


def test_the_teachers_file_counts_by_its_content(tmp_path):
    file = tmp_path / "teacher.safetensors"
    file.write_bytes(b"one")
    asked = {"evaluation": {"labels": "teacher", "teacher": str(file)}}
    before = key_of(SET, asked)
    file.write_bytes(b"two")
    assert key_of(SET, asked) != before
    file.unlink()
    with pytest.raises(DistailError, match=r"teacher.safetensors cannot be read: .*Check the path"):
        key_of(SET, asked)


BAD = {
    "method": ({"method": "dmm"}, "Did you mean 'dm'"),
    "setting": ({"method": "dm", "settings": {"iteration": 3}}, "'iterations'?"),
    "value": ({"method": "dm", "settings": {"iterations": "few"}}, "valid integer"),
    "network": ({"method": "dm", "architecture": "convnot3"}, "convnot3"),
    "network of students": ({"method": "dm", "evaluation": {"architectures": ["convnot3"]}}, "convnot3"),
    "augmentation": ({"method": "dm", "evaluation": {"train": {"augmentation": "flop"}}}, "Did you mean 'flip'"),
    "no teacher": ({"method": "dm", "evaluation": {"labels": "teacher"}}, "keeps none with its sets"),
    "baseline": ({"baseline": "crtt"}, "Did you mean 'crt'"),
    "setting of a baseline": ({"baseline": {"method": "tau_norm", "settings": {"tao": 1}}}, "'tau'?"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_a_method_does_not_take_is_refused_with_its_row(case):
    row, word = BAD[case]
    with pytest.raises(DistailError, match=r"row row of mine: ") as refusal:
        plan_of(grid_of({"row of mine": row}))
    assert word in str(refusal.value)
