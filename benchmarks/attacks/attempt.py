"""One attack that is ready to run: a command, and how to judge its exit code 0."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.attacks.outcome import Ran

Runner = Callable[[Sequence[str]], Ran]
Worth = tuple[str | None, Mapping[str, str]]
"""One of the good outcomes of `hubopt`, or the faults."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A file attack that is ready to run.

    Attributes:
        kind: The kind of file that was attacked: the row in the report.
        detail: How it was damaged.
        arguments: The command.
        worth: Judges exit code 0.
        unchanged: A folder that the command must leave as it is.
    """

    kind: str
    detail: str
    arguments: Sequence[str]
    worth: Callable[[Ran], Worth]
    unchanged: Path | None = None


def wrong(reason: str) -> Worth:
    """Return the fault of an answer that is called verified although it is wrong."""
    return None, {"wrong verified": reason}


def compared(problems: Sequence[str], good: str = "right") -> Worth:
    """Return ``good``, or the fault if there are problems."""
    return (good, {}) if not problems else wrong("; ".join(problems)[:400])
