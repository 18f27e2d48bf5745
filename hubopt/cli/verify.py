"""``hubopt verify``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from hubopt.bundles.bundle import read_bundle
from hubopt.bundles.results import exit_code
from hubopt.cli.common import (
    AllowOp,
    AllowUnverified,
    AllowVacuous,
    Atol,
    Cosine,
    Json,
    Rtol,
    Sqnr,
    Strict,
    Tolerance,
    Top1,
    accepted,
    out,
    progress,
    report_errors,
    split_names,
    talk,
)
from hubopt.parity import ToleranceOverrides
from hubopt.report.document import results_document
from hubopt.report.terminal import results_table
from hubopt.runs.trust import Trust
from hubopt.verification.recheck import rejudge as run_rejudge
from hubopt.verification.recheck import verify_bundle

Bundle = Annotated[
    Path, typer.Argument(metavar="BUNDLE", help="A folder that `hubopt export` wrote.")
]
Targets = Annotated[
    list[str] | None,
    typer.Option("--target", "-t", help="Only these targets; all by default."),
]


@report_errors
def verify(
    bundle: Bundle,
    target: Targets = None,
    rejudge: Annotated[
        bool, typer.Option("--rejudge", help="Judge the measurements of the export; run nothing.")
    ] = False,
    tolerance: Tolerance = None,
    rtol: Rtol = None,
    atol: Atol = None,
    sqnr: Sqnr = None,
    cosine: Cosine = None,
    top1: Top1 = None,
    strict: Strict = False,
    allow_op: AllowOp = None,
    allow_unverified: AllowUnverified = False,
    allow_vacuous: AllowVacuous = None,
    json: Json = False,
) -> None:
    """Run a bundle's artifacts here and judge them against the layer's stored outputs.

    Tolerances given here replace those of the export.
    """
    given = ToleranceOverrides.parse(
        tolerance or (), rtol or (), atol or (), sqnr or (), cosine or (), top1 or (), strict
    )
    targets = split_names(target)
    opened = read_bundle(bundle)
    overrides = given if given.entries else None
    if overrides is None and opened.manifest.tolerances.entries:
        talk.print(Text(f"tolerances set by the bundle: {opened.manifest.tolerances}"))
    if strict and overrides is None:
        overrides = replace(opened.manifest.tolerances, strict=True)
    results = (
        run_rejudge(opened, targets, overrides)
        if rejudge
        else verify_bundle(
            opened, targets, overrides, progress, Trust(allow_ops=tuple(allow_op or ()))
        )
    )
    good = accepted(allow_unverified, allow_vacuous, opened.manifest.spec.output_names)
    if json:
        print(results_document(results, opened, good))
    else:
        out.print(results_table(results, opened.path))
    raise typer.Exit(exit_code(results, good))
