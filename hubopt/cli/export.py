"""``hubopt export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from hubopt.cli.common import (
    AllowOp,
    AllowUnverified,
    Batch,
    Dim,
    Dtype,
    HandleArgument,
    InputShape,
    Json,
    Offline,
    OutputKey,
    OutputShape,
    Pin,
    Signature,
    Tag,
    out,
    progress,
    split_names,
    talk,
    tells_errors,
)
from hubopt.exporter import Options, XlaMode
from hubopt.handles import Access, LayerOptions
from hubopt.hints import Hints
from hubopt.latency.protocol import ROUNDS
from hubopt.pipeline import export as run_export
from hubopt.report.document import results_document
from hubopt.report.terminal import results_table, spec_table
from hubopt.results import exit_code
from hubopt.samples import SAMPLE_COUNT, SEED

_DEFAULTS = Options()


@tells_errors
def export(
    handle: HandleArgument,
    target: Annotated[
        list[str],
        typer.Option("--target", "-t", help="Such as savedmodel,tflite,onnx,trt; repeatable."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The bundle's folder; nothing may be there yet.")
    ],
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
    xla: Annotated[
        XlaMode,
        typer.Option(
            help="savedmodel: refuse what XLA cannot compile, leave it uncompiled, never."
        ),
    ] = _DEFAULTS.xla,
    freeze: Annotated[
        bool, typer.Option("--freeze", help="savedmodel: weights as constants, not variables.")
    ] = _DEFAULTS.freeze,
    select_tf_ops: Annotated[
        bool, typer.Option("--select-tf-ops", help="tflite: allow TensorFlow's own kernels.")
    ] = _DEFAULTS.select_tf_ops,
    opset: Annotated[int, typer.Option(help="onnx: the operator set.")] = _DEFAULTS.opset,
    samples: Annotated[int, typer.Option(help="Samples to judge parity on.")] = SAMPLE_COUNT,
    seed: Annotated[int, typer.Option(help="The samples' seed.")] = SEED,
    rounds: Annotated[int, typer.Option(help="Rounds of timing; 0 for none.")] = ROUNDS,
    allow_unverified: AllowUnverified = False,
    json: Json = False,
) -> None:
    """Export a model, prove each artifact against the eager layer, time it, say what was done."""
    bundle = run_export(
        handle,
        split_names(target),
        output,
        hints=Hints.parse(input_shape or (), dtype or (), output_shape or (), batch, dim or ()),
        layer_options=LayerOptions(signature, output_key, tuple(tag or ())),
        access=Access(pin, offline, tuple(allow_op or ())),
        options=Options(xla, freeze, select_tf_ops, opset),
        samples=samples,
        seed=seed,
        rounds=rounds,
        progress=progress,
    )
    if json:
        print(results_document(bundle.results, str(bundle.path), allow_unverified))
    else:
        talk.print(spec_table(bundle.manifest.spec))
        out.print(results_table(bundle.results))
        out.print(Text(f"bundle: {bundle.path}"), soft_wrap=True)
    raise typer.Exit(exit_code(bundle.results, allow_unverified))
