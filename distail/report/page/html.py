"""HTML from templates. All that comes from outside passes through jinja's escaping; nothing is marked as safe."""

from __future__ import annotations

import base64
import hashlib
import math
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distail.errors import counted
from distail.evaluation.metrics import Summary
from distail.progress import format_bytes, format_seconds
from distail.report.names import one_line

if TYPE_CHECKING:
    from jinja2 import Environment

SCRIPT = "script.js.j2"
_PACKAGE = "distail.report.page"
_GENERATOR = "distail report"
_HEAD = 2000
"""Characters of a page within which it says what made it."""


def render(template: str, *, packages: tuple[str, ...] = (), script: str = SCRIPT, **values: Any) -> str:
    """A page from the template of that name, with a policy that lets only the page's own script run.

    Args:
        template: its file name.
        packages: that hold templates, beside this one.
        script: the template of the page's script.
        values: what the template shows.
    """
    found = environment(*packages)
    text = found.get_template(script).render()
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
    return found.get_template(template).render(script=script, script_sha256=digest, generator=_GENERATOR, **values)


def is_page(path: Path) -> bool:
    """Whether there is a page that `render` made."""
    try:
        with path.open(encoding="utf-8", errors="replace") as opened:
            return f'<meta name="generator" content="{_GENERATOR}">' in opened.read(_HEAD)
    except OSError:
        return False


@cache
def environment(*packages: str) -> Environment:
    """The templates of this package and of others, with the filters that write numbers and names."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    found = Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in (_PACKAGE, *packages)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "percent": percent,
        "figure": figure,
        "format_bytes": format_bytes,
        "seconds": format_seconds,
        "whole": whole,
        "counted": counted,
        "one_line": one_line,
        "share": share,
    }
    return found


def percent(value: Summary | None) -> str:
    """'63.2 ± 1.5 %'; without a deviation where n is 1, as there is none; '–' for nothing."""
    return f"{figure(value)} %" if value else figure(value)


def figure(value: Summary | None) -> str:
    """The same without the sign of percent, for tables that say so above."""
    if value is None:
        return "–"
    return f"{100 * value.mean:.1f}" + (f" ± {100 * value.std:.1f}" if value.n > 1 else "")


def share(value: float) -> str:
    """A fraction of one as a plain percentage for styles, '63.2%', within 0 to 100."""
    return f"{100 * min(max(value, 0.0), 1.0):.2f}%" if math.isfinite(value) else "0%"


def whole(count: int) -> str:
    """'12,406'."""
    return f"{count:,}"
