"""``hubopt inspect``."""

from __future__ import annotations

from hubopt.cli.common import (
    AllowOp,
    Batch,
    Dim,
    Dtype,
    HandleArgument,
    InputShape,
    Json,
    MaxDownload,
    MaxTime,
    MaxUnpacked,
    MinRate,
    Offline,
    OutputKey,
    OutputShape,
    Pin,
    Signature,
    Tag,
    out,
    progress,
    report_errors,
)
from hubopt.exporting.pipeline import inspect as run_inspect
from hubopt.hints import Hints
from hubopt.models.handles import LayerOptions, LoadPolicy
from hubopt.models.limits import Limits
from hubopt.report.document import document
from hubopt.report.terminal import inspection_report


@report_errors
def inspect(
    handle: HandleArgument,
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
    allow_op: AllowOp = None,
    max_download: MaxDownload = None,
    max_unpacked: MaxUnpacked = None,
    max_time: MaxTime = None,
    min_rate: MinRate = None,
    json: Json = False,
) -> None:
    """Show a model's signatures, inputs, outputs, parameters, and what blocks each target."""
    inspection = run_inspect(
        handle,
        hints=Hints.parse(input_shape or (), dtype or (), output_shape or (), batch, dim or ()),
        layer_options=LayerOptions(signature, output_key, tuple(tag or ())),
        load_policy=LoadPolicy(
            pin,
            offline,
            tuple(allow_op or ()),
            Limits.parse(max_download, max_unpacked, max_time, min_rate),
        ),
        progress=progress,
    )
    if json:
        print(document("inspect", inspection))
    else:
        out.print(inspection_report(inspection))
