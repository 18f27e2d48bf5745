"""Shows outcomes as a table by kind, for a terminal and as Markdown, and every fault."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.attacks.outcome import FAULTS, GOOD, Outcome

_SHOWN = 700


def rows(outcomes: Sequence[Outcome]) -> list[list[str]]:
    """Return a header, a row for each kind of attack, and the sum.

    A kill that came after the end, and the run that follows kills, do not count as attacks, but
    their faults count.
    """
    header = ["attacked", "attacks", *GOOD, *FAULTS]
    kinds = sorted({outcome.kind for outcome in outcomes})
    body = [_row(kind, [outcome for outcome in outcomes if outcome.kind == kind]) for kind in kinds]
    return [header, *body, _row("all", outcomes)]


def markdown(outcomes: Sequence[Outcome]) -> str:
    """Return the table as Markdown."""
    header, *body = rows(outcomes)
    lines = [header, ["---", *["--:"] * (len(header) - 1)], *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def show(outcomes: Sequence[Outcome], console: Console) -> None:
    """Print the table, then each fault with its case, then the table as Markdown."""
    header, *body = rows(outcomes)
    table = Table(*header)
    for line in body:
        table.add_row(*line)
    console.print(table)
    for outcome in outcomes:
        for fault, text in outcome.faults.items():
            _print_escaped(
                console,
                f"{fault.upper()}: {outcome.case}, {outcome.kind}, {outcome.detail}: {text}",
            )
    flaky = [outcome for outcome in outcomes if outcome.note.startswith("only in a fork")]
    for outcome in flaky:
        _print_escaped(
            console,
            f"not repeated by the real command: {outcome.case}, {outcome.detail}: {outcome.note}",
        )
    _print(console, markdown(outcomes))
    faults = sum(bool(outcome.faults) for outcome in outcomes)
    attacks = sum(outcome.counts for outcome in outcomes)
    _print(console, f"{attacks} attacks, {faults} with a fault, {len(flaky)} not repeated")


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """Return 0 if there is no fault, else 1."""
    return int(any(outcome.faults for outcome in outcomes))


def _row(kind: str, outcomes: Sequence[Outcome]) -> list[str]:
    good = [sum(outcome.good == name and outcome.counts for outcome in outcomes) for name in GOOD]
    faults = [sum(name in outcome.faults for outcome in outcomes) for name in FAULTS]
    return [kind, *map(str, (sum(outcome.counts for outcome in outcomes), *good, *faults))]


def _print_escaped(console: Console, text: str) -> None:
    """Print one short line; unprintable characters from a model are escaped."""
    shown = " ".join(text.split())[:_SHOWN]
    _print(console, "".join(letter if letter.isprintable() else repr(letter) for letter in shown))


def _print(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
