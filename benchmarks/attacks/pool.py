"""Runs file attacks in several processes, and kills in several threads, until time is up."""

from __future__ import annotations

import multiprocessing
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from pathlib import Path

from benchmarks.attacks.clean import Clean
from benchmarks.attacks.controls import failed_controls
from benchmarks.attacks.files import try_file
from benchmarks.attacks.kills import draw_case, try_case
from benchmarks.attacks.outcome import Outcome
from benchmarks.attacks.running import preload

Report = Callable[[str, Sequence[Outcome]], None]
_LIFE = 400
"""How many cases one process tries; then a new process starts, so that leaks do not add up."""


def attack_files(
    numbers: Sequence[int],
    seed: int,
    clean: Clean,
    work: Path,
    jobs: int,
    report: Report,
    until: float,
) -> None:
    """Try file cases, each in a fork of one of ``jobs`` processes.

    Args:
        numbers: The cases.
        seed: The seed of the run.
        clean: The undamaged files.
        work: A folder to work in.
        jobs: The number of cases at a time.
        report: Called with each case and its outcomes.
        until: The `time.monotonic` after which no case begins.

    Raises:
        SystemExit: The same commands do not give the clean answers on undamaged files.
    """
    # A spawned process has one thread, so that its forks lack none.
    context = multiprocessing.get_context("spawn")
    left = list(numbers)
    if not left:
        return
    with ProcessPoolExecutor(1, context, initializer=preload) as pool:
        if failed := pool.submit(failed_controls, clean, work).result():
            raise SystemExit("undamaged files are not accepted:\n" + "\n".join(failed))
    while left and time.monotonic() < until:
        part, left = left[: _LIFE * jobs], left[_LIFE * jobs :]
        with ProcessPoolExecutor(jobs, context, initializer=preload) as pool:
            calls = (
                (f"file:{n}", lambda n=n: _submit_file(pool, n, seed, clean, work)) for n in part
            )
            _run_all(calls, jobs, report, until)


def attack_by_kills(
    numbers: Iterator[int],
    seed: int,
    clean: Clean,
    work: Path,
    jobs: int,
    report: Report,
    until: float,
    durations: dict[str, float],
) -> None:
    """Try kill cases, ``jobs`` at a time; see `attack_files`.

    Args:
        numbers: The cases; ends when there were enough kills.
        seed: The seed of the run.
        clean: The undamaged files.
        work: A folder to work in.
        jobs: The number of cases at a time.
        report: Called with each case and its outcomes.
        until: The `time.monotonic` after which no case begins.
        durations: How long a run of each kind takes without a signal.
    """
    with ThreadPoolExecutor(jobs) as pool:

        def begin(number: int) -> Future[list[Outcome]]:
            return pool.submit(_kill, number, seed, clean, work, durations)

        calls = ((f"kill:{n}", lambda n=n: begin(n)) for n in numbers)
        _run_all(calls, jobs, report, until)


def _run_all(
    calls: Iterator[tuple[str, Callable[[], Future[list[Outcome]]]]],
    jobs: int,
    report: Report,
    until: float,
) -> None:
    """Run the calls, ``jobs`` at a time."""
    running: dict[Future[list[Outcome]], str] = {}
    while True:
        while len(running) < jobs and time.monotonic() < until:
            following = next(calls, None)
            if following is None:
                break
            running[following[1]()] = following[0]
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            report(running.pop(future), future.result())


def _submit_file(
    pool: Executor, number: int, seed: int, clean: Clean, work: Path
) -> Future[list[Outcome]]:
    return pool.submit(_file, number, seed, clean, work)


def _file(number: int, seed: int, clean: Clean, work: Path) -> list[Outcome]:
    folder = work / f"file-{number}"
    try:
        return [try_file(number, seed, clean, folder)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _kill(
    number: int, seed: int, clean: Clean, work: Path, durations: dict[str, float]
) -> list[Outcome]:
    folder = work / f"kill-{number}"
    try:
        return try_case(draw_case(number, seed), clean, folder, durations)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
