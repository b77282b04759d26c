"""distail: dataset distillation for long-tailed images.

import distail

small = distail.distill("digits", images_per_class=5, imbalance=50)
print(distail.evaluate(small, seeds=3, epochs=200).summary())
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distail.api.baseline import baseline
    from distail.api.bench import GridResults, run_grid
    from distail.api.groups import find_groups
    from distail.api.relabelling import relabel
    from distail.api.reports import make_report
    from distail.api.sets import distill, evaluate
    from distail.baselines._baseline import Baseline
    from distail.baselines._task import Fitted, Task
    from distail.data.image_set import ImageSet
    from distail.data.long_tail import make_long_tailed
    from distail.data.sources import load, load_test
    from distail.distilled import DistilledSet, load_distilled
    from distail.errors import DistailError
    from distail.evaluation.result import Evaluation
    from distail.export import export_set
    from distail.groups.finding import FoundGroups
    from distail.groups.grouping import Grouping, load_grouping
    from distail.groups.settings import TwoStageRecipe
    from distail.groups.two_stage import load_two_stage
    from distail.methods._method import Method
    from distail.models import Network, build_network
    from distail.models.saved import load_network
    from distail.problem import Problem, Synthetic, Work
    from distail.reporting import Report

_HOMES = {
    "Baseline": "distail.baselines._baseline",
    "DistailError": "distail.errors",
    "DistilledSet": "distail.distilled",
    "Evaluation": "distail.evaluation.result",
    "Fitted": "distail.baselines._task",
    "FoundGroups": "distail.groups.finding",
    "GridResults": "distail.api.bench",
    "Grouping": "distail.groups.grouping",
    "ImageSet": "distail.data.image_set",
    "Method": "distail.methods._method",
    "Network": "distail.models",
    "Problem": "distail.problem",
    "Report": "distail.reporting",
    "Synthetic": "distail.problem",
    "Task": "distail.baselines._task",
    "TwoStageRecipe": "distail.groups.settings",
    "Work": "distail.problem",
    "baseline": "distail.api.baseline",
    "build_network": "distail.models",
    "distill": "distail.api.sets",
    "evaluate": "distail.api.sets",
    "export_set": "distail.export",
    "find_groups": "distail.api.groups",
    "load": "distail.data.sources",
    "load_distilled": "distail.distilled",
    "load_grouping": "distail.groups.grouping",
    "load_network": "distail.models.saved",
    "load_test": "distail.data.sources",
    "load_two_stage": "distail.groups.two_stage",
    "make_long_tailed": "distail.data.long_tail",
    "make_report": "distail.api.reports",
    "relabel": "distail.api.relabelling",
    "run_grid": "distail.api.bench",
}

__all__ = [
    "Baseline",
    "DistailError",
    "DistilledSet",
    "Evaluation",
    "Fitted",
    "FoundGroups",
    "GridResults",
    "Grouping",
    "ImageSet",
    "Method",
    "Network",
    "Problem",
    "Report",
    "Synthetic",
    "Task",
    "TwoStageRecipe",
    "Work",
    "baseline",
    "build_network",
    "distill",
    "evaluate",
    "export_set",
    "find_groups",
    "load",
    "load_distilled",
    "load_grouping",
    "load_network",
    "load_test",
    "load_two_stage",
    "make_long_tailed",
    "make_report",
    "relabel",
    "run_grid",
]


def __getattr__(name: str) -> Any:
    """Imports a public name on first use, so that `import distail` and `distail --help` need no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'distail' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
