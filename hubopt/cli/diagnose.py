"""``hubopt diagnose``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hubopt.cli.common import (
    AllowCode,
    AllowDownload,
    AllowOp,
    Json,
    MaxDownload,
    MaxTime,
    MaxUnpacked,
    MinRate,
    out,
    progress,
    report_errors,
)
from hubopt.models.limits import Limits
from hubopt.registry.targets import canonical
from hubopt.report.document import document
from hubopt.runs.trust import Trust

Bundle = Annotated[
    Path, typer.Argument(metavar="BUNDLE", help="A folder that `hubopt export` wrote.")
]
Target = Annotated[
    str, typer.Option("--target", "-t", help="The target whose artifact to diagnose.")
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FOLDER",
        help="Write only the wrong part of the model, to run it by itself.",
    ),
]


@report_errors
def diagnose(
    bundle: Bundle,
    target: Target,
    output: Output = None,
    allow_code: AllowCode = None,
    allow_download: AllowDownload = False,
    allow_op: AllowOp = None,
    max_download: MaxDownload = None,
    max_unpacked: MaxUnpacked = None,
    max_time: MaxTime = None,
    min_rate: MinRate = None,
    json: Json = False,
) -> None:
    """Find the first inner layer at which an artifact deviates from the model."""
    # Imported only here: this takes a tenth of the time that a repeated export may take.
    from hubopt.diagnosis import diagnose as run_diagnose
    from hubopt.report.diagnosis import diagnosis_report

    limits = Limits.parse(max_download, max_unpacked, max_time, min_rate)
    trust = Trust(allow_code, allow_download, tuple(allow_op or ()), limits)
    diagnosis = run_diagnose(
        bundle, canonical(target), output=output, trust=trust, progress=progress
    )
    if json:
        print(document("diagnose", diagnosis))
    else:
        out.print(diagnosis_report(diagnosis))
