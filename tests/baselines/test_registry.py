import sys
import types

import pytest

from distail.baselines._registry import baseline_names, build_baseline, find_baseline
from distail.baselines.cross_entropy import CrossEntropy
from distail.errors import DistailError


def test_baselines_are_found_by_their_files():
    names = baseline_names()
    assert {"cross_entropy", "balanced_softmax", "ldam_drw", "tau_norm"} <= set(names)
    assert not [name for name in names if name.startswith("_")]
    assert find_baseline("cross_entropy") is CrossEntropy


def test_a_wrong_name_suggests_the_closest():
    with pytest.raises(DistailError, match=r"no baseline 'balanced_sofmax'\. Did you mean 'balanced_softmax'\?"):
        find_baseline("balanced_sofmax")


def test_a_module_path_names_one_of_ones_own(monkeypatch):
    module = types.ModuleType("mypackage.mybaseline")
    module.Mine = type("Mine", (CrossEntropy,), {"__module__": "mypackage.mybaseline"})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mypackage.mybaseline", module)
    assert find_baseline("mypackage.mybaseline").__name__ == "Mine"


def test_impossible_values_name_the_baseline_and_the_key():
    with pytest.raises(DistailError, match="baseline focal: 'gamma': input should be greater than or equal to 0"):
        build_baseline("focal", {"gamma": -1})
