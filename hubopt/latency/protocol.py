"""How latency is measured: separate processes, rounds taken in turn."""

from __future__ import annotations

import time
from typing import Protocol

from hubopt.exporter import Runner, Tensors

ROUNDS = 7
_ROUND_MS = 150.0
_MIN_CALLS = 3
_MAX_CALLS = 50
_WARMUP_CALLS = 3
_REST_S = 0.02
"""Between rounds: runtimes keep their threads spinning for some milliseconds after a call."""


class Timed(Protocol):
    """Something that was loaded and can be timed, here or in another process."""

    def time_calls(self, count: int) -> tuple[float, ...]:
        """Call it ``count`` times on the first sample; return each call's milliseconds."""
        ...


def time_calls(runner: Runner, inputs: Tensors, count: int) -> tuple[float, ...]:
    """Time ``count`` calls, arrays in and arrays out, each in milliseconds."""
    samples = []
    for _ in range(count):
        start = time.perf_counter()
        runner.run(inputs)
        samples.append(round((time.perf_counter() - start) * 1e3, 6))
    return tuple(samples)


def interleave(
    subjects: tuple[Timed, ...], rounds: int
) -> tuple[tuple[tuple[float, ...], ...], ...]:
    """Give each subject its turn in every round; return milliseconds by subject and round.

    A round takes about 150 ms for each subject, 3 to 50 calls. Who goes first alternates.
    Subjects whose rounds lie side by side meet the same load on the machine, so the ratio of
    a pair means something where the times alone do not.
    """
    counts = [_calls_per_round(subject) for subject in subjects]
    results: list[list[tuple[float, ...]]] = [[] for _ in subjects]
    order = list(range(len(subjects)))
    for at in range(rounds):
        for which in order if at % 2 == 0 else reversed(order):
            time.sleep(_REST_S)
            subjects[which].time_calls(1)  # wakes the caches; not counted
            results[which].append(subjects[which].time_calls(counts[which]))
    return tuple(tuple(each) for each in results)


def _calls_per_round(subject: Timed) -> int:
    fastest = min(subject.time_calls(_WARMUP_CALLS))
    return int(min(_MAX_CALLS, max(_MIN_CALLS, _ROUND_MS / max(fastest, 1e-6))))
