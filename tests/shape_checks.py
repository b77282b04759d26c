"""Checks shapes of tensors in the tests as they run: jaxtyping's decorator on what says a shape, by an import hook.

jaxtyping has a hook of its own, which decorates every function. Types alone are mypy's task here, and checking them
once more in every call took more than a third of the time of all tests.
"""

import ast
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType

from beartype import BeartypeConf, beartype
from jaxtyping import jaxtyped

checked = jaxtyped(typechecker=beartype(conf=BeartypeConf(is_pep484_tower=True)))
"""The decorator; takes an int for a float, as type checkers do (PEP 484)."""

CHECKED = f"__import__({__name__!r}).checked"


class ShapesFinder(MetaPathFinder):
    """Finds modules of one package and has their shapes checked."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.split(".")[0] != self.package:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = ShapesLoader(spec.loader.name, spec.loader.path)
        return spec


class ShapesLoader(SourceFileLoader):
    """Decorates the functions and dataclasses that say shapes; keeps no bytecode, which the package would load."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        tree = ast.parse(self.get_data(path), path)
        names = names_of_shapes(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and says_shapes(node, names):
                decorator = ast.parse(CHECKED, mode="eval").body
                for part in ast.walk(decorator):
                    ast.copy_location(part, node)
                # A function is decorated under what makes it a property; a class over what makes its __init__.
                node.decorator_list.insert(0 if isinstance(node, ast.ClassDef) else len(node.decorator_list), decorator)
        return compile(tree, path, "exec", dont_inherit=True)


def names_of_shapes(tree: ast.Module) -> set[str]:
    """What a module calls the types that it takes from jaxtyping."""
    return {
        name.asname or name.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "jaxtyping"
        for name in node.names
    }


def says_shapes(node: ast.FunctionDef | ast.ClassDef, names: set[str]) -> bool:
    """Whether an argument, the result or a field is annotated with a shape."""
    if isinstance(node, ast.ClassDef):
        annotations = [part.annotation for part in node.body if isinstance(part, ast.AnnAssign)]
    else:
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        annotations = [node.returns, *(one.annotation for one in every if one is not None)]
    return any(
        isinstance(part, ast.Name) and part.id in names
        for annotation in annotations
        if annotation is not None
        for part in ast.walk(annotation)
    )


def install(package: str) -> None:
    """Checks shapes in a package that is imported after this."""
    sys.meta_path.insert(0, ShapesFinder(package))
