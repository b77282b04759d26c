"""The command line: one file per command. Nothing here imports torch before a command needs it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError, UnusedCliTokensError

from distail.cli import (
    baseline,
    baselines,
    bench,
    check,
    demo,
    distill,
    evaluate,
    experts,
    export,
    group,
    methods,
    recipes,
    relabel,
    report,
    run,
    train,
)
from distail.errors import DistailError, is_out_of_memory
from distail.progress import no_more

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
_GOING_ON = (
    "`distail distill` and `run` with --out go on with --resume; `evaluate`, `baseline` and `group` take up what was "
    "kept with --networks, and `bench` goes on with the same command."
)


def build_app() -> App:
    """The application with all its commands."""
    app = App(
        name="distail",
        help="Make a tiny, class-balanced training set from an imbalanced image dataset, and prove how good it is.",
        version=_version,
        suppress_keyboard_interrupt=False,
        help_format="plaintext",
    )
    for command in (
        check.check,
        distill.distill,
        evaluate.evaluate,
        train.train,
        baseline.baseline,
        export.export,
        relabel.relabel,
        group.group,
        report.report,
        run.run,
        methods.methods,
        baselines.baselines,
        recipes.recipes,
        demo.demo,
    ):
        app.command(command)
    app.command(experts.experts)
    app.command(bench.bench)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command; bad input ends with exit code 2 and one paragraph on standard error."""
    try:
        build_app()(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except UnusedCliTokensError as error:
        rest = " ".join(map(str, error.unused_tokens or ()))
        asked = list(sys.argv[1:] if arguments is None else arguments)
        hint = bench.meant(asked[1]) if asked[:1] == ["bench"] and len(asked) > 1 else ""
        _fail(f"Nothing is expected where '{rest}' stands.{hint} Put quotes around names with blanks.")
    except CycloptsError as error:
        sentence = str(error) if str(error).endswith((".", "?")) else f"{error}."
        _fail(f"{sentence} See `distail --help` and `distail COMMAND --help`.")
    except DistailError as error:
        _fail(str(error))
    except BrokenPipeError:
        # The reader of a pipe, such as `head`, has seen enough. Python would complain again when it flushes at exit.
        no_more(sys.stdout)
        sys.exit(EXIT_BROKEN_PIPE)
    except OSError as error:
        _fail(_about_files(error))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        _fail(
            "There is not enough memory. Ask for fewer images with --ipc, smaller ones with --image-size, or a smaller "
            "--batch-size; `distail check` estimates what distilling needs."
        )
    except KeyboardInterrupt:
        sys.stderr.write(f"Interrupted. {_GOING_ON}\n")
        sys.exit(EXIT_INTERRUPTED)


def _fail(message: str) -> None:
    sys.stderr.write(f"distail: {message}\n")
    sys.exit(EXIT_BAD_INPUT)


def _about_files(error: OSError) -> str:
    """What the file system refused, in words."""
    where = f"cannot read or write {error.filename}" if error.filename else "cannot read or write a file"
    return (
        f"{where}: {error.strerror or error}. Check that the path exists, that you may use it, and that the disk has "
        f"room. {_GOING_ON}"
    )


def _version() -> str:
    from importlib.metadata import version

    return version("distail")
