"""`distail methods`: what there is to choose from, and what can be set."""

from __future__ import annotations

from distail.cli.options import Output


def methods(name: str | None = None, /, *, output: Output = Output()) -> None:
    """List the distillation methods with their papers, or the hyper-parameters of one.

    Parameters
    ----------
    name
        A method, to see its hyper-parameters with their defaults and meaning.
    """
    from distail.cli.choices import show_choices
    from distail.methods._registry import find_method, method_names

    show_choices("methods", method_names(), find_method, name, output)
