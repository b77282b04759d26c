"""`distail methods`: what there is to choose from."""

from __future__ import annotations

from distail.cli.options import Output


def methods(*, output: Output = Output()) -> None:
    """List the distillation methods with their papers."""
    from distail.methods._registry import find_method, method_names
    from distail.report.terminal import methods_table

    entries = [(name, find_method(name)) for name in method_names()]
    result = {
        name: {
            "summary": method.summary,
            "paper": method.paper,
            "settings": method().model_dump(mode="json"),
        }
        for name, method in entries
    }
    output.show(result, methods_table([(name, method.summary, method.paper) for name, method in entries]))
