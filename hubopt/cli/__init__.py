"""The command line, one file per verb. A verb parses, calls the API, prints, exits with a code."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from hubopt._util.signals import unwind_on_signals
from hubopt._util.version import __version__
from hubopt.cli import (
    bench,
    cache,
    compare,
    diagnose,
    export,
    inspect,
    run,
    schema,
    snippet,
    targets,
    tolerances,
    verify,
)
from hubopt.cli.json_output import JsonErrorGroup
from hubopt.cli.streams import Streams
from hubopt.errors import EXIT_INTERNAL, EXIT_OK, EXIT_USAGE

app = typer.Typer(
    name="hubopt",
    cls=JsonErrorGroup,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    epilog=(
        "Exit codes: 0 every requested target is verified; 1 an error that hubopt did not "
        "expect; 2 bad usage or bad input; 3 an artifact is unverified; 4 parity failed; "
        "5 an export failed, or the machine ran out of a resource; 6 parity proves nothing for "
        "an output."
    ),
    help="Export TensorFlow Hub handles to SavedModel, TFLite, ONNX and TensorRT. Each artifact is "
    "proved equal to the eager layer and timed against it.",
)
_MODELS, _BUNDLES, _ABOUT = "Models", "Bundles", "About hubopt"
app.command(rich_help_panel=_MODELS)(export.export)
app.command(rich_help_panel=_MODELS)(inspect.inspect)
app.command(rich_help_panel=_BUNDLES)(verify.verify)
app.command(rich_help_panel=_BUNDLES)(bench.bench)
app.command(rich_help_panel=_BUNDLES)(run.run)
app.command(rich_help_panel=_BUNDLES)(compare.compare)
app.command(rich_help_panel=_BUNDLES)(diagnose.diagnose)
app.command(rich_help_panel=_BUNDLES)(snippet.snippet)
app.command(rich_help_panel=_ABOUT)(targets.targets)
app.command(rich_help_panel=_ABOUT)(tolerances.tolerances)
app.command(rich_help_panel=_ABOUT)(schema.schema)
app.add_typer(cache.app, name="cache", rich_help_panel=_ABOUT)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Handle the options before a verb."""


def _run() -> int:
    """Run the verb; return its exit code. Wrong usage is one plain text, also on a terminal."""
    try:
        returned = app(prog_name="hubopt", standalone_mode=False)
    except typer.Abort:
        print("error: aborted", file=sys.stderr)
        return EXIT_INTERNAL
    except Exception as error:  # Typer's own class for wrong usage has moved between versions
        if not hasattr(error, "show"):
            raise
        possible = getattr(error, "possibilities", None)
        if possible:
            error.possibilities = None  # type: ignore[attr-defined]
            error.message = f"{error.message}. Did you mean {possible[0]}?"  # type: ignore[attr-defined]
        error.show()
        return EXIT_USAGE
    return returned if isinstance(returned, int) else EXIT_OK


def main() -> None:
    """Run the command line."""
    unwind_on_signals()
    streams = Streams()
    try:
        code = _run()
    except SystemExit as end:
        code = (
            end.code if isinstance(end.code, int) else EXIT_OK if end.code is None else EXIT_USAGE
        )
    sys.exit(streams.finish(code))
