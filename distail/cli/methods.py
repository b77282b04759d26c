"""`distail methods`: what there is to choose from, and what can be set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distail.cli.options import Output

if TYPE_CHECKING:
    from distail.methods._method import Method


def methods(name: str | None = None, /, *, output: Output = Output()) -> None:
    """List the distillation methods with their papers, or the hyper-parameters of one.

    Parameters
    ----------
    name
        A method, to see its hyper-parameters with their defaults and meaning.
    """
    from distail.config import described
    from distail.methods._registry import find_method, method_names
    from distail.report.terminal import methods_table, settings_table

    if name is None:
        entries = [(each, find_method(each)) for each in method_names()]
        output.show(
            {each: _as_json(method) for each, method in entries},
            methods_table([(each, method.summary, method.paper) for each, method in entries]),
            "Hyper-parameters of one: distail methods NAME",
        )
        return
    method = find_method(name)
    settings = described(method)
    about = [settings_table(settings), "Change one with --set NAME=VALUE; it may be repeated."]
    output.show(
        {name: {**_as_json(method), "described": [entry.to_json() for entry in settings]}},
        f"{name}: {method.summary} ({method.paper})",
        *(about if settings else ["It has no hyper-parameters."]),
    )


def _as_json(method: type[Method]) -> dict[str, Any]:
    return {"summary": method.summary, "paper": method.paper, "settings": method().model_dump(mode="json")}
