"""Finds methods: by file name inside this package, by module path outside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import distail.methods
from distail.config import parse_config, with_own_defaults
from distail.methods._method import Method
from distail.plugins import built_in_names, find_class


def method_names() -> tuple[str, ...]:
    """Names of the built-in methods, sorted."""
    return built_in_names(distail.methods)


def find_method(name: str) -> type[Method]:
    """The method class called `name`: a built-in one, or the one `Method` defined in a module such as 'my.module'.

    Raises:
        DistailError: no such method; the closest name is suggested.
    """
    return find_class(name, distail.methods, Method, "method")


def build_method(name: str, settings: Mapping[str, Any]) -> Method:
    """A method with these hyper-parameters, the rest at the method's defaults, also within a group such as `experts`.

    Raises:
        DistailError: no such method, an unknown hyper-parameter, or an impossible value.
    """
    method = find_method(name)
    return parse_config(method, with_own_defaults(method, settings), f"method {name}")
