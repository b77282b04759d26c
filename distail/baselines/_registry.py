"""Finds baselines: by file name inside this package, by module path outside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import distail.baselines
from distail.baselines._baseline import Baseline
from distail.config import parse_config
from distail.plugins import built_in_names, find_class


def baseline_names() -> tuple[str, ...]:
    """Names of the built-in baselines, sorted."""
    return built_in_names(distail.baselines)


def find_baseline(name: str) -> type[Baseline]:
    """The baseline class called `name`: a built-in one, or the one `Baseline` defined in a module.

    Raises:
        DistailError: no such baseline; the closest name is suggested.
    """
    return find_class(name, distail.baselines, Baseline, "baseline")


def build_baseline(name: str, settings: Mapping[str, Any]) -> Baseline:
    """A baseline with these hyper-parameters, the rest at their defaults.

    Raises:
        DistailError: no such baseline, an unknown hyper-parameter, or an impossible value.
    """
    return parse_config(find_baseline(name), settings, f"baseline {name}")
