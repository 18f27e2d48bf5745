"""hubopt's values as tables for a terminal."""

from __future__ import annotations

from collections import Counter

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hubopt._util.escaping import printable
from hubopt.bundles.manifest import Manifest
from hubopt.bundles.results import TargetResult
from hubopt.latency.statistics import Latency
from hubopt.parity import TABLE
from hubopt.parity.deviations import VARIANTS
from hubopt.programs.inspection import Inspection, OpenModel, Signature, Tensor
from hubopt.runs.obstacles import format_obstacles
from hubopt.spec import ModelSpec, TensorSpec, format_shape

_STYLES = {"verified": "green", "vacuous": "yellow", "unverified": "yellow", "failed": "red"}


def results_table(results: tuple[TargetResult, ...]) -> RenderableType:
    """One row per target: status, errors, size, load, latency; then the reasons."""
    # One space between columns, so that names of a dozen letters fit a terminal of 80 columns.
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for heading in ("target", "status", "worst error"):
        table.add_column(heading, no_wrap=heading != "worst error")
    for heading in ("size", "load", "first", "p50", "vs layer"):
        table.add_column(heading, justify="right", no_wrap=True)
    for result in results:
        latency = result.latency
        table.add_row(
            result.target,
            Text(result.status, style=_STYLES[result.status]),
            _errors(result),
            size_text(result.size_bytes),
            _ms(latency.artifact.load_ms if latency else None),
            _ms(latency.artifact.first_ms if latency else None),
            _ms(latency.artifact.p50_ms if latency else None),
            _ratio(latency),
        )
    layer = next((result.latency for result in results if result.latency), None)
    if layer is not None:
        table.add_row(*_layer_row(layer))
    notes = [
        Text(
            f"{result.target}: "
            + (f"{result.stage}: " if result.stage else "")
            + f"{result.reason}",
            style=_STYLES[result.status],
        )
        for result in results
        if result.reason
    ]
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
    return Group(table, *notes)


def reference_lines(manifest: Manifest) -> RenderableType:
    """The samples, what they reach in the network, and the layer's own noise."""
    quality = manifest.reference
    kinds = Counter(manifest.samples)
    listing = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    left_out = "".join(f"; without {kind}: {why}" for kind, why in manifest.left_out.items())
    rows = [("samples", f"{listing}{left_out}")]
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
        shown = ", ".join(f"{printable(name)} {size:.1e}" for name, size in largest.items())
        rows.append(("layer noise", f"{VARIANTS.get(variant, variant)}: {shown}"))
    if quality.level not in ("off", "full"):
        rows.append(
            ("noise", "measured as far as the verdicts need it; --noise full for all of it")
        )
    rows += [
        ("not measured", f"{VARIANTS.get(variant, variant)}: {why}")
        for variant, why in quality.skipped.items()
    ]
    table = Table(box=None, pad_edge=False, show_header=False)
    for heading, text in rows:
        table.add_row(heading, text)
    return table


def tolerances_table() -> RenderableType:
    """One row per class: its bounds, its arithmetic, and the source of its figures."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("class", "rtol", "atol", "SQNR", "cosine", "top-1", "for", "source"):
        table.add_column(heading, no_wrap=heading not in ("for", "source"))
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
            entry.arithmetic,
            entry.source,
        )
    rule = (
        "each element: |artifact - layer| <= atol * rms(layer's output) + rtol * |layer|, plus two "
        "units in the last place of a float32 of the output's usual size"
    )
    return Group(table, Text(rule, style="dim"))


def spec_table(spec: ModelSpec) -> RenderableType:
    """One row per tensor: name, dtype, shape, and where each dimension came from."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("", "name", "dtype", "shape", "from"):
        table.add_column(heading)
    for side, tensors in (("in", spec.inputs), ("out", spec.outputs)):
        for tensor in tensors:
            shape = format_shape(tensor.named_shape)
            table.add_row(side, printable(tensor.name), tensor.dtype, shape, _origins(tensor))
    for name, bounds in spec.bounds.items():
        table.add_row("dim", name, "", str(bounds), "flag")
    return table


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
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("", "name", "dtype", "declared", "resolved", "from"):
        table.add_column(heading)
    spec = model.spec
    sides = (
        ("in", model.declared, spec.inputs if spec else ()),
        ("out", model.outputs, spec.outputs if spec else ()),
    )
    for side, tensors, specs in sides:
        resolved = {tensor.name: tensor for tensor in specs}
        for tensor in tensors:
            found = resolved.get(tensor.name)
            table.add_row(
                side,
                printable(tensor.name),
                found.dtype if found else tensor.dtype or "?",
                _shape(tensor),
                format_shape(found.named_shape) if found else "?",
                _origins(found) if found else "",
            )
    for name, bounds in spec.bounds.items() if spec else ():
        table.add_row("dim", name, "", "", str(bounds), "flag")
    return table


def _origins(spec: TensorSpec) -> str:
    return ", ".join(dim.origin for dim in spec.dims) or "-"


def _signature_line(signature: Signature) -> Text:
    def listing(tensors: tuple[Tensor, ...]) -> str:
        return ", ".join(
            f"{printable(tensor.name)}: {tensor.dtype} {_shape(tensor)}" for tensor in tensors
        )

    name = printable(signature.name)
    return Text(f"signature   {name}: {listing(signature.inputs)} -> {listing(signature.outputs)}")


def _shape(tensor: Tensor) -> str:
    return "unknown rank" if tensor.shape is None else format_shape(tensor.shape)


def _errors(result: TargetResult) -> str:
    if result.parity is None:
        return "-"
    return (
        "\n".join(
            f"{printable(output.name)} {output.max_abs:.1e}" for output in result.parity.outputs
        )
        or "-"
    )


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
