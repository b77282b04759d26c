"""`distail demo`: the main job on built-in data, in about a minute."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from distail.cli.options import Output


def demo(*, out: Annotated[Path | None, Parameter()] = None, output: Output = Output()) -> None:
    """Make scikit-learn's digits long-tailed, distil them, and compare with random images and with all data.

    Parameters
    ----------
    out
        Folder for the run and the picture; runs/demo when omitted, or runs/demo-2 and so on where that exists.
    """
