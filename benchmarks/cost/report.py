"""Shows rows as tables and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from benchmarks.cost.judge import Row
from benchmarks.cost.measure import Cost

_TITLES = {
    "onnx": ("--target onnx, verified, against tf2onnx's command line", "tf2onnx"),
    "floor": ("tf.saved_model.load and nothing else, against tf2onnx's command line", "tf2onnx"),
    "tflite": ("--target tflite, verified, against TFLiteConverter", "converter"),
    "four": ("all targets in one command against one command each", "sum"),
    "growth": ("one graph with more weights", "-"),
    "cached": ("the same command again, from the cache", "first run"),
}
_WORDS = {True: "yes", False: "NO", None: "-"}


def show(rows: Sequence[Row], console: Console, profile: bool = False) -> None:
    """Print a table for each part; below it, failures and the profiles of missed bounds.

    Args:
        rows: All rows.
        console: Where to print.
        profile: Whether to show the profiles of all rows.
    """
    for part, (title, other) in _TITLES.items():
        of_part = [row for row in rows if row.part == part]
        if of_part:
            mine = "load alone" if part == "floor" else "hubopt"
            console.print(_table(of_part, title, mine, other))
            for row in of_part:
                for line in _remarks(row, mine, other):
                    console.print(line, markup=False, highlight=False, soft_wrap=True)
                if row.ours and (profile or row.missed):
                    for line in _profile(row.label, row.ours):
                        console.print(line, markup=False, highlight=False, soft_wrap=True)
            console.print()


def plain(row: Row) -> Mapping[str, object]:
    """Return a row as plain data for JSON."""
    checks = [{**asdict(check), "met": check.met} for check in row.checks]
    return {**asdict(row), "checks": checks}


def _table(rows: Sequence[Row], title: str, mine: str, other: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("model")
    for name in (mine, other, "of", "ratio", "bound", "met"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        costs = (row.label, _cost(row.ours), _cost(row.theirs))
        if not row.checks:
            table.add_row(*costs, "-", "-", "-", "-")
        for at, check in enumerate(row.checks):
            table.add_row(
                *(costs if at == 0 else ("", "", "")),
                check.name,
                "-" if check.value is None else f"{check.value:.3g}",
                "-" if check.bound is None else f"{check.bound:g}",
                _WORDS[check.met],
            )
    return table


def _cost(cost: Cost | None) -> str:
    if cost is None:
        return "-"
    if cost.problem:
        return "failed"
    return f"{cost.seconds:.3g} s {cost.peak_bytes / 1e6:,.0f} MB"


def _remarks(row: Row, mine: str, other: str) -> list[str]:
    costs = ((name, cost) for name, cost in ((mine, row.ours), (other, row.theirs)) if cost)
    failed = [f"{row.label}, {name}: {cost.problem}" for name, cost in costs if cost.problem]
    return [*failed, *([f"{row.label}: {row.note}"] if row.note else [])]


def _profile(label: str, cost: Cost) -> list[str]:
    """Return lines with the time and memory by hubopt's stages and by process."""
    stages = [f"  {seconds:6.1f} s  {stage}" for seconds, stage in cost.stages]
    processes = [
        f"  {process.start_s:6.1f} to {process.end_s:6.1f} s  {process.cpu_s:6.1f} s of CPU  "
        f"{process.peak_rss_bytes / 1e6:8,.0f} MB RSS  {process.label}"
        for process in cost.processes
    ]
    return [f"profile of {label}:", *stages, *processes]
