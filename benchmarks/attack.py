"""Kills and damaged files: what hubopt does when it is interrupted or given untrusted files.

    make attack     or      python -m benchmarks.attack [--kills N] [--files N] [--seed S]
                            [--minutes M] [--state FILE] [--jobs N] [--kind KIND] [--case CASE]

Kills: the real command, in its own session, gets SIGKILL, SIGTERM, SIGINT or SIGHUP at a random
moment of its usual duration, or when its bundle is complete and about to be renamed. The signal
goes to the command itself, to one of its children, or to all of them, and sometimes twice. `export`
begins with an empty cache; `repeat` is the same export again and again over one cache; `verify`
runs a bundle's artifacts. Afterwards the output is whole, by its manifest's digests, or absent. No
process, staging folder or temporary file is left; those of a command that SIGKILL ended may stay
until the next run. Every entry of the cache is whole. A run with exit code 0 gives the clean
bundle, byte for byte (a SavedModel is compared by its answers, because TensorFlow sometimes numbers
its functions differently).

Files: SavedModels, Keras files, artifacts, manifests, samples and cache entries get flipped bits,
exchanged blocks, or changed lengths and types, with correct digests or without. The command line
runs in a fork of a process that has imported TensorFlow, and so do the children that hubopt starts:
the same code, processes, pipes and exit codes, without the import. This does not cover: the start
of Python and of TensorFlow themselves, variables that are read when TensorFlow is imported, signal
handlers of a fresh process, and SIGKILL by the kernel when memory runs out, because each process is
limited to 8 GB of address space. So one case of fifty runs as the real command from the beginning,
and every fault seen in a fork is tried again with the real command, which decides. A fault that the
real command does not repeat is listed separately.

Before the attacks, the same commands run on undamaged files and must give the clean answers: a
hubopt that refuses everything would look safe. Exit code 0 is not trusted. Artifacts that were
verified are run here on the clean samples and compared with the clean answers by NumPy alone.
Exports of damaged models that load are compared with the damaged model's own layer. Exports over a
damaged cache are compared with the clean bundle, byte for byte.

No check can detect a manifest that lies consistently, with samples, reference, digests and artifact
all of another model, or a sealed cache entry with other numbers.

Finished cases are kept in the state file, and running again continues with the rest. If the code
has changed in the meantime, this is reported; remove the file to begin again. `--case file:12` or
`kill:7` repeats one case. Exit code 0: no fault; 1: faults, which are listed; 3: not all cases were
tried. Linux only: it reads /proc.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.attacks.clean import Clean, export_arguments, prepare
from benchmarks.attacks.files import ATTACKS, kind_of, try_file
from benchmarks.attacks.kills import draw_case, try_case
from benchmarks.attacks.outcome import Outcome
from benchmarks.attacks.place import Place
from benchmarks.attacks.pool import attack_by_kills, attack_files
from benchmarks.attacks.report import exit_code, show
from benchmarks.attacks.running import preload, run_command
from benchmarks.attacks.state import State
from benchmarks.models import CACHE
from hubopt.exporting.stage_keys import code_digest

_EXIT_UNFINISHED = 3
_TIMEOUT_S = 300.0


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark with these arguments; return the exit code."""
    options = _parse(arguments)
    _stop_ignoring_signals()
    until = time.monotonic() + (options.minutes * 60 if options.minutes else float("inf"))
    with tempfile.TemporaryDirectory(prefix="attack-") as folder:
        work = Path(folder)
        _print("make the models and their bundles")
        clean = prepare(work / "clean")
        if options.case:
            outcomes = [
                outcome for case in options.case for outcome in _repeat(case, options, clean, work)
            ]
            finished = True
        else:
            state = State(options.state, options.seed, code_digest("hubopt"))
            if state.stale:
                _print(f"{state.stale} cases in {options.state} were tried on other code")
            finished = _attack(state, options, clean, work, until)
            outcomes = state.outcomes
    show(outcomes, Console(width=max(Console().width, 200)))
    return exit_code(outcomes) or (0 if finished else _EXIT_UNFINISHED)


