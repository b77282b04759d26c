"""What `distail methods` and `distail baselines` print: all there are, or the hyper-parameters of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from distail.cli.options import Output


def show_choices(
    command: str,
    names: Sequence[str],
    find: Callable[[str], Any],
    name: str | None,
    output: Output,
    more: Callable[[Any], dict[str, Any]] = lambda found: {},
) -> None:
    """Prints them.

    Args:
        command: what the user typed, to say how to see one.
        names: all there are.
        find: from a name to its class, a `Method` or a `Baseline`.
        name: the one to explain; all are listed when None.
        output: how to print.
        more: further JSON values of one.

    Raises:
        DistailError: there is none of that name; the closest is suggested.
    """
    from distail.config import described
    from distail.report.terminal import methods_table, settings_table

    def facts(found: Any) -> dict[str, Any]:
        settings = found().model_dump(mode="json")
        return {"summary": found.summary, "paper": found.paper, "settings": settings, **more(found)}

    if name is None:
        entries = [(each, find(each)) for each in names]
        output.show(
            {each: facts(found) for each, found in entries},
            methods_table([(each, found.summary, found.paper) for each, found in entries]),
            f"Hyper-parameters of one: distail {command} NAME",
        )
        return
    found = find(name)
    settings = described(found)
    about = [settings_table(settings), "Change one with --set NAME=VALUE; it may be repeated."]
    output.show(
        {name: {**facts(found), "described": [entry.to_json() for entry in settings]}},
        f"{name}: {found.summary} ({found.paper})",
        *(about if settings else ["It has no hyper-parameters."]),
    )
