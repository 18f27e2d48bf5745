"""Signals at random moments of an export or a verification, to the command or to its children.

A case is one place: a cache, and one to four runs over it, each of which gets a signal. After
SIGKILL to the command itself, files may be left beside the output and among the temporary files
until the next run; after any other signal, none may be left. If files may be left, a last run gets
no signal, and must end with exit code 0, the clean bundle and no files left.
"""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.attacks.clean import (
    TARGETS,
    Clean,
    broken_promises,
    differences,
    export_arguments,
    read_manifest,
    tree,
)
from benchmarks.attacks.independent import problems_elsewhere
from benchmarks.attacks.model_files import damaged_entries
from benchmarks.attacks.outcome import Outcome, Ran, judge_command
from benchmarks.attacks.place import HUBOPT, Place
from benchmarks.attacks.running import run_command
from benchmarks.attacks.striking import Kill, strike

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
KINDS = ("export", "repeat", "verify")
_REAL_TIMEOUT_S = 120.0
_DEFAULTS_SHARE = 0.1
"""How often an export also measures noise and latency, which takes longer."""


@dataclass(frozen=True, slots=True)
class KillCase:
    """A place and the kills in it.

    Attributes:
        number: The case.
        kind: ``export``: into an empty cache. ``repeat``: the same export again and again, over
            a cache that holds all, some or none of its stages. ``verify``: of a bundle.
        quick: Whether exports leave out noise and latency.
        kept: The share of the clean cache's entries that exist at the beginning.
        kills: The kills in their order.
    """

    number: int
    kind: str
    quick: bool
    kept: float
    kills: tuple[Kill, ...]


def draw_case(number: int, seed: int) -> KillCase:
    """Return the case with this number; the same number and seed give the same case."""
    draw = random.Random(f"kill/{seed}/{number}")
    kind = draw.choices(KINDS, [4, 3, 3])[0]
    count = {"export": draw.choice((1, 1, 2)), "repeat": draw.choice((3, 4)), "verify": 3}[kind]
    kills = tuple(
        Kill(
            signal=draw.choices(SIGNALS, [4, 2, 2, 1])[0],
            victim=draw.choices(("parent", "child", "group"), [5, 3, 2])[0],
            share=draw.uniform(0.0, 0.98),
            # The bundle is complete then, and about to be renamed.
            at_rename=kind != "verify" and draw.random() < 0.15,
            twice=draw.random() < 0.1,
            choice=draw.random(),
        )
        for _ in range(count)
    )
    quick = kind != "export" or draw.random() >= _DEFAULTS_SHARE
    kept = draw.choice((1.0, 1.0, 0.5)) if kind == "repeat" else 0.0
    return KillCase(number, kind, quick, kept, kills)


def try_case(
    case: KillCase,
    clean: Clean,
    work: Path,
    durations: dict[str, float],
    command: Sequence[str] = HUBOPT,
) -> list[Outcome]:
    """Run the case; return an outcome for each of its kills.

    Args:
        case: The case.
        clean: The models and the clean answers.
        work: A folder to work in, for this case alone.
        durations: How long a run of each kind takes without a signal, in seconds; updated with the
            durations that are seen.
        command: The command to run.
    """
    place = Place.make(work / "place")
    arguments = _prepare(case, clean, place)
    before = tree(place.output) if case.kind == "verify" else None
    outcomes: list[Outcome] = []
    may_leave_files = False  # whether files of a killed run may be left
    for at, kill in enumerate(case.kills):
        name = f"kill:{case.number}/{at}"
        usual = case.kind if case.quick else "defaults"
        struck = strike(kill, arguments, place, durations[usual], command)
        if not struck.landed:
            # It was faster than it usually is: the machine has become less busy.
            durations[usual] = (durations[usual] + struck.seconds) / 2
        may_leave_files = may_leave_files or (
            kill.signal is signal.SIGKILL and struck.victim in ("parent", "group")
        )
        good, faults = _judge(case, struck.ran, kill.signal, struck.victim, clean, place, before)
        if may_leave_files:
            faults.pop("folder left", None)
        detail = f"{struck.description}, exit {struck.ran.code}"
        kind = f"{case.kind} {kill.signal.name}"
        outcomes.append(
            Outcome(name, kind, detail, None if faults else good, faults, "", struck.landed,
                    round(struck.seconds, 2))
        )  # fmt: skip
        if case.kind != "verify":
            shutil.rmtree(place.output, ignore_errors=True)
    if may_leave_files or case.number % 4 == 0:
        outcomes.append(_last_run(case, arguments, clean, place, before, command))
    place.remove()
    return outcomes


def _prepare(case: KillCase, clean: Clean, place: Place) -> list[str]:
    if case.kind == "verify":
        shutil.copytree(clean.bundle("tiny"), place.output)
        return ["verify", str(place.output), "--json"]
    draw = random.Random(case.number)
    for entry in sorted(clean.stages.iterdir()) if case.kept else ():
        if draw.random() < case.kept:
            shutil.copytree(entry, place.stages / entry.name)
    return export_arguments(clean.model("tiny"), place.output, TARGETS, case.quick)


def _judge(
    case: KillCase,
    ran: Ran,
    sent: int | None,
    victim: str,
    clean: Clean,
    place: Place,
    before: object,
) -> tuple[str | None, dict[str, str]]:
    """Judge the state after a run; ``sent`` is None for a run without a signal."""
    # A signal that was sent only to a child must not end the command.
    good, faults = judge_command(ran, None if victim == "child" else sent)
    if strays := place.strays():
        faults["folder left"] = "; ".join(strays)
    damaged = damaged_entries(place)
    if case.kind == "verify":
        if tree(place.output) != before:
            damaged.append("the bundle that was verified has changed")
        good = good or ("right" if ran.code == 0 else "whole")
    elif place.output.exists():
        damaged += broken_promises(place.output)
        good = "right" if ran.code == 0 else "whole"
        if ran.code == 0 and not damaged and (wrong := _differences(case, place, clean)):
            faults["wrong verified"] = "; ".join(wrong)
    else:
        good = "absent"
        if ran.code == 0:
            faults["wrong verified"] = "exit 0, but there is no bundle"
    if damaged:
        faults["damaged"] = "; ".join(damaged)
    return good, faults


def _differences(case: KillCase, place: Place, clean: Clean) -> list[str]:
    bundle = clean.bundle("tiny")
    problems = differences(
        place.output, bundle, lambda: problems_elsewhere(place.output, bundle, "savedmodel")
    )
    missing = set(TARGETS) - read_manifest(place.output)["targets"].keys()
    if not case.quick:
        # Deeper measurements may change which samples are kept, and bring a float64 reference.
        problems = [problem for problem in problems if not problem.startswith("verification/")]
    return [*problems, *(f"{target} is missing" for target in sorted(missing))]


def _last_run(
    case: KillCase,
    arguments: Sequence[str],
    clean: Clean,
    place: Place,
    before: object,
    command: Sequence[str],
) -> Outcome:
    """Run once more without a signal: this must give the clean answer and remove all leftovers."""
    ran = run_command(arguments, place, _REAL_TIMEOUT_S, command)
    good, faults = _judge(case, ran, None, "none", clean, place, before)
    if ran.code != 0 and not faults:
        faults["wrong verified"] = f"the next run exits {ran.code}: {ran.err.strip()[-300:]}"
    return Outcome(
        f"kill:{case.number}/last",
        f"{case.kind}, the next run",
        f"no signal, after {len(case.kills)} kills, exit {ran.code}",
        None if faults else good,
        faults,
        counts=False,
    )
