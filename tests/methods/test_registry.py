import sys
import types

import pytest

from distail.errors import DistailError
from distail.methods._method import Method
from distail.methods._registry import build_method, find_method, method_names
from distail.methods.random import Random


def test_methods_are_found_by_their_files():
    names = method_names()
    assert list(names) == sorted(set(names))
    assert {"random", "dm"} <= set(names)
    assert not [name for name in names if name.startswith("_")]
    assert find_method("random") is Random


def test_a_wrong_name_suggests_the_closest():
    with pytest.raises(DistailError, match=r"no method 'hering'\. Did you mean 'herding'\?.*module path"):
        find_method("hering")


def test_a_private_file_is_no_method():
    with pytest.raises(DistailError, match="no method '_registry'"):
        find_method("_registry")


def module_with(monkeypatch: pytest.MonkeyPatch, name: str, *classes: str) -> None:
    module = types.ModuleType(name)
    for class_name in classes:
        extended = type(class_name, (Random,), {"__module__": name, "__doc__": "Mine."})
        setattr(module, class_name, extended)
    module.Method, module.Random = Method, Random  # type: ignore[attr-defined]  # imported ones do not count
    monkeypatch.setitem(sys.modules, name, module)


def test_a_module_path_names_a_method_of_ones_own(monkeypatch):
    module_with(monkeypatch, "mypackage.mymethod", "Mine")
    assert find_method("mypackage.mymethod").__name__ == "Mine"
    assert type(build_method("mypackage.mymethod", {})).__name__ == "Mine"


@pytest.mark.parametrize("classes", [(), ("One", "Two")])
def test_a_module_must_define_exactly_one(monkeypatch, classes):
    module_with(monkeypatch, "mypackage.mymethod", *classes)
    with pytest.raises(DistailError, match=rf"defines {len(classes)} method classes; it should define exactly one"):
        find_method("mypackage.mymethod")


def test_a_module_that_is_not_there_is_a_clear_error():
    with pytest.raises(DistailError, match=r"'no\.such\.module' cannot be imported: No module named 'no'"):
        find_method("no.such.module")


def test_impossible_values_name_the_method_and_the_key():
    with pytest.raises(DistailError, match=r"method dm: 'iterations': input should be greater than or equal to 1"):
        build_method("dm", {"iterations": 0})
