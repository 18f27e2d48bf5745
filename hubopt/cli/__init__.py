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
    targets,
    tolerances,
    verify,
)
from hubopt.cli.json_errors import JsonErrorGroup
from hubopt.cli.streams import Streams
from hubopt.errors import EXIT_OK, EXIT_USAGE

app = typer.Typer(
    name="hubopt",
    cls=JsonErrorGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog=(
        "Exit codes: 0 every requested target is verified; 1 a defect of hubopt; 2 bad usage or "
        "bad input; 3 an artifact is unverified; 4 parity failed; 5 an export failed, "
        "or the machine ran out of a resource; 6 parity proves nothing for an output."
    ),
    help="Export TensorFlow Hub handles to SavedModel, TFLite, ONNX and TensorRT. Each artifact is "
    "proved equal to the eager layer and timed against it.",
)
app.command()(export.export)
app.command()(inspect.inspect)
app.command()(verify.verify)
app.command()(bench.bench)
app.command()(run.run)
app.command()(compare.compare)
app.command()(diagnose.diagnose)
app.command()(targets.targets)
app.command()(tolerances.tolerances)
app.command()(schema.schema)
app.add_typer(cache.app, name="cache")


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


def main() -> None:
    """Run the command line."""
    unwind_on_signals()
    streams = Streams()
    try:
        app()
        code = EXIT_OK
    except SystemExit as end:
        code = (
            end.code if isinstance(end.code, int) else EXIT_OK if end.code is None else EXIT_USAGE
        )
    sys.exit(streams.finish(code))
