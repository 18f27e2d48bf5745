"""hubopt's values as tables for a terminal."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hubopt._util.escaping import printable
from hubopt._util.listing import folded
from hubopt.bundles.manifest import Manifest
from hubopt.bundles.results import TargetResult
from hubopt.latency.statistics import Latency
from hubopt.parity import TABLE
from hubopt.parity.deviations import VARIANTS
from hubopt.programs.inspection import Inspection, OpenModel, Signature, Tensor
from hubopt.report.listing import Listing
from hubopt.report.results import STYLES, errors_by_output, result_notes, worst_error
from hubopt.runs.obstacles import format_obstacles
from hubopt.spec import ModelSpec, TensorSpec, format_shape

_NAMES_SHOWN = 6


def results_table(
    results: tuple[TargetResult, ...], bundle: Path | None = None, is_new: bool = False
) -> RenderableType:
    """One row per target: status, errors, size, load, latency; then the reasons and what to do.

    Args:
        results: The results.
        bundle: The bundle's folder.
        is_new: Whether the bundle was written just now, so that its logs hold the errors.
    """
    # One space between columns, so that names of a dozen letters fit a terminal of 80 columns.
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for heading in ("target", "status"):
        table.add_column(heading, no_wrap=heading != "target", overflow="fold")
    for heading in ("worst error", "size", "load", "first", "p50", "vs layer"):
        table.add_column(heading, justify="right", no_wrap=True)
    for result in results:
        latency = result.latency
        table.add_row(
            result.target,
            Text(result.status, style=STYLES[result.status]),
            worst_error(result),
            size_text(result.size_bytes),
            _ms(latency.artifact.load_ms if latency else None),
            _ms(latency.artifact.first_ms if latency else None),
            _ms(latency.artifact.p50_ms if latency else None),
            _ratio(latency),
        )
    layer = next((result.latency for result in results if result.latency), None)
    if layer is not None:
        table.add_row(*_layer_row(layer))
    notes = [note for result in results for note in result_notes(result, bundle, is_new)]
    notes += [
        Text(f"{result.target}: xla {printable(str(result.details['xla']))}", style="dim")
        for result in results
        if result.options.get("xla") == "auto" and "xla" in result.details
    ]
    notes += [
        Text(f"{result.target}: from the cache, made and measured {result.cached}", style="dim")
        for result in results
        if result.cached
    ]
    if layer is not None and layer.no_layer:
        notes.append(Text(f"no layer to compare with: {layer.no_layer}", style="yellow"))
    if notes:
        notes.insert(0, Text(""))
    return Group(table, *errors_by_output(results), *notes)


def reference_lines(manifest: Manifest) -> RenderableType:
    """The samples, what they reach in the network, and the layer's own noise."""
    quality = manifest.reference
    kinds = Counter(manifest.samples)
    listing = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    left_out = "".join(f"; without {kind}: {why}" for kind, why in manifest.left_out.items())
    rows = [("samples", f"{listing}{left_out}")]
    if manifest.effort == "quick":
        rows.append(("quick check", "samples as drawn, noise not measured; --thorough for all"))
    if quality.units:
        reached = f"{quality.units - quality.inactive:,} of {quality.units:,} rectified units"
        rows.append(("reached", reached))
    if quality.weights:
        shown = (
            f"{quality.weights - quality.undetected:,} of {quality.weights:,} weights would show"
        )
        rows.append(("sign flips caught", shown))
    for variant, by_output in quality.deviations.items():
        largest = {name: max(one.largest for one in sizes) for name, sizes in by_output.items()}
        shown = folded(
            (f"{printable(name)} {size:.1e}" for name, size in largest.items()), _NAMES_SHOWN
        )
        culprit = quality.culprits.get(variant)
        rows.append(
            (
                "layer noise" if not culprit else "error",
                f"{VARIANTS.get(variant, variant)}: {shown}"
                + (f"; wrong in {printable(culprit)}" if culprit else ""),
            )
        )
    if quality.ties:
        shown = folded(
            (
                f"{printable(name)} on sample {', '.join(map(str, places))}"
                for name, places in quality.ties.items()
            ),
            _NAMES_SHOWN,
        )
        rows.append(("ties", f"the layer's own order is a tie: {shown}"))
    if quality.level not in ("off", "full"):
        rows.append(
            ("noise", "measured as far as the verdicts need it; --noise full for all of it")
        )
    rows += [
        ("not measured", f"{VARIANTS.get(variant, variant)}: {_first_clause(why)}")
        for variant, why in quality.skipped.items()
    ]
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for heading, text in rows:
        table.add_row(heading, Text(text))
    return table


def _first_clause(why: str) -> str:
    """Return a reason without the last words of a process that died, which are in the logs."""
    return why.partition("; it last said:")[0].partition("\n")[0]


