"""One command, and one signal to it or to a child of it at a moment that is drawn."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from benchmarks.attacks.outcome import Ran
from benchmarks.attacks.place import HUBOPT, Place
from benchmarks.attacks.processes import members
from benchmarks.attacks.running import finish, start_command
from hubopt.manifest import LOGS, MANIFEST

_END_TIMEOUT_S = 120.0
"""How long a command may take after a child of it was killed: it may begin anew."""
_SIGNALLED_TIMEOUT_S = 20.0
_STEP_S = 0.001
_TWICE_S = 0.05
_LAST_LOG = "tflite.log"
"""Of the target that comes last: once it is there, the manifest is near."""


@dataclass(frozen=True, slots=True)
class Kill:
    """A signal that is to be sent.

    Attributes:
        signal: Which.
        victim: ``parent``, ``child`` or ``group``, which is what a terminal's Ctrl-C reaches.
        share: When, as a share of the usual duration.
        at_rename: Whether to wait for the manifest instead, which is written last.
        twice: Whether to send it again, as an impatient user does.
        choice: Which child, as a share of all.
    """

    signal: signal.Signals
    victim: str
    share: float
    at_rename: bool
    twice: bool
    choice: float


@dataclass(frozen=True, slots=True)
class Struck:
    """What came of it.

    Attributes:
        ran: What the command did.
        victim: Whom the signal reached; ``parent`` where there was no child.
        landed: Whether the command was still running.
        told: All that in words.
        seconds: How long the command took.
    """

    ran: Ran
    victim: str
    landed: bool
    told: str
    seconds: float


def strike(
    kill: Kill,
    arguments: Sequence[str],
    place: Place,
    duration_s: float,
    command: Sequence[str] = HUBOPT,
) -> Struck:
    """Start the command, wait, send the signal, and wait for the end.

    Args:
        kill: What to send, to whom and when.
        arguments: The verb and what follows.
        place: Where.
        duration_s: How long the command usually takes.
        command: What to run.
    """
    start = time.monotonic()
    process = start_command(arguments, place, command)
    _wait(kill, process, place, start + kill.share * duration_s, start + 3 * duration_s)
    after = time.monotonic() - start
    landed = process.poll() is None
    victim, pid = _choose(kill, process.pid) if landed else ("nobody", 0)
    for again in (False, True) if kill.twice else (False,):
        if again:
            time.sleep(_TWICE_S)
        if process.poll() is None:
            _send(kill.signal, victim, pid)
    alone = victim in ("child", "nobody")
    try:
        code: int | None = process.wait(_END_TIMEOUT_S if alone else _SIGNALLED_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        code = None
    seconds = time.monotonic() - start
    when = "at the rename" if kill.at_rename else f"after {after:.2f} of {duration_s:.1f} s"
    told = f"{kill.signal.name}{' twice' if kill.twice else ''} to {victim} {when}"
    ran = finish(process.pid, code, place)
    process.wait()
    return Struck(ran, victim, landed, told, seconds)


def _wait(
    kill: Kill, process: subprocess.Popen[bytes], place: Place, moment: float, latest: float
) -> None:
    if not kill.at_rename:
        while time.monotonic() < moment and process.poll() is None:
            time.sleep(_STEP_S)
        return
    # A staging folder stands beside the output, under a hidden name, and in it the bundle. From
    # the manifest to the rename it is a millisecond, so there is no sleeping once that is near.
    while time.monotonic() < latest and process.poll() is None:
        for staged in place.outputs.glob(".*/*"):
            manifest, near = str(staged / MANIFEST), staged / LOGS / _LAST_LOG
            while near.exists() and time.monotonic() < latest and staged.exists():
                if os.path.exists(manifest):  # noqa: PTH110 - as often as can be
                    return
        time.sleep(_STEP_S)


def _choose(kill: Kill, parent: int) -> tuple[str, int]:
    """Return whom the signal goes to; the command itself where it has no child."""
    if kill.victim == "child":
        children = sorted(each.pid for each in members(parent) if each.pid != parent)
        if children:
            return "child", children[int(kill.choice * len(children))]
    return ("group" if kill.victim == "group" else "parent"), parent


def _send(number: signal.Signals, victim: str, pid: int) -> None:
    with suppress(ProcessLookupError):
        if victim == "group":
            os.killpg(pid, number)
        elif victim != "nobody":
            os.kill(pid, number)
