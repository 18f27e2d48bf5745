"""The measurement of latency: separate processes, rounds in alternation."""

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
"""The pause between rounds: runtimes keep threads spinning for some milliseconds after a call."""


class Timed(Protocol):
    """Something loaded that can be timed, in this or in another process."""

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
    """Time every subject once in every round; return milliseconds by subject and round.

    A round takes about 150 ms for each subject, 3 to 50 calls. Every other round goes through
    the subjects in reverse order. Adjacent measurements meet the same load on the machine, so the
    ratio of a pair means something even where the times alone do not.
    """
    counts = [_calls_per_round(subject) for subject in subjects]
    results: list[list[tuple[float, ...]]] = [[] for _ in subjects]
    order = list(range(len(subjects)))
    for round_index in range(rounds):
        for index in order if round_index % 2 == 0 else reversed(order):
            time.sleep(_REST_S)
            subjects[index].time_calls(1)  # warms the caches; not counted
            results[index].append(subjects[index].time_calls(counts[index]))
    return tuple(tuple(timings) for timings in results)


def _calls_per_round(subject: Timed) -> int:
    fastest = min(subject.time_calls(_WARMUP_CALLS))
    return int(min(_MAX_CALLS, max(_MIN_CALLS, _ROUND_MS / max(fastest, 1e-6))))
