"""Classes found by name: by the file in a folder of the package, or by the module they lie in outside of it."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import pkgutil
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from distail.errors import DistailError, did_you_mean

T = TypeVar("T")


@cache  # tables of grids ask once for every cell
def built_in_names(folder: ModuleType) -> tuple[str, ...]:
    """Names of the files of a package that define a class to be found, sorted; those with an underscore do not."""
    return tuple(sorted(found.name for found in pkgutil.iter_modules(folder.__path__) if found.name[0] != "_"))


def find_class(name: str, folder: ModuleType, base: type[T], what: str) -> type[T]:
    """The class called `name`: that of a file in a package, or the one in a module such as 'my.module'.

    Args:
        name: as the user wrote it.
        folder: the package whose files are the built-in ones.
        base, what: as for `class_in_module`.

    Raises:
        DistailError: there is none; the closest name is suggested.
    """
    names = built_in_names(folder)
    if name in names:
        return class_in_module(f"{folder.__name__}.{name}", base, what)
    if not is_module(name):
        raise DistailError(
            f"There is no {what} '{name}'. {did_you_mean(name, names)} "
            f"A {what} of your own is named by its module path, such as 'mypackage.my{what}'."
        )
    return class_in_module(name, base, what)


def is_module(name: str) -> bool:
    """Whether `name` can only mean a module: a dotted path, or a module that is there to import."""
    if "." in name:
        return True
    _search_working_folder()
    return name.isidentifier() and importlib.util.find_spec(name) is not None


def class_in_module(module_name: str, base: type[T], what: str) -> type[T]:
    """The one concrete class in a module that extends `base`; the working folder is searched too.

    Args:
        module_name: dotted path, such as 'mypackage.mymethod'.
        base: what the class must extend.
        what: its name for messages, such as 'method'.

    Raises:
        DistailError: there is no such module, or it does not define exactly one such class.
    """
    _search_working_folder()
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise DistailError(
            f"The {what} module '{module_name}' cannot be imported: {error}. Install it, or run from the folder it "
            "lies in."
        ) from None
    found = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, base)
        and not inspect.isabstract(value)
        and value.__module__ == module_name
    ]
    if len(found) != 1:
        raise DistailError(
            f"Module '{module_name}' defines {len(found)} {what} classes; it should define exactly one class that "
            f"extends distail.{base.__name__}."
        )
    return found[0]


def source_hash(name: str) -> str | None:
    """SHA-256 of a module's source file; None where `name` is no module from outside, or has no source."""
    if not is_module(name):
        return None
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError:  # a dot in the name of something else, such as a timm model
        return None
    if found is None or found.origin is None or not Path(found.origin).is_file():
        return None
    return hashlib.sha256(Path(found.origin).read_bytes()).hexdigest()


def _search_working_folder() -> None:
    """Installed commands, unlike `python -m`, do not look for modules where the user stands."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
