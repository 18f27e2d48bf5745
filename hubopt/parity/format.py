"""A verdict as text, for a notebook or a failed test."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hubopt._util.escaping import printable, printable_lines

if TYPE_CHECKING:
    from hubopt.parity.outcome import OutputParity, Parity

_HEADINGS = (
    "output",
    "max abs",
    "p99.9 abs",
    "max rel",
    "ulps",
    "SQNR",
    "cosine",
    "top-1",
    "of bound",
)
_PROBLEMS_SHOWN = 10


def format_parity(parity: Parity) -> str:
    """Return a table of the outputs' metrics, then the problems and the notes."""
    rows = [_HEADINGS, *(_row(output) for output in parity.outputs)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    table = [
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    more = len(parity.problems) - _PROBLEMS_SHOWN
    lines = [
        f"Parity: {parity.status} on {parity.samples} samples",
        *(table if parity.outputs else ()),
        *(f"- {problem}" for problem in parity.problems[:_PROBLEMS_SHOWN]),
        *([f"- and {more} more"] if more > 0 else ()),
        *(f"- vacuous: {sentence}" for sentence in parity.vacuous),
        *([f"- {parity.note}"] if parity.note else ()),
    ]
    return printable_lines("\n".join(lines))


def _row(output: OutputParity) -> tuple[str, ...]:
    """Return the cells of one output, with the figures of the worst sample."""
    differences = output.judged
    ulps = [difference.max_ulps for difference in differences if difference.max_ulps is not None]
    rows = sum(difference.rows for difference in differences)
    unequal = sum(difference.unequal for difference in differences)
    if any(difference.exact for difference in differences):
        elements = sum(difference.elements for difference in differences)
        return (
            printable(output.name),
            f"{unequal} of {elements} differ",
            *[""] * (len(_HEADINGS) - 2),
        )
    return (
        printable(output.name),
        f"{output.max_abs:.1e}",
        f"{max(difference.p999_abs for difference in differences):.1e}",
        f"{max(difference.max_rel for difference in differences):.1e}",
        f"{max(ulps):.3g}" if ulps else "-",
        _decibels(output.sqnr_db),
        f"{min(difference.cosine for difference in differences):.6f}",
        f"{sum(difference.top1 for difference in differences) / rows:.1%}" if rows else "-",
        f"{output.worst:.2g}x",
    )


def _decibels(value: float) -> str:
    return "exact" if value == math.inf else f"{value:.0f} dB"
