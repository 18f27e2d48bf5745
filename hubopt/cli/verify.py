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
    Batch,
    Cosine,
    Dim,
    Dtype,
    InputShape,
    Json,
    Offline,
    OutputKey,
    OutputShape,
    Pin,
    Rtol,
    Signature,
    Sqnr,
    Strict,
    Tag,
    Tolerance,
    Top1,
    accepted,
    out,
    progress,
    report_errors,
    split_names,
    talk,
)
from hubopt.cli.json_output import Raw
from hubopt.cli.verify_file import (
    Data,
    Handle,
    Names,
    Noise,
    Samples,
    refuse_with_handle,
    refuse_without_handle,
    verify_file,
)
from hubopt.hints import Hints
from hubopt.models.handles import LayerOptions, LoadPolicy
from hubopt.parity import ToleranceOverrides
from hubopt.report.document import results_document
from hubopt.report.terminal import results_table
from hubopt.runs.trust import Trust
from hubopt.verification.recheck import rejudge as run_rejudge
from hubopt.verification.recheck import verify_bundle

Bundle = Annotated[
    Path, typer.Argument(metavar="BUNDLE", help="A folder that `hubopt export` wrote.")
]
BundleOrFile = Annotated[
    Path,
    typer.Argument(
        metavar="BUNDLE|FILE",
        help="A folder that `hubopt export` wrote, or any artifact of anyone, with HANDLE.",
    ),
]
Targets = Annotated[
    list[str] | None,
    typer.Option("--target", "-t", help="Only these targets; all by default."),
]


@report_errors
def verify(
    bundle: BundleOrFile,
    handle: Handle = None,
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
    name: Names = None,
    input_shape: InputShape = None,
    dtype: Dtype = None,
    output_shape: OutputShape = None,
    batch: Batch = None,
    dim: Dim = None,
    signature: Signature = None,
    output_key: OutputKey = None,
    tag: Tag = None,
    pin: Pin = None,
    offline: Offline = False,
    data: Data = None,
    samples: Samples = None,
    noise: Noise = "auto",
    json: Json = False,
    raw: Raw = False,
) -> None:
    """Run a bundle's artifacts here and judge them against the layer's stored outputs.

    Tolerances given here replace those of the export. With a HANDLE, run a FILE from anywhere and
    judge it against that model: `hubopt verify model.tflite path/to/model`.
    """
    given = ToleranceOverrides.parse(
        tolerance or (), rtol or (), atol or (), sqnr or (), cosine or (), top1 or (), strict
    )
    targets = split_names(target)
    if handle is not None:
        refuse_with_handle({"--rejudge": rejudge})
        code = verify_file(
            bundle,
            handle,
            targets,
            name or (),
            given,
            lambda outputs: accepted(allow_unverified, allow_vacuous, outputs),
            json,
            raw,
            hints=Hints.parse(input_shape or (), dtype or (), output_shape or (), batch, dim or ()),
            layer_options=LayerOptions(signature, output_key, tuple(tag or ())),
            load_policy=LoadPolicy(pin, offline, tuple(allow_op or ())),
            data=data,
            samples=samples,
            noise=noise,
        )
        raise typer.Exit(code)
    refuse_without_handle(
        bundle,
        {
            "--name": name,
            "--input-shape": input_shape,
            "--dtype": dtype,
            "--output-shape": output_shape,
            "--batch": batch,
            "--dim": dim,
            "--signature": signature,
            "--output-key": output_key,
            "--tag": tag,
            "--pin": pin,
            "--offline": offline,
            "--data": data,
            "--samples": samples,
        },
    )
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
        print(results_document("verify", results, opened, good, raw))
    else:
        out.print(results_table(results, opened.path))
    raise typer.Exit(exit_code(results, good))
