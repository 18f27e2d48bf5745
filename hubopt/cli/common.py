"""What the verbs share: options, errors, progress."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Annotated, ParamSpec, TypeVar

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from hubopt._platform.resources import resource_error
from hubopt._util.defects import keep_traceback, traceback_tail
from hubopt._util.escaping import printable_lines
from hubopt.bundles.results import Status
from hubopt.errors import EXIT_INTERNAL, HuboptError
from hubopt.report.document import error_document

P = ParamSpec("P")
R = TypeVar("R")

_PIPE_COLUMNS = 200
"""Away from a terminal there is no width to fit, and nothing may be cut off."""


class _EscapingConsole(Console):
    """A console on which no text can be more than text: control characters are escaped."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control is None and not segment.text.isprintable():
                segment = segment._replace(text=printable_lines(segment.text))
            yield segment


class _EscapingFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(super().format(record))


def _console(stderr: bool) -> Console:
    """Return a console that prints texts as they are: no markup, no colours, no emoji codes."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream is not None and stream.isatty() else _PIPE_COLUMNS
    return _EscapingConsole(stderr=stderr, highlight=False, markup=False, emoji=False, width=width)


out = _console(stderr=False)
talk = _console(stderr=True)

HandleArgument = Annotated[
    str,
    typer.Argument(
        metavar="HANDLE",
        help="A SavedModel folder, a Keras file, an archive or URL of either, or module:object.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
AllowUnverified = Annotated[
    bool, typer.Option("--allow-unverified", help="Exit 0 for artifacts nothing here can judge.")
]
AllowVacuous = Annotated[
    bool, typer.Option("--allow-vacuous", help="Exit 0 for outputs on which parity proves nothing.")
]
Tolerance = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[OUTPUT=]CLASS", help="Hold to this class of `hubopt tolerances`; repeatable."
    ),
]
Rtol = Annotated[
    list[str] | None,
    typer.Option(metavar="[OUTPUT=]X", help="Relative tolerance per element, or `off`."),
]
Atol = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[OUTPUT=]X", help="Absolute tolerance as a share of the output's rms, or `off`."
    ),
]
Sqnr = Annotated[
    list[str] | None,
    typer.Option(metavar="[OUTPUT=]DB", help="Least signal-to-noise ratio, or `off`."),
]
Cosine = Annotated[
    list[str] | None,
    typer.Option(metavar="[OUTPUT=]X", help="Least cosine similarity, or `off`."),
]
Top1 = Annotated[
    list[str] | None,
    typer.Option(
        "--top1",
        metavar="[OUTPUT=]SHARE",
        help="Least share of rows with the same top class, or `off`.",
    ),
]
Strict = Annotated[
    bool,
    typer.Option("--strict", help="Allow nothing for the layer's own noise."),
]
Signature = Annotated[str | None, typer.Option(help="Call this signature, not the model itself.")]
OutputKey = Annotated[str | None, typer.Option(help="Keep this output of the signature only.")]
Tag = Annotated[list[str] | None, typer.Option(help="Load the graph with this tag.")]
Pin = Annotated[
    str | None, typer.Option(metavar="sha256:HEX", help="Refuse a model with another digest.")
]
Offline = Annotated[
    bool, typer.Option("--offline", help="Take what was fetched before; no network.")
]
MaxDownload = Annotated[
    str | None, typer.Option(metavar="SIZE", help="The most a model may take to fetch; 20GB.")
]
MaxUnpacked = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="The most an archive or a Keras file may unpack to; 20GB."),
]
MaxTime = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="The most time for fetching, in all attempts; 4h."),
]
MinRate = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="The fewest bytes a second, over 30 s; 1kB; 0 for any."),
]
AllowOp = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="An operation to allow that is refused; repeatable."),
]
AllowCode = Annotated[
    str | None,
    typer.Option(
        metavar="MODULE:OBJECT", help="The bundle's layer, if it is code that may run here."
    ),
]
AllowDownload = Annotated[
    bool, typer.Option("--allow-download", help="Fetch the bundle's model if it is elsewhere.")
]
InputShape = Annotated[
    list[str] | None,
    typer.Option(metavar="[NAME=]SHAPE", help="Such as 1x224x224x3, batch included; repeatable."),
]
OutputShape = Annotated[
    list[str] | None, typer.Option(metavar="[NAME=]SHAPE", help="What an output must be.")
]
Dtype = Annotated[
    list[str] | None, typer.Option(metavar="[NAME=]DTYPE", help="Where the model declares none.")
]
Dim = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=MIN:OPT:MAX",
        help="Bounds of a dimension that --input-shape names, such as B=1:8:32; repeatable.",
    ),
]
Batch = Annotated[int | None, typer.Option(help="The batch dimension where it is open; else 1.")]


def accepted(allow_unverified: bool, allow_vacuous: bool) -> tuple[Status, ...]:
    """Return the statuses that count as success."""
    given: dict[Status, bool] = {"unverified": allow_unverified, "vacuous": allow_vacuous}
    return tuple(status for status, allowed in given.items() if allowed)


def split_names(values: list[str] | None) -> list[str]:
    """Return names that were given comma-separated, repeated, or both."""
    return [name for value in values or () for name in value.split(",") if name]


def report_errors(verb: Callable[P, R]) -> Callable[P, R]:
    """Turn errors into their text on standard error and an exit code, never a traceback.

    ``HUBOPT_DEBUG=1`` lets tracebacks through.
    """

    @wraps(verb)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_EscapingFormatter(logging.BASIC_FORMAT))
        logging.basicConfig(handlers=[handler], level=logging.WARNING)
        try:
            return verb(*args, **kwargs)
        except (typer.Exit, typer.Abort, KeyboardInterrupt):
            raise
        except Exception as error:  # the last stop: a defect must not look like a user's mistake
            if os.environ.get("HUBOPT_DEBUG"):
                raise
            known = error if isinstance(error, HuboptError) else resource_error(error)
            if known is None:
                _format_defect(error)
                raise typer.Exit(EXIT_INTERNAL) from error
            if kwargs.get("json"):
                print(error_document(known))
            talk.print(f"error: {known}", style="red", soft_wrap=True)
            raise typer.Exit(known.exit_code) from error

    return run


def _format_defect(error: Exception) -> None:
    log = keep_traceback(error)
    told = f"error: this is a defect of hubopt: {type(error).__name__}: {error}\n"
    if log is None:
        told += f"{traceback_tail(error)}\n  way out:  report these lines"
    else:
        told += f"  way out:  report it with the traceback, which is in {log}"
    talk.print(told, style="red", soft_wrap=True)


@contextmanager
def progress(label: str) -> Iterator[None]:
    """Show what runs and for how long, on standard error."""
    start = time.monotonic()
    with talk.status(f"{label} ..."):
        yield
    talk.print(f"{time.monotonic() - start:6.1f} s  {label}", style="dim")
