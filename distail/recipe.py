"""A run as a text: everything that decides its result, in YAML. Imports no torch, so that `--help` stays fast."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, field_validator

from distail.choices import DeviceName, PrecisionName, PreprocessingKind
from distail.config import Config, parse_config
from distail.errors import DistailError
from distail.evaluation.recipe import EvaluationRecipe


class DataRecipe(Config):
    """Which images."""

    source: str
    """digits, a folder, a .parquet or .npz file, or hf:NAME."""
    imbalance: float | None = Field(default=None, gt=0)
    """Imbalance factor of the exponential long tail, 100 or 0.01; the data's own distribution when omitted."""
    holdout: float | None = Field(default=None, gt=0, lt=1)
    """Fraction of each class set aside for testing before anything else, for sources without a test split."""
    image_size: int | None = Field(default=None, ge=8)
    """Side in pixels that images are resized to; needed where sizes differ."""
    strict: bool = False
    """Whether an unreadable image is an error instead of being left out and named."""


class Recipe(Config):
    """How a set is made, and how it is scored."""

    data: DataRecipe
    """The training images."""
    method: str = "tailor"
    """Name of a built-in method, or the module path of another."""
    settings: dict[str, Any] = {}
    """Hyper-parameters of the method that differ from its defaults."""
    images_per_class: int = Field(default=10, ge=1)
    """Synthetic images of each class (IPC)."""
    preprocessing: PreprocessingKind = "normalize"
    """Fitted on the long-tailed training images only."""
    architecture: str = "convnet3"
    """The network that the method trains or samples."""
    seed: int = 0
    """Source of all randomness but that of the long-tailed split, which is fixed."""
    device: DeviceName = "auto"
    """Where to compute."""
    precision: PrecisionName = "auto"
    """Precision of network passes; parameters and images are always fp32."""
    test: str | None = None
    """Source of the test images; the source's own test split when omitted."""
    evaluation: EvaluationRecipe | None = None
    """How to score the set after making it; not at all when omitted."""

    @field_validator("method")
    @classmethod
    def _not_empty(cls, value: str) -> str:
        if not value:
            raise ValueError("name a method")
        return value

    def to_yaml(self) -> str:
        """The recipe as YAML that `load_recipe` reads back equal."""
        return to_yaml(self.model_dump(mode="json"))


class _Loader(yaml.SafeLoader):
    """Takes `off`, `on`, `yes` and `no` as words, and `1e-3` as a number, as YAML 1.2 does."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("true|True|TRUE|false|False|FALSE"), list("tTfF"))
_FLOAT = "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
_Loader.add_implicit_resolver(*_FLOAT)


class _Dumper(yaml.SafeDumper):
    """Quotes the texts that `_Loader` would take for numbers, such as a folder called `1e5`."""


_Dumper.add_implicit_resolver(*_FLOAT)


def to_yaml(values: Any) -> str:
    """Plain values as YAML that `parse_yaml` reads back equal, in their own order."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False)


def parse_yaml(text: str) -> Any:
    """Plain values from YAML, of which only `true` and `false` are booleans; nothing in it is executed.

    Raises:
        yaml.YAMLError: it is not YAML.
    """
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def yaml_fault(error: Exception) -> str:
    """Where a text stops being YAML, and why: 'line 2, column 7: expected...'."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return " ".join(str(error).split())
    told = filter(None, (getattr(error, "problem", None), getattr(error, "context", None)))
    return f"line {mark.line + 1}, column {mark.column + 1}: {', '.join(told)}"


def load_recipe(path: str | Path) -> Recipe:
    """Reads a recipe.

    Raises:
        DistailError: the file is missing, not YAML, or has an unknown key or impossible value.
    """
    file = Path(path)
    try:
        values = parse_yaml(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DistailError(
            f"Recipe {file} cannot be read: {error.strerror}. Check the path; that of a run is RUN/recipe.yaml."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DistailError(
            f"Recipe {file} is not valid YAML: {yaml_fault(error)}. Correct it, or start from the recipe.yaml of a run."
        ) from None
    if not isinstance(values, dict):
        raise DistailError(
            f"Recipe {file} holds no settings; it should start with `data:` and `method:`. Name the recipe.yaml of a "
            "run, or write one like it."
        )
    return parse_config(Recipe, values, f"recipe {file}")
