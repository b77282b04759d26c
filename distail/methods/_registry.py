"""Finds methods: by file name inside this package, by module path outside it."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from typing import Any

import distail.methods
from distail.config import parse_config, with_own_defaults
from distail.errors import DistailError, did_you_mean
from distail.methods._method import Method
from distail.plugins import class_in_module, is_module


def method_names() -> tuple[str, ...]:
    """Names of the built-in methods, sorted."""
    found = pkgutil.iter_modules(distail.methods.__path__)
    return tuple(sorted(module.name for module in found if not module.name.startswith("_")))


def find_method(name: str) -> type[Method]:
    """The method class called `name`: a built-in one, or the one `Method` defined in a module such as 'my.module'.

    Raises:
        DistailError: no such method; the closest name is suggested.
    """
    if name in method_names():
        return class_in_module(f"distail.methods.{name}", Method, "method")
    if not is_module(name):
        raise DistailError(
            f"There is no method '{name}'. {did_you_mean(name, method_names())} "
            "A method of your own is named by its module path, such as 'mypackage.mymethod'."
        )
    return class_in_module(name, Method, "method")


def build_method(name: str, settings: Mapping[str, Any]) -> Method:
    """A method with these hyper-parameters, the rest at the method's defaults, also within a group such as `experts`.

    Raises:
        DistailError: no such method, an unknown hyper-parameter, or an impossible value.
    """
    method = find_method(name)
    return parse_config(method, with_own_defaults(method, settings), f"method {name}")
