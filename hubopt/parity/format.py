"""A verdict as text, for a notebook or a failed test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hubopt._util.escaping import printable, printable_lines
from hubopt._util.html_table import html_table

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
_OUTPUTS_SHOWN = 7
_PROBLEMS_SHOWN = 4
_VACUOUS_SHOWN = 2
"""All together less than 20 lines; `Parity` itself has everything."""


def format_parity(parity: Parity) -> str:
    """Return a table of the outputs' metrics, then the problems and the notes."""
    shown = _most_telling(parity.outputs)
    rows = [_HEADINGS, *map(_row, shown)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    table = [
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines = [
        f"Parity: {parity.status} on {parity.samples} samples",
        *(table if parity.outputs else ()),
        *_more(len(parity.outputs) - len(shown), "outputs"),
        *(f"- {' '.join(problem.split())}" for problem in parity.problems[:_PROBLEMS_SHOWN]),
        *_more(len(parity.problems) - _PROBLEMS_SHOWN, "problems"),
        *(f"- vacuous: {sentence}" for sentence in parity.vacuous[:_VACUOUS_SHOWN]),
        *_more(len(parity.vacuous) - _VACUOUS_SHOWN, "vacuous"),
        *([f"- {parity.note}"] if parity.note else ()),
    ]
    return printable_lines("\n".join(lines))


def parity_html(parity: Parity) -> str:
    """Return a table of all outputs' metrics as HTML."""
    notes = [*parity.problems, *(f"vacuous: {sentence}" for sentence in parity.vacuous)]
    return html_table(
        f"Parity: {parity.status} on {parity.samples} samples",
        _HEADINGS,
        map(_row, parity.outputs),
        [*notes, *([parity.note] if parity.note else [])],
    )


def _most_telling(outputs: Sequence[OutputParity]) -> list[OutputParity]:
    """Return the outputs to show, in their order: those with problems, then the worst ones."""
    ranked = sorted(outputs, key=lambda output: (not output.problems, -output.worst))
    kept = {output.name for output in ranked[:_OUTPUTS_SHOWN]}
    return [output for output in outputs if output.name in kept]


def _more(count: int, what: str) -> list[str]:
    return [f"- and {count} more {what}"] if count > 0 else []


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
