"""Two bundles side by side, for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hubopt._util.escaping import printable
from hubopt.report.terminal import size_text
from hubopt.verification.compare import BundleComparison, Numbers, TargetComparison

_NONE = "-"


def comparison_table(found: BundleComparison) -> RenderableType:
    """Three rows per target: the first bundle, the second, and the second over the first."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for heading in ("target", "", "status"):
        table.add_column(heading, no_wrap=heading != "target")
    for heading in ("size", "p50", "vs layer", "of tolerance"):
        table.add_column(heading, justify="right", no_wrap=True)
    for target in found.targets:
        for at in (0, 1):
            table.add_row(printable(target.target) if at == 0 else "", "AB"[at], *_side(target, at))
        table.add_row("", "B/A", "", *_quotients(found, target), style="dim")
    notes = [Text(printable(note), style="yellow") for note in found.notes]
    return Group(
        Text(f"A: {printable(found.first)}"),
        Text(f"B: {printable(found.second)}"),
        table,
        *notes,
    )


def _side(target: TargetComparison, at: int) -> tuple[str, ...]:
    p50, ratio = target.p50_ms[at], target.ratio_to_layer[at]
    share = target.share_of_tolerance[at]
    return (
        target.status[at] or "not there",
        size_text(target.size_bytes[at]),
        _NONE if p50 is None else f"{p50:.3g} ms",
        _NONE if ratio is None else f"{ratio:.2f}x",
        _NONE if share is None else f"{share:.2g}",
    )


def _quotients(found: BundleComparison, target: TargetComparison) -> tuple[str, ...]:
    share = _quotient(target.share_of_tolerance) if found.compares_errors else None
    return (
        _times(target.size_ratio),
        "",
        _times(target.time_ratio),
        _times(share),
    )


def _quotient(pair: Numbers) -> float | None:
    first, second = pair
    return second / first if first and second is not None else None


def _times(value: float | None) -> str:
    return _NONE if value is None else f"{value:.2f}x"
