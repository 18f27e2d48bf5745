"""Shared code of the verbs: options, errors, progress."""

from __future__ import annotations

import inspect
import logging
import os
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Annotated, Any, ParamSpec, TypeVar

import typer

from hubopt._platform.causes import first_line
from hubopt._platform.resources import resource_error
from hubopt._util.defects import report_advice
from hubopt.bundles.results import EVERY_OUTPUT, Accepted
from hubopt.cli.console import EscapingFormatter
from hubopt.cli.console import out as out
from hubopt.cli.console import talk as talk
from hubopt.cli.live import LiveProgress
from hubopt.errors import EXIT_INTERNAL, HuboptError
from hubopt.registry.targets import canonical
from hubopt.report.document import error_document

P = ParamSpec("P")
R = TypeVar("R")

progress = LiveProgress(talk)

HandleArgument = Annotated[
    str,
    typer.Argument(
        metavar="HANDLE",
        help="A SavedModel folder, a Keras file, an archive or URL of either, "
        "owner/model/tensorFlow2/variation of Kaggle, hf://owner/name, or module:object.",
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print JSON on standard output.", rich_help_panel="Results")
]
AllowUnverified = Annotated[
    bool,
    typer.Option(
        "--allow-unverified",
        help="Exit 0 for artifacts that cannot be judged here.",
        rich_help_panel="Results",
    ),
]
AllowVacuous = Annotated[
    list[str] | None,
    typer.Option(
        metavar="OUTPUT",
        help="Exit 0 although parity proves nothing on this output; '*' for any; repeatable.",
        rich_help_panel="Results",
    ),
]
Tolerance = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[OUTPUT=]CLASS",
        help="Judge by this class of `hubopt tolerances`; repeatable.",
        rich_help_panel="Tolerances",
    ),
]
Rtol = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[OUTPUT=]X",
        help="Relative tolerance per element, or `off`.",
        rich_help_panel="Tolerances",
    ),
]
Atol = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[OUTPUT=]X",
        help="Absolute tolerance as a share of the output's rms, or `off`.",
        rich_help_panel="Tolerances",
    ),
]
Sqnr = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[OUTPUT=]DB",
        help="Least signal-to-noise ratio, or `off`.",
        rich_help_panel="Tolerances",
    ),
]
Cosine = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[OUTPUT=]X",
        help="Least cosine similarity, or `off`.",
        rich_help_panel="Tolerances",
    ),
]
Top1 = Annotated[
    list[str] | None,
    typer.Option(
        "--top1",
        metavar="[OUTPUT=]SHARE",
        help="Least share of rows with the same top class, or `off`.",
        rich_help_panel="Tolerances",
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="Make no allowance for the layer's own noise.",
        rich_help_panel="Tolerances",
    ),
]
Signature = Annotated[
    str | None,
    typer.Option(help="Call this signature, not the model itself.", rich_help_panel="Model"),
]
OutputKey = Annotated[
    str | None,
    typer.Option(help="Keep only this output of the signature.", rich_help_panel="Model"),
]
Tag = Annotated[
    list[str] | None, typer.Option(help="Load the graph with this tag.", rich_help_panel="Model")
]
Pin = Annotated[
    str | None,
    typer.Option(
        metavar="sha256:HEX", help="Refuse a model with another digest.", rich_help_panel="Model"
    ),
]
Offline = Annotated[
    bool,
    typer.Option(
        "--offline", help="Use only what was fetched before; no network.", rich_help_panel="Model"
    ),
]
MaxDownload = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Largest download of a model; default 20GB.",
        rich_help_panel="Limits and trust",
    ),
]
MaxUnpacked = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Largest unpacked size of an archive or Keras file; default 20GB.",
        rich_help_panel="Limits and trust",
    ),
]
MaxTime = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Longest time for fetching, over all attempts; default 4h.",
        rich_help_panel="Limits and trust",
    ),
]
MinRate = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Fewest bytes per second, over 30 s; default 1kB; 0 for no limit.",
        rich_help_panel="Limits and trust",
    ),
]
AllowOp = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Allow this operation, which is refused by default; repeatable.",
        rich_help_panel="Limits and trust",
    ),
]
AllowCode = Annotated[
    str | None,
    typer.Option(
        metavar="MODULE:OBJECT",
        help="Let this code, the bundle's layer, run here.",
        rich_help_panel="Limits and trust",
    ),
]
AllowDownload = Annotated[
    bool,
    typer.Option(
        "--allow-download",
        help="Fetch the bundle's model if it is remote.",
        rich_help_panel="Limits and trust",
    ),
]
InputShape = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NAME=]SHAPE",
        help="Shape of an input, such as 1x224x224x3, batch included; repeatable.",
        rich_help_panel="Shapes",
    ),
]
OutputShape = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NAME=]SHAPE", help="Shape that an output must have.", rich_help_panel="Shapes"
    ),
]
Dtype = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NAME=]DTYPE",
        help="Dtype of an input if the model declares none.",
        rich_help_panel="Shapes",
    ),
]
Dim = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=MIN:OPT:MAX",
        help="Bounds of a dimension that --input-shape names, such as B=1:8:32; repeatable.",
        rich_help_panel="Shapes",
    ),
]
Batch = Annotated[
    int | None,
    typer.Option(
        help="Batch size where the batch dimension is open; default 1.", rich_help_panel="Shapes"
    ),
]


Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        help="Print results and errors only: no progress.",
        rich_help_panel="Results",
    ),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        help="Also print what hubopt notes on the way.",
        rich_help_panel="Results",
    ),
]


