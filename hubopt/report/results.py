"""The parts of the table of results that are not one row a target."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import RenderableType
from rich.text import Text

from hubopt._util.escaping import printable
from hubopt._util.listing import folded
from hubopt.bundles.bundle import Bundle
from hubopt.bundles.results import TargetResult
from hubopt.report.listing import Listing
from hubopt.runs.advice import diagnosis_advice, find_log

STYLES = {"verified": "green", "vacuous": "yellow", "unverified": "yellow", "failed": "red"}
"""The colour of each status."""
_OUTPUTS_SHOWN = 12


def files_to_ship(bundle: Bundle) -> Iterator[RenderableType]:
    """Yield the files of each artifact that may be used, and the command that shows its use."""
    folder = shlex.quote(str(bundle.path))
    for result in bundle.results:
        if result.path is None or result.status == "failed":
            continue
        path = bundle.path / result.path
        names = [str(path), *(str(path.with_name(name)) for name in result.companions)]
        note = "" if result.status == "verified" else f" ({result.status})"
        slash = "/" if path.is_dir() else ""
        yield Text(f"ship  {folded(names)}{slash}{note}", overflow="fold")
        yield Text(f"use   hubopt snippet {folder} {result.target}", style="dim", overflow="fold")


def worst_error(result: TargetResult) -> str:
    """Return the largest error of the output that uses most of its tolerance."""
    outputs = result.parity.outputs if result.parity else ()
    return f"{max(outputs, key=lambda output: output.worst).max_abs:.1e}" if outputs else "-"


def errors_by_output(results: Sequence[TargetResult]) -> Iterator[RenderableType]:
    """Yield a table of the largest error of every output, if a target has several."""
    errors = {
        result.target: {output.name: output for output in result.parity.outputs}
        for result in results
        if result.parity
    }
    shares: dict[str, float] = {}
    for by_name in errors.values():
        for name, output in by_name.items():
            shares[name] = max(shares.get(name, 0.0), output.worst)
    if len(shares) < 2:
        return
    shown = sorted(shares, key=lambda name: -shares[name])[:_OUTPUTS_SHOWN]
    rows = [
        (
            printable(name),
            *(f"{found[name].max_abs:.1e}" if name in found else "-" for found in errors.values()),
        )
        for name in shares
        if name in shown
    ]
    yield Text("")
    yield Listing(("output", *errors), rows, right=frozenset(range(1, len(errors) + 1)))
    if len(shares) > len(shown):
        more = len(shares) - len(shown)
        yield Text(f"and {more} more outputs that use less of their tolerance; see --json")


def result_notes(result: TargetResult, bundle: Path | None, is_new: bool) -> Iterator[Text]:
    """Yield the reason of a result, where its log is, and what finds its fault."""
    style = STYLES[result.status]
    if result.reason:
        stage = f"{result.stage}: " if result.stage else ""
        yield Text(f"{result.target}: {stage}{result.reason}", style=style)
    log = find_log(result, bundle) if bundle and is_new else None
    if log is not None:
        yield Text(f"{result.target}: the whole error is in {log}", style=style)
    advice = diagnosis_advice(result, bundle)
    if advice is not None:
        yield Text(f"{result.target}: {advice}", style=style)
