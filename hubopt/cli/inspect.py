"""``hubopt inspect``."""

from __future__ import annotations

from hubopt.bundle import to_json
from hubopt.cli.common import (
    Batch,
    Dtype,
    HandleArgument,
    InputShape,
    Json,
    OutputKey,
    OutputShape,
    Signature,
    Tag,
    out,
    progress,
    tells_errors,
)
from hubopt.handles import LayerOptions
from hubopt.pipeline import inspect as run_inspect
from hubopt.report.terminal import inspection_report
from hubopt.spec import Hints


@tells_errors
def inspect(
    handle: HandleArgument,
    input_shape: InputShape = None,
    dtype: Dtype = None,
    output_shape: OutputShape = None,
    batch: Batch = None,
    signature: Signature = None,
    output_key: OutputKey = None,
    tag: Tag = None,
    json: Json = False,
) -> None:
    """Show a model's signatures, inputs, outputs, parameters, and what blocks each target."""
    inspection = run_inspect(
        handle,
        hints=Hints.parse(input_shape or (), dtype or (), output_shape or (), batch),
        layer_options=LayerOptions(signature, output_key, tuple(tag or ())),
        progress=progress,
    )
    if json:
        print(to_json(inspection))
    else:
        out.print(inspection_report(inspection), soft_wrap=True)
