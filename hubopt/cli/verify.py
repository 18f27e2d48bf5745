"""``hubopt verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hubopt.cli.common import AllowUnverified, Json, out, progress, split_names, tells_errors
from hubopt.recheck import verify as run_verify
from hubopt.report.document import results_document
from hubopt.report.terminal import results_table
from hubopt.results import exit_code

Bundle = Annotated[
    Path, typer.Argument(metavar="BUNDLE", help="A folder that `hubopt export` wrote.")
]
Targets = Annotated[
    list[str] | None,
    typer.Option("--target", "-t", help="These targets only; all by default."),
]


@tells_errors
def verify(
    bundle: Bundle,
    target: Targets = None,
    allow_unverified: AllowUnverified = False,
    json: Json = False,
) -> None:
    """Run a bundle's artifacts here and judge them against the layer's stored outputs."""
    results = run_verify(bundle, split_names(target), progress)
    if json:
        print(results_document(results, str(bundle), allow_unverified))
    else:
        out.print(results_table(results))
    raise typer.Exit(exit_code(results, allow_unverified))
