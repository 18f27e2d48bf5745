"""A diagnosis for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from hubopt._util.escaping import printable
from hubopt.diagnosis import Diagnosis
from hubopt.report.listing import Listing

_OPERATIONS_SHOWN = 12


def diagnosis_report(found: Diagnosis) -> RenderableType:
    """Show where the artifact diverges, the operations there, and how the error grows."""
    parts: list[RenderableType] = [
        Text(str(found), style="green" if found.tensor is None else "bold red")
    ]
    if found.tensor is not None:
        facts = (
            ("layers", ", ".join(map(printable, found.layers)) or "unknown"),
            ("TensorFlow", _listing([f"{use.op} ({use.node})" for use in found.operations])),
            (found.target, _listing(found.segment)),
            ("still right", _listing(found.before)),
        )
        parts += [Text(f"{heading:<12}{text}") for heading, text in facts]
        parts += [Text(""), _growth(found)]
    if found.reproduction is not None:
        parts.append(Text(f"reproduction: python {found.reproduction / 'reproduce.py'}"))
    parts.append(
        Text(
            f"{found.matched} of {found.total} tensors known by name, {found.runs} runs",
            style="dim",
        )
    )
    parts += [Text(f"note: {note}", style="dim") for note in found.notes]
    return Group(*parts)


def _growth(found: Diagnosis) -> RenderableType:
    """One row per tensor, in the order of the graph: its error, also in multiples of rounding."""
    rows = [
        (
            printable(step.tensor),
            printable(step.layer or "-"),
            f"{step.share:.1e}",
            f"{step.sqnr_db:.0f} dB",
            f"{step.excess:.1f}",
        )
        for step in found.growth
    ]
    styles = [
        "bold red" if step.tensor == found.tensor else "red" if step.diverges else ""
        for step in found.growth
    ]
    headings = ("tensor", "layer", "error / rms", "SQNR", "x rounding")
    return Listing(headings, rows, right=frozenset({2, 3, 4}), styles=styles)


def _listing(texts: tuple[str, ...] | list[str]) -> str:
    more = len(texts) - _OPERATIONS_SHOWN
    return "\n            ".join(
        (*map(printable, texts[:_OPERATIONS_SHOWN]), *([f"and {more} more"] if more > 0 else []))
    )