def accepted(
    allow_unverified: bool, allow_vacuous: Sequence[str] | None, outputs: Sequence[str]
) -> Accepted:
    """Return which targets count as success; warn of outputs that the model does not have."""
    names = tuple(allow_vacuous or ())
    unknown = [name for name in names if name not in (*outputs, EVERY_OUTPUT)]
    if unknown:
        message = (
            f"--allow-vacuous: the model has no output {', '.join(unknown)}; "
            f"its outputs are {', '.join(outputs)}"
        )
        talk.print(message, style="yellow", soft_wrap=True)
    return Accepted(allow_unverified, names)


def split_names(values: list[str] | None) -> list[str]:
    """Return names of targets that were given comma-separated, repeated, or both."""
    return [canonical(name) for value in values or () for name in value.split(",") if name]


def report_errors(verb: Callable[P, R]) -> Callable[P, R]:
    """Report errors as a text on standard error and an exit code, never as a traceback.

    ``HUBOPT_DEBUG=1`` lets tracebacks through.
    """

    @wraps(verb)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        talk.quiet = bool(kwargs.pop("quiet", False))
        if kwargs.pop("verbose", False):
            logging.getLogger("hubopt").setLevel(logging.INFO)
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(EscapingFormatter(logging.BASIC_FORMAT))
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
            print_error(f"error: {known}")
            raise typer.Exit(known.exit_code) from error

    return _with_parameters(run, quiet=Quiet, verbose=Verbose)


def _with_parameters(verb: Callable[P, R], **added: Any) -> Callable[P, R]:
    """Add flags to a verb: Typer reads its parameters from the signature."""
    signature = inspect.signature(verb, eval_str=True)
    flags = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
        for name, kind in added.items()
    ]
    parameters = [*signature.parameters.values(), *flags]
    verb.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    verb.__annotations__ = {each.name: each.annotation for each in parameters}
    return verb


def _print_defect(error: Exception) -> None:
    message = f"error: {type(error).__name__}: {first_line(error)}\n"
    print_error(f"{message}  way out:  {report_advice(error)}")


def print_error(text: str) -> None:
    """Print an error, also with --quiet."""
    talk.quiet = False
    talk.print(text, style="red")