def tolerances_table() -> RenderableType:
    """One row per class: its bounds, its arithmetic, and the source of its figures."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("class", "rtol", "atol", "SQNR", "cosine", "top-1"):
        table.add_column(heading, no_wrap=True)
    for name, entry in TABLE.items():
        bounds = entry.tolerance
        table.add_row(
            name,
            *(
                "-" if value is None else form.format(value)
                for value, form in (
                    (bounds.rtol, "{:g}"),
                    (bounds.atol, "{:g}"),
                    (bounds.sqnr_db, "{:g} dB"),
                    (bounds.cosine, "{:g}"),
                    (bounds.top1, "{:.0%}"),
                )
            ),
        )
    rule = (
        "each element: |artifact - layer| <= atol * rms(layer's output) + rtol * |layer|, plus two "
        "units in the last place of a float32 of the output's usual size"
    )
    meanings = [
        Text(f"{name}: {entry.arithmetic}. {entry.source}") for name, entry in TABLE.items()
    ]
    return Group(table, Text(""), *meanings, Text(""), Text(rule, style="dim"))


def spec_table(spec: ModelSpec) -> RenderableType:
    """One row per tensor: name, dtype, shape, and where each dimension came from."""
    rows = [
        (
            side,
            printable(tensor.name),
            tensor.dtype,
            format_shape(tensor.named_shape),
            _origins(tensor),
        )
        for side, tensors in (("in", spec.inputs), ("out", spec.outputs))
        for tensor in tensors
    ]
    rows += [("dim", name, "", str(bounds), "flag") for name, bounds in spec.bounds.items()]
    return Listing(("", "name", "dtype", "shape", "from"), rows, name=1)


def inspection_report(inspection: Inspection) -> RenderableType:
    """The report of `hubopt inspect`."""
    model = inspection.model
    called = printable(model.signature or "the model's own call")
    parts: list[RenderableType] = [
        Text(printable(inspection.handle), style="bold"),
        Text(f"digest      {f'sha256:{inspection.digest}' if inspection.digest else '-'}"),
        Text(f"parameters  {_parameters(model)}"),
        Text(f"calls       {called}"),
        *(_signature_line(signature) for signature in model.signatures),
        Text(""),
        _interface_table(model),
    ]
    if model.problems:
        parts.append(Text("\nopen", style="bold yellow"))
        parts += [Text(f"  {printable(problem)}") for problem in model.problems]
    parts.append(Text("\ntargets", style="bold"))
    for name, obstacles in inspection.obstacles.items():
        parts.append(
            Text(f"  {name}: blocked: {format_obstacles(obstacles)}", style="red")
            if obstacles
            else Text(f"  {name}: no string, table or XLA gap blocks it", style="green")
        )
    return Group(*parts)


def _parameters(model: OpenModel) -> str:
    if model.parameters is None:
        return "unknown until the shapes are settled"
    return f"{model.parameters:,} ({size_text(model.parameters_bytes)})"


def _interface_table(model: OpenModel) -> RenderableType:
    """One row per tensor: name, dtype, declared and resolved shape, and the shape's origins."""
    rows = []
    spec = model.spec
    sides = (
        ("in", model.declared, spec.inputs if spec else ()),
        ("out", model.outputs, spec.outputs if spec else ()),
    )
    for side, tensors, specs in sides:
        resolved = {tensor.name: tensor for tensor in specs}
        for tensor in tensors:
            found = resolved.get(tensor.name)
            row = (
                side,
                printable(tensor.name),
                found.dtype if found else tensor.dtype or "?",
                _shape(tensor),
                format_shape(found.named_shape) if found else "?",
                _origins(found) if found else "",
            )
            rows.append(row)
    for name, bounds in spec.bounds.items() if spec else ():
        rows.append(("dim", name, "", "", str(bounds), "flag"))
    return Listing(("", "name", "dtype", "declared", "resolved", "from"), rows, name=1)


def _origins(spec: TensorSpec) -> str:
    """Return where each dimension came from; one word if all came from one place."""
    origins = [dim.origin for dim in spec.dims]
    return ", ".join(origins if len(set(origins)) > 1 else origins[:1]) or "-"


def _signature_line(signature: Signature) -> Text:
    def listing(tensors: tuple[Tensor, ...]) -> str:
        return folded(
            f"{printable(tensor.name)}: {tensor.dtype} {_shape(tensor)}" for tensor in tensors
        )

    name = printable(signature.name)
    return Text(f"signature   {name}: {listing(signature.inputs)} -> {listing(signature.outputs)}")


def _shape(tensor: Tensor) -> str:
    shape = "unknown rank" if tensor.shape is None else format_shape(tensor.shape)
    return shape if tensor.kind == "dense" else f"{tensor.kind} {shape}"


def _layer_row(latency: Latency) -> tuple[str | Text, ...]:
    layer = latency.layer
    return (
        Text("layer", style="dim"),
        Text("eager", style="dim"),
        "",
        "",
        _ms(layer.load_ms if layer else None),
        _ms(layer.first_ms if layer else None),
        _ms(layer.p50_ms if layer else None),
        "1.00x" if layer else "-",
    )


def _ratio(latency: Latency | None) -> str:
    ratio = latency.ratio if latency else None
    return "-" if ratio is None else f"{ratio:.2f}x"


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f} ms" if value >= 100 else f"{value:.3g} ms"


def size_text(size_bytes: int | None) -> str:
    """Format a number of bytes for people, such as ``1.5 MB``."""
    if size_bytes is None:
        return "-"
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= scale:
            return f"{size_bytes / scale:.1f} {unit}"
    return f"{size_bytes} B"
