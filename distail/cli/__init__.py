"""The command line: one file per command. Nothing here imports torch before a command needs it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from distail.cli import check, demo, distill, evaluate, export, methods, run, train
from distail.errors import DistailError

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


def build_app() -> App:
    """The application with all its commands."""
    app = App(
        name="distail",
        help="Make a tiny, class-balanced training set from an imbalanced image dataset, and prove how good it is.",
        version=_version,
        help_format="plaintext",
    )
    for command in (
        check.check,
        distill.distill,
        evaluate.evaluate,
        train.train,
        export.export,
        run.run,
        methods.methods,
        demo.demo,
    ):
        app.command(command)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command; bad input ends with exit code 2 and one paragraph on standard error."""
    try:
        build_app()(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        _fail(f"{error} See `distail --help` and `distail COMMAND --help`.")
    except DistailError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted. A run with --out goes on with --resume.\n")
        sys.exit(EXIT_INTERRUPTED)


def _fail(message: str) -> None:
    sys.stderr.write(f"distail: {message}\n")
    sys.exit(EXIT_BAD_INPUT)


def _version() -> str:
    from importlib.metadata import version

    return version("distail")
