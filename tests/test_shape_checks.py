"""The checks of shapes of these tests find what is wrong, and nothing else changes."""

import ast
import importlib
import sys
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError
from shape_checks import ShapesFinder, names_of_shapes

MODULE = '''
from __future__ import annotations
from dataclasses import dataclass
from jaxtyping import Float
from torch import Tensor

@dataclass(frozen=True)
class Pair:
    """Two of the same length."""
    first: Float[Tensor, "n"]
    second: Float[Tensor, "n"]

    @property
    def square(self) -> Float[Tensor, "n n"]:
        return self.first

    @staticmethod
    def of(both: Float[Tensor, "2 n"]) -> Pair:
        return Pair(*both)

def added(first: Float[Tensor, "n"], *others: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    return first + sum(others)

def shortened(images: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    return images[1:]

def plain(number: int) -> int:
    return number
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    package = tmp_path / "checked_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "shapes.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", [ShapesFinder("checked_package"), *sys.meta_path])
    yield importlib.import_module("checked_package.shapes")
    for name in ("checked_package.shapes", "checked_package"):
        del sys.modules[name]


def test_right_shapes_pass(module):
    pair = module.Pair.of(torch.ones(2, 3))
    assert module.added(pair.first, pair.second, pair.second).tolist() == [3.0, 3.0, 3.0]


def test_arguments_results_properties_and_fields_are_checked(module):
    with pytest.raises(TypeCheckError, match="added"):
        module.added(torch.ones(3), torch.ones(2))
    with pytest.raises(TypeCheckError, match="shortened"):
        module.shortened(torch.ones(3, 2))
    with pytest.raises(TypeCheckError, match="Pair"):
        module.Pair(torch.ones(3), torch.ones(2))
    with pytest.raises(TypeCheckError, match=r"Pair\.of"):
        module.Pair.of(torch.ones(3, 2))
    with pytest.raises(TypeCheckError, match="square"):
        _ = module.Pair(torch.ones(3), torch.ones(3)).square


def test_what_says_no_shape_is_left_to_mypy(module):
    assert module.plain("text") == "text"
    assert not hasattr(module.plain, "__wrapped__")


def test_no_bytecode_is_kept(module):
    assert not list(Path(module.__file__).parent.rglob("shapes*.pyc"))


def test_shapes_are_said_where_they_are_looked_for():
    """A name for a shape, or the module jaxtyping itself, would hide shapes from the hook."""
    for file in (Path(__file__).parent.parent / "distail").rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        names = names_of_shapes(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                assert "jaxtyping" not in {name.name for name in node.names}, file
            if isinstance(node, ast.Assign) and any(isinstance(p, ast.Name) and p.id in names for p in ast.walk(node)):
                # What is called is checked where it is defined.
                assert isinstance(node.value, ast.Subscript), file
                assert ast.unparse(node.value.value) == "Callable", file


def test_the_package_under_test_is_checked():
    from distail.data.image_set import ImageSet

    with pytest.raises(TypeCheckError):
        ImageSet(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64), ("a",))
