"""``hubopt bench``."""

from __future__ import annotations

from typing import Annotated

import typer

from hubopt.bundles.bundle import read_bundle
from hubopt.bundles.results import exit_code
from hubopt.cli.common import (
    AllowCode,
    AllowDownload,
    AllowOp,
    AllowUnverified,
    AllowVacuous,
    Json,
    MaxDownload,
    MaxTime,
    MaxUnpacked,
    MinRate,
    accepted,
    out,
    progress,
    report_errors,
    split_names,
)
from hubopt.cli.json_output import Raw
from hubopt.cli.verify import Bundle, Targets
from hubopt.latency.protocol import ROUNDS
from hubopt.models.limits import Limits
from hubopt.report.document import results_document
from hubopt.report.terminal import results_table
from hubopt.runs.trust import Trust
from hubopt.verification.recheck import bench as run_bench


@report_errors
def bench(
    bundle: Bundle,
    target: Targets = None,
    rounds: Annotated[int, typer.Option(help="Rounds of timing.")] = ROUNDS,
    allow_code: AllowCode = None,
    allow_download: AllowDownload = False,
    allow_op: AllowOp = None,
    max_download: MaxDownload = None,
    max_unpacked: MaxUnpacked = None,
    max_time: MaxTime = None,
    min_rate: MinRate = None,
    allow_unverified: AllowUnverified = False,
    allow_vacuous: AllowVacuous = None,
    json: Json = False,
    raw: Raw = False,
) -> None:
    """Verify a bundle's artifacts here and time them, in alternation with the eager layer."""
    opened = read_bundle(bundle)
    limits = Limits.parse(max_download, max_unpacked, max_time, min_rate)
    trust = Trust(allow_code, allow_download, tuple(allow_op or ()), limits)
    results = run_bench(opened, split_names(target), rounds, progress, trust)
    good = accepted(allow_unverified, allow_vacuous, opened.manifest.spec.output_names)
    if json:
        print(results_document("bench", results, opened, good, raw))
    else:
        out.print(results_table(results, opened.path))
    raise typer.Exit(exit_code(results, good))
