"""Outcomes as a table by kind, for a terminal and as Markdown, and every fault with its case."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.attacks.outcome import FAULTS, GOOD, Outcome

_SHOWN = 700


def rows(outcomes: Sequence[Outcome]) -> list[list[str]]:
    """Return a header, a row for each kind of attack, and the sum.

    A kill that came after the end, and the run that follows kills, are no attacks, but what is
    wrong with them counts.
    """
    header = ["attacked", "attacks", *GOOD, *FAULTS]
    kinds = sorted({each.kind for each in outcomes})
    body = [_row(kind, [each for each in outcomes if each.kind == kind]) for kind in kinds]
    return [header, *body, _row("all", outcomes)]


def markdown(outcomes: Sequence[Outcome]) -> str:
    """Return the table as Markdown."""
    header, *body = rows(outcomes)
    lines = [header, ["---", *["--:"] * (len(header) - 1)], *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def show(outcomes: Sequence[Outcome], console: Console) -> None:
    """Print the table, then each fault with what repeats it, then the table as Markdown."""
    header, *body = rows(outcomes)
    table = Table(*header)
    for line in body:
        table.add_row(*line)
    console.print(table)
    for each in outcomes:
        for fault, told in each.faults.items():
            _print(console, f"{fault.upper()}: {each.case}, {each.kind}, {each.detail}: {told}")
    flaky = [each for each in outcomes if each.note.startswith("only in a fork")]
    for each in flaky:
        _print(
            console, f"not repeated by the real command: {each.case}, {each.detail}: {each.note}"
        )
    _print(console, markdown(outcomes))
    faults = sum(bool(each.faults) for each in outcomes)
    attacks = sum(each.counts for each in outcomes)
    _print(console, f"{attacks} attacks, {faults} with a fault, {len(flaky)} not repeated")


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """Return 0 where there is no fault, else 1."""
    return int(any(each.faults for each in outcomes))


def _row(kind: str, outcomes: Sequence[Outcome]) -> list[str]:
    good = [sum(each.good == name and each.counts for each in outcomes) for name in GOOD]
    faults = [sum(name in each.faults for each in outcomes) for name in FAULTS]
    return [kind, *map(str, (sum(each.counts for each in outcomes), *good, *faults))]


def _print(console: Console, text: str) -> None:
    """Print one short line; what a model carries into it stays visible and does nothing."""
    shown = " ".join(text.split())[:_SHOWN]
    _print(console, "".join(letter if letter.isprintable() else repr(letter) for letter in shown))


def _print(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
