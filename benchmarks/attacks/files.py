"""One file attack: drawn from its number, tried in a fork, and by the real command if needed."""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.attacks.attempt import Attempt
from benchmarks.attacks.bundle_files import attack_artifact, attack_manifest, attack_samples
from benchmarks.attacks.clean import Clean, tree
from benchmarks.attacks.model_files import attack_keras, attack_saved_model, attack_stages
from benchmarks.attacks.outcome import Outcome, Ran, judge_command
from benchmarks.attacks.place import Place
from benchmarks.attacks.running import run_command, run_forked

Attack = Callable[[random.Random, Clean, Place], Attempt]
EVERY_REAL = 50
"""Every case whose number is a multiple of this is tried by the real command."""
FORK_TIMEOUT_S, REAL_TIMEOUT_S = 25.0, 90.0
ATTACKS: Mapping[str, tuple[int, Attack]] = {
    "saved_model.pb": (14, functools.partial(attack_saved_model, "saved_model.pb")),
    "variables": (10, functools.partial(attack_saved_model, "variables")),
    ".keras": (10, functools.partial(attack_keras, ".keras")),
    ".h5": (8, functools.partial(attack_keras, ".h5")),
    "onnx": (14, functools.partial(attack_artifact, "onnx")),
    "tflite": (14, functools.partial(attack_artifact, "tflite")),
    "savedmodel": (4, functools.partial(attack_artifact, "savedmodel")),
    "manifest": (13, attack_manifest),
    "npz": (9, attack_samples),
    "stage entry": (4, attack_stages),
}
"""Each kind of attack and how often it is drawn, out of 100."""


def try_file(number: int, seed: int, clean: Clean, work: Path) -> Outcome:
    """Try one case; if a fork shows a fault, try again with the real command, which decides.

    Args:
        number: The case.
        seed: The seed of the whole run.
        clean: The undamaged files.
        work: A folder to work in, for this process alone.
    """
    if number % EVERY_REAL == 0:
        return _try(number, seed, clean, work, real=True)
    outcome = _try(number, seed, clean, work, real=False)
    if not outcome.faults:
        return outcome
    seen = "; ".join(f"{name}: {text[-150:]}" for name, text in outcome.faults.items())
    real = _try(number, seed, clean, work, real=True)
    word = "in a fork too" if real.faults else "only in a fork"
    return Outcome(
        real.case,
        real.kind,
        real.detail,
        real.good,
        real.faults,
        f"{word}: {seen}",
        seconds=outcome.seconds + real.seconds,
    )


def draw_attempt(number: int, seed: int, clean: Clean, place: Place) -> Attempt:
    """Make the attempt of a case; the same number and seed give the same attempt."""
    draw = random.Random(f"{seed}/{number}")
    return ATTACKS[_draw_kind(draw)][1](draw, clean, place)


def kind_of(number: int, seed: int) -> str:
    """Return the kind of attack of a case, one of `ATTACKS`."""
    return _draw_kind(random.Random(f"{seed}/{number}"))


def _draw_kind(draw: random.Random) -> str:
    return draw.choices(list(ATTACKS), [weight for weight, _ in ATTACKS.values()])[0]


def _try(number: int, seed: int, clean: Clean, work: Path, real: bool) -> Outcome:
    start = time.monotonic()
    place = Place.make(work / "place")
    attempt = draw_attempt(number, seed, clean, place)
    before = tree(attempt.unchanged) if attempt.unchanged else {}
    if real:
        ran = run_command(attempt.arguments, place, REAL_TIMEOUT_S, limited=True)
    else:
        ran = run_forked(attempt.arguments, place, FORK_TIMEOUT_S)
    good, faults = judge(attempt, ran, place, before)
    place.remove()
    return Outcome(
        f"file:{number}",
        attempt.kind,
        attempt.detail,
        good,
        faults,
        "by the real command" if real else "",
        seconds=round(time.monotonic() - start, 2),
    )


def judge(
    attempt: Attempt, ran: Ran, place: Place, before: Mapping[str, str]
) -> tuple[str | None, Mapping[str, str]]:
    """Judge what a command did with the attempt.

    Args:
        attempt: What was tried.
        ran: What the command did.
        place: Where it ran.
        before: The digests of the files that it must leave as they are.
    """
    good, found = judge_command(ran)
    faults = dict(found)
    if "exit 1" in faults and (text := place.last_traceback()):
        faults["exit 1"] = f"{faults['exit 1'][:200]}: {text}"
    if (place.here / "ran").exists():
        faults["wrong verified"] = "code that a file carried has run"
    # A command that hangs was ended by SIGKILL, which may leave files.
    if ran.code is not None and (strays := place.strays()):
        faults["folder left"] = "; ".join(strays)
    if attempt.unchanged and tree(attempt.unchanged) != before:
        faults["damaged"] = "the command has changed the bundle"
    if ran.code == 0 and not faults:
        good, worth = attempt.worth(ran)
        faults.update(worth)
    if ran.code not in (0, None) and attempt.arguments[0] == "export" and place.output.exists():
        from benchmarks.attacks.clean import broken_promises

        if broken := broken_promises(place.output):
            faults["damaged"] = "; ".join(broken)
    return (None if faults else good), faults
