"""``hubopt export``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group
from rich.text import Text

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
from hubopt.errors import UsageError
from hubopt.exporter import XlaMode
from hubopt.exporting.pipeline import export as run_export
from hubopt.hints import Hints
from hubopt.latency.protocol import ROUNDS
from hubopt.models.handles import LayerOptions, LoadPolicy
from hubopt.models.limits import Limits
from hubopt.parity import ToleranceOverrides
from hubopt.reference.noise_level import Noise
from hubopt.reference.sample_plan import Effort
from hubopt.registry.targets import make_targets, parse_options
from hubopt.report.document import results_document
from hubopt.report.results import files_to_ship
from hubopt.report.terminal import reference_lines, results_table, spec_table
from hubopt.sampling.samples import SEED


@report_errors
def export(
    handle: HandleArgument,
    target: Annotated[
        list[str],
        typer.Option(
            "--target",
            "-t",
            help="Targets, such as savedmodel,tflite,onnx,trt; repeatable.",
            rich_help_panel="Output",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="The bundle's folder; it must not exist yet.",
            rich_help_panel="Output",
        ),
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
    max_download: MaxDownload = None,
    max_unpacked: MaxUnpacked = None,
    max_time: MaxTime = None,
    min_rate: MinRate = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            "-O",
            metavar="TARGET.NAME=VALUE",
            help="Set an option of an exporter, see `hubopt targets TARGET`; repeatable.",
            rich_help_panel="Exporters",
        ),
    ] = None,
    xla: Annotated[
        XlaMode | None,
        typer.Option(
            help="Short for -O savedmodel.xla=; by default auto: XLA compiles the SavedModel where "
            "a trial finds it faster and its values the same.",
            rich_help_panel="Exporters",
        ),
    ] = None,
    freeze: Annotated[
        bool,
        typer.Option(
            "--freeze", help="Short for -O savedmodel.freeze=true.", rich_help_panel="Exporters"
        ),
    ] = False,
    select_tf_ops: Annotated[
        bool,
        typer.Option(
            "--select-tf-ops",
            help="Short for -O tflite.select_tf_ops=true.",
            rich_help_panel="Exporters",
        ),
    ] = False,
    opset: Annotated[
        int | None, typer.Option(help="Short for -O onnx.opset=.", rich_help_panel="Exporters")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Your own inputs: .npz, .npy, .txt, a folder of those, module:object.",
            rich_help_panel="Samples and noise",
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            help="Number of samples; default 8 drawn ones, or up to 64 of --data.",
            rich_help_panel="Samples and noise",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Seed of the drawn samples.", rich_help_panel="Samples and noise")
    ] = SEED,
    noise: Annotated[
        Noise,
        typer.Option(
            help="Measure the layer's own noise: as far as verdicts need it, or fully.",
            rich_help_panel="Samples and noise",
        ),
    ] = "auto",
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="The least honest check: 2 samples as drawn, no noise measured.",
            rich_help_panel="Samples and noise",
        ),
    ] = False,
    thorough: Annotated[
        bool,
        typer.Option(
            "--thorough",
            help="Choose samples without a limit of time, and measure all of the noise.",
            rich_help_panel="Samples and noise",
        ),
    ] = False,
    tolerance: Tolerance = None,
    rtol: Rtol = None,
    atol: Atol = None,
    sqnr: Sqnr = None,
    cosine: Cosine = None,
    top1: Top1 = None,
    strict: Strict = False,
    keep_failed: Annotated[
        bool,
        typer.Option(
            "--keep-failed",
            help="Keep artifacts that fail parity, for `hubopt diagnose`.",
            rich_help_panel="Output",
        ),
    ] = False,
    rounds: Annotated[
        int, typer.Option(help="Rounds of timing; 0 for none.", rich_help_panel="Timing and cache")
    ] = ROUNDS,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Replace the output if it is a bundle or an empty folder.",
            rich_help_panel="Output",
        ),
    ] = False,
    no_cache: Annotated[
        bool,
        typer.Option(
            "--no-cache",
            help="Run every stage again, and keep no results.",
            rich_help_panel="Timing and cache",
        ),
    ] = False,
    allow_unverified: AllowUnverified = False,
    allow_vacuous: AllowVacuous = None,
    json: Json = False,
    raw: Raw = False,
) -> None:
    """Export a model, prove each artifact against the eager layer, time it, report the results."""
    names = split_names(target)
    shorthands = {
        "savedmodel.xla": xla,
        "savedmodel.freeze": freeze or None,
        "tflite.select_tf_ops": select_tf_ops or None,
        "onnx.opset": opset,
    }
    bundle = run_export(
        handle,
        names,
        output,
        options=_options(names, shorthands, option or ()),
        hints=Hints.parse(input_shape or (), dtype or (), output_shape or (), batch, dim or ()),
        layer_options=LayerOptions(signature, output_key, tuple(tag or ())),
        load_policy=LoadPolicy(
            pin,
            offline,
            tuple(allow_op or ()),
            Limits.parse(max_download, max_unpacked, max_time, min_rate),
        ),
        data=data,
        samples=samples,
        seed=seed,
        noise=noise,
        effort=_effort(quick, thorough),
        overrides=ToleranceOverrides.parse(
            tolerance or (), rtol or (), atol or (), sqnr or (), cosine or (), top1 or (), strict
        ),
        rounds=rounds,
        keep_failed=keep_failed,
        cache=not no_cache,
        force=force,
        progress=progress,
    )
    good = accepted(allow_unverified, allow_vacuous, bundle.manifest.spec.output_names)
    if json:
        print(results_document("export", bundle.results, bundle, good, raw))
    else:
        talk.print(spec_table(bundle.manifest.spec))
        talk.print(reference_lines(bundle.manifest))
        out.print(results_table(bundle.results, bundle.path, is_new=True))
        out.print(Group(*files_to_ship(bundle)))
        out.print(Text(f"bundle: {bundle.path}"))
    raise typer.Exit(exit_code(bundle.results, good))


def _effort(quick: bool, thorough: bool) -> Effort:
    if quick and thorough:
        raise UsageError("--quick", "given with --thorough", "one of them", "leave one out")
    return "quick" if quick else "thorough" if thorough else "auto"


def _options(
    names: Sequence[str], shorthands: Mapping[str, object], words: Iterable[str]
) -> dict[str, object]:
    """Return the exporters' options; a shorthand counts only if its exporter is requested."""
    exporters = {target.exporter for target in make_targets(names)}
    given = {
        name: value
        for name, value in shorthands.items()
        if value is not None and name.partition(".")[0] in exporters
    }
    return {**given, **parse_options(words)}
