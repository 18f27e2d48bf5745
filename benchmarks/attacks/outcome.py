"""The outcome of one attack, and the rules that judge it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

GOOD = ("whole", "absent", "right", "another", "refused", "contained")
"""The allowed outcomes. ``whole`` and ``absent``: the output after a kill. ``right``: exit 0, and
the answer is the clean one. ``another``: a damaged model that still loads is another model, and is
treated as one. ``refused``: a clear error, exit 2 to 6. ``contained``: a native crash in a child
process, reported as an error."""
FAULTS = (
    "damaged", "wrong verified", "exit 1", "traceback", "crash", "hang", "folder left",
    "process left",
)  # fmt: skip
"""The faults. ``crash``: a signal that the benchmark did not send ended the command itself."""

_TRACEBACK = "Traceback (most recent call last)"
_CHILD_CRASH = re.compile(r"process was ended by SIG(SEGV|ABRT|BUS|FPE|ILL|TRAP)")
_FRAME = re.compile(r'^  File "([^"]+)", line \d+, in (\S+)', re.MULTILINE)
_SHOWN = 400


@dataclass(frozen=True, slots=True)
class Ran:
    """The result of a command.

    Attributes:
        code: Its exit code, negative for the signal that ended it; None if it had to be ended.
        out: Its standard output.
        err: Its standard error.
        left: Descriptions of the processes that outlived it.
    """

    code: int | None
    out: str
    err: str
    left: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one attack.

    Attributes:
        case: The case, such as ``file:12``; a case of several kills has an outcome for each.
        kind: The kind of attack: the row in the report.
        detail: A description of the attack.
        good: One of `GOOD`; None if there is a fault.
        faults: Descriptions by the fault's name in `FAULTS`.
        note: Further information.
        counts: Whether the attack took place; a kill that came too late does not count.
        seconds: How long it took.
    """

    case: str
    kind: str
    detail: str
    good: str | None
    faults: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    counts: bool = True
    seconds: float = 0.0


def judge_command(ran: Ran, sent: int | None = None) -> tuple[str | None, dict[str, str]]:
    """Judge what is required of every command, whatever its input.

    Args:
        ran: The result of the command.
        sent: The signal that was sent to it, which may end it.

    Returns:
        ``refused`` or ``contained`` for a clear error, or None if the caller must judge the result
        (exit code 0, or the signal); and the faults.
    """
    faults: dict[str, str] = {}
    if ran.left:
        faults["process left"] = "; ".join(ran.left)
    if ran.code is None:
        return None, faults | {"hang": _end(ran.err)}
    if _TRACEBACK in ran.err and not _was_starting(ran.err):
        faults["traceback"] = _end(ran.err)
    ended_by = -ran.code if ran.code < 0 else ran.code - 128 if ran.code > 128 else 0
    if ended_by:
        if ended_by != sent:
            faults["crash"] = f"ended by signal {ended_by}: {_end(ran.err)}"
        return None, faults
    if ran.code == 1 or ran.code > 6:
        faults["exit 1"] = f"exit {ran.code}: {_end(ran.err or ran.out)}"
    if ran.code == 0 or faults:
        return None, faults
    return "contained" if _CHILD_CRASH.search(ran.err + ran.out) else "refused", faults


def _was_starting(err: str) -> bool:
    """Whether the traceback is Python's own, from a Ctrl-C before the command line began."""
    lines = err.rstrip().splitlines()
    begun = any(name == "main" and "hubopt" in path for path, name in _FRAME.findall(err))
    return bool(lines) and lines[-1].startswith("KeyboardInterrupt") and not begun


def _end(text: str) -> str:
    return text.strip()[-_SHOWN:]
