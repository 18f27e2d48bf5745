"""Shared code of the verbs: options, errors, progress."""

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
"""The width if the output is not a terminal; nothing may be cut off there."""


class _EscapingConsole(Console):
    """A console that escapes control characters, so that no text can control the terminal."""

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
        help="A SavedModel folder, a Keras file, an archive or URL of either, "
        "owner/model/tensorFlow2/variation of Kaggle, hf://owner/name, or module:object.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Raw = Annotated[
    bool, typer.Option("--raw", help="With --json: the time of every call, every sample's figures.")
]
AllowUnverified = Annotated[
    bool,
    typer.Option("--allow-unverified", help="Exit 0 for artifacts that cannot be judged here."),
]
AllowVacuous = Annotated[
    bool, typer.Option("--allow-vacuous", help="Exit 0 for outputs on which parity proves nothing.")
]
Tolerance = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[OUTPUT=]CLASS", help="Judge by this class of `hubopt tolerances`; repeatable."
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
    typer.Option("--strict", help="Make no allowance for the layer's own noise."),
]
Signature = Annotated[str | None, typer.Option(help="Call this signature, not the model itself.")]
OutputKey = Annotated[str | None, typer.Option(help="Keep only this output of the signature.")]
Tag = Annotated[list[str] | None, typer.Option(help="Load the graph with this tag.")]
Pin = Annotated[
    str | None, typer.Option(metavar="sha256:HEX", help="Refuse a model with another digest.")
]
Offline = Annotated[
    bool, typer.Option("--offline", help="Use only what was fetched before; no network.")
]
MaxDownload = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Largest download of a model; default 20GB.")
]
MaxUnpacked = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE", help="Largest unpacked size of an archive or Keras file; default 20GB."
    ),
]
MaxTime = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Longest time for fetching, over all attempts; default 4h."),
]
MinRate = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE", help="Fewest bytes per second, over 30 s; default 1kB; 0 for no limit."
    ),
]
AllowOp = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME", help="Allow this operation, which is refused by default; repeatable."
    ),
]
AllowCode = Annotated[
    str | None,
    typer.Option(metavar="MODULE:OBJECT", help="Let this code, the bundle's layer, run here."),
]
AllowDownload = Annotated[
    bool, typer.Option("--allow-download", help="Fetch the bundle's model if it is remote.")
]
InputShape = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NAME=]SHAPE",
        help="Shape of an input, such as 1x224x224x3, batch included; repeatable.",
    ),
]
OutputShape = Annotated[
    list[str] | None, typer.Option(metavar="[NAME=]SHAPE", help="Shape that an output must have.")
]
Dtype = Annotated[
    list[str] | None,
    typer.Option(metavar="[NAME=]DTYPE", help="Dtype of an input if the model declares none."),
]
Dim = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=MIN:OPT:MAX",
        help="Bounds of a dimension that --input-shape names, such as B=1:8:32; repeatable.",
    ),
]
Batch = Annotated[
    int | None, typer.Option(help="Batch size where the batch dimension is open; default 1.")
]


def accepted(allow_unverified: bool, allow_vacuous: bool) -> tuple[Status, ...]:
    """Return the statuses that count as success."""
    given: dict[Status, bool] = {"unverified": allow_unverified, "vacuous": allow_vacuous}
    return tuple(status for status, allowed in given.items() if allowed)


def split_names(values: list[str] | None) -> list[str]:
    """Return names that were given comma-separated, repeated, or both."""
    return [name for value in values or () for name in value.split(",") if name]


def report_errors(verb: Callable[P, R]) -> Callable[P, R]:
    """Report errors as a text on standard error and an exit code, never as a traceback.

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
        except Exception as error:  # a defect must not look like a user's mistake
            if os.environ.get("HUBOPT_DEBUG"):
                raise
            known = error if isinstance(error, HuboptError) else resource_error(error)
            if kwargs.get("json"):
                print(error_document(verb.__name__.replace("_", " "), known or error))
            if known is None:
                _print_defect(error)
                raise typer.Exit(EXIT_INTERNAL) from error
            talk.print(f"error: {known}", style="red", soft_wrap=True)
            raise typer.Exit(known.exit_code) from error

    return run


def _print_defect(error: Exception) -> None:
    log = keep_traceback(error)
    message = f"error: this is a defect of hubopt: {type(error).__name__}: {error}\n"
    if log is None:
        message += f"{traceback_tail(error)}\n  way out:  report these lines"
    else:
        message += f"  way out:  report it with the traceback, which is in {log}"
    talk.print(message, style="red", soft_wrap=True)


@contextmanager
def progress(label: str) -> Iterator[None]:
    """Show the running step and its duration on standard error."""
    start = time.monotonic()
    with talk.status(f"{label} ..."):
        yield
    talk.print(f"{time.monotonic() - start:6.1f} s  {label}", style="dim")
