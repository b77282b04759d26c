"""`distail baselines`: what there is to choose from."""

from __future__ import annotations

from distail.cli.options import Output


def baselines(*, output: Output = Output()) -> None:
    """List the ways to train on all the long-tailed images, with their papers."""
    from distail.baselines._registry import baseline_names, find_baseline
    from distail.report.terminal import methods_table

    entries = [(name, find_baseline(name)) for name in baseline_names()]
    result = {
        name: {
            "summary": found.summary,
            "paper": found.paper,
            "settings": found().model_dump(mode="json"),
            "train": found.recipe.model_dump(mode="json"),
        }
        for name, found in entries
    }
    output.show(result, methods_table([(name, found.summary, found.paper) for name, found in entries]))
