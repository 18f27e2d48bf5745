"""Runs one command and sends one signal to it or to a child at a random moment."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.attacks.outcome import Ran
from benchmarks.attacks.place import HUBOPT, Place
from benchmarks.attacks.processes import members
from benchmarks.attacks.running import finish, start_command
from hubopt.bundles.manifest import LOGS

_END_TIMEOUT_S = 120.0
"""How long a command may take after one of its children was killed: it may start again."""
_SIGNALLED_TIMEOUT_S = 20.0
_STEP_S = 0.001
_TWICE_S = 0.05
_LAST_LOG = "tflite.log"
"""The log of the last target."""
_RENAMING_S = 0.05
"""About how long the last step takes."""


@dataclass(frozen=True, slots=True)
class Kill:
    """A signal to send.

    Attributes:
        signal: The signal.
        victim: ``parent``, ``child`` or ``group``, to which a terminal's Ctrl-C goes.
        share: When to send it, as a share of the usual duration.
        at_rename: Whether to wait instead until the bundle is complete except for its manifest.
        twice: Whether to send it again, as an impatient user does.
        choice: Which child, as a share of all children; or the moment within the last step.
    """

    signal: signal.Signals
    victim: str
    share: float
    at_rename: bool
    twice: bool
    choice: float


@dataclass(frozen=True, slots=True)
class Struck:
    """The result of a kill.

    Attributes:
        ran: The result of the command.
        victim: Who got the signal; ``parent`` if there was no child.
        landed: Whether the command was still running.
        description: A description of the kill.
        seconds: How long the command took.
    """

    ran: Ran
    victim: str
    landed: bool
    description: str
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
        kill: The signal, its victim and its moment.
        arguments: The arguments of the command line.
        place: The folders to run in.
        duration_s: How long the command usually takes.
        command: The command to run.
    """
    before = set(place.outputs.iterdir())  # files that killed runs have left
    start = time.monotonic()
    process = start_command(arguments, place, command)
    if kill.at_rename:
        _wait_for_renaming(kill, process, place, before, start + 3 * duration_s)
    else:
        while time.monotonic() < start + kill.share * duration_s and process.poll() is None:
            time.sleep(_STEP_S)
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
    description = f"{kill.signal.name}{' twice' if kill.twice else ''} to {victim} {when}"
    ran = finish(process.pid, code, place)
    process.wait()
    return Struck(ran, victim, landed, description, seconds)


def _wait_for_renaming(
    kill: Kill,
    process: subprocess.Popen[bytes],
    place: Place,
    before: Collection[Path],
    latest: float,
) -> None:
    # A staging folder with a hidden name is beside the output. It contains the bundle, with a
    # hidden work folder. Once that is removed, the manifest is written and the bundle is renamed.
    while time.monotonic() < latest and process.poll() is None:
        for staged in place.outputs.glob(".*/*"):
            if staged.parent in before:
                continue
            while (staged / LOGS / _LAST_LOG).exists() and time.monotonic() < latest:
                if not any(staged.glob(".*")):
                    time.sleep(kill.choice * _RENAMING_S)
                    return
        time.sleep(_STEP_S)


def _choose(kill: Kill, parent: int) -> tuple[str, int]:
    """Return the victim of the signal; the command itself if it has no child."""
    if kill.victim == "child":
        children = sorted(process.pid for process in members(parent) if process.pid != parent)
        if children:
            return "child", children[int(kill.choice * len(children))]
    return ("group" if kill.victim == "group" else "parent"), parent


def _send(number: signal.Signals, victim: str, pid: int) -> None:
    with suppress(ProcessLookupError):
        if victim == "group":
            os.killpg(pid, number)
        elif victim != "nobody":
            os.kill(pid, number)