def _stop_ignoring_signals() -> None:
    """Stop ignoring signals, as a process in the background does, so that commands get them.

    A command inherits ignored signals and would not notice them; it does not inherit handlers.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda number, frame: None)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attack")
    parser.add_argument("--kills", type=int, default=300, help="300 by default")
    parser.add_argument("--files", type=int, default=10_000, help="10000 by default")
    parser.add_argument("--seed", type=int, default=0, help="seed of all random choices")
    parser.add_argument(
        "--minutes", type=float, help="begin no case after that; no limit by default"
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=os.cpu_count() or 1,
        help="cases at a time; as many as cores by default",
    )
    parser.add_argument(
        "--state", type=Path, default=CACHE / "attack.jsonl", help="the file of finished cases"
    )
    parser.add_argument(
        "--kind", choices=ATTACKS, action="append", help="kind of files to attack; all by default"
    )
    parser.add_argument(
        "--case", action="append", help="only this one, such as file:12 or kill:7; repeatable"
    )
    return parser.parse_args(arguments)


def _attack(
    state: State, options: argparse.Namespace, clean: Clean, work: Path, until: float
) -> bool:
    """Try the cases that are not done yet; return whether all are done."""
    record = _CaseLog(state)
    if _kills_done(state) < options.kills:
        numbers = _kill_numbers(state, options.kills)
        durations = measure_durations(clean, work / "durations", options.jobs)
        attack_by_kills(numbers, options.seed, clean, work, options.jobs, record, until, durations)
    left = [
        number
        for number in range(options.files)
        if f"file:{number}" not in state.done
        and kind_of(number, options.seed) in (options.kind or ATTACKS)
    ]
    attack_files(left, options.seed, clean, work, options.jobs, record, until)
    left = [number for number in left if f"file:{number}" not in state.done]
    return not left and _kills_done(state) >= options.kills


def _kill_numbers(state: State, wanted: int) -> Iterator[int]:
    """Yield case numbers until enough kills have landed."""
    for number in itertools.count():
        if _kills_done(state) >= wanted:
            return
        if f"kill:{number}" not in state.done:
            yield number


def _kills_done(state: State) -> int:
    return sum(outcome.counts for outcome in state.outcomes if outcome.case.startswith("kill:"))


def measure_durations(clean: Clean, work: Path, jobs: int) -> dict[str, float]:
    """Time each kind of run without a signal, corrected for how busy the machine will be.

    Args:
        clean: The models.
        work: A folder to work in.
        jobs: How many runs there will be at a time; they compete for the cores.
    """
    place = Place.make(work)
    model, found = clean.model("tiny"), {}
    for name, words, keep in (
        ("export", export_arguments(model, place.output), True),
        ("verify", ["verify", str(place.output)], False),
        ("repeat", export_arguments(model, place.output), False),
        ("defaults", export_arguments(model, place.output, quick=False), False),
    ):
        if name == "defaults":
            shutil.rmtree(place.stages)  # this run begins with an empty cache
        start = time.monotonic()
        ran = run_command(words, place, _TIMEOUT_S)
        if ran.code not in (0, 3):
            raise SystemExit(f"{' '.join(words)} exits {ran.code}: {ran.err}")
        found[name] = (time.monotonic() - start) * (1.0 if jobs == 1 else 1.3)
        if not keep:
            shutil.rmtree(place.output)
    place.remove()
    return found


def _repeat(case: str, options: argparse.Namespace, clean: Clean, work: Path) -> Sequence[Outcome]:
    part, _, number = case.partition(":")
    if part == "kill":
        durations = measure_durations(clean, work / "durations", 1)
        # All kills of a case are repeated, because the later ones find what the earlier ones left.
        drawn = draw_case(int(number.partition("/")[0]), options.seed)
        return try_case(drawn, clean, work / "case", durations)
    preload()
    return [try_file(int(number), options.seed, clean, work / "case")]


class _CaseLog:
    """Stores finished cases and reports the progress."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._start = time.monotonic()
        self._count = 0

    def __call__(self, case: str, outcomes: Sequence[Outcome]) -> None:
        self._state.add(case, outcomes)
        self._count += 1
        for outcome in outcomes:
            for fault, text in outcome.faults.items():
                _print(f"{fault}: {outcome.case} {outcome.kind}: {outcome.detail}: {text[:200]}")
        if self._count % 100 == 0:
            _print(f"{self._count} cases in {time.monotonic() - self._start:.0f} s")


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
