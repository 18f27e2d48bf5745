"""Runs a command and measures its wall time and the peak memory of its whole process tree.

Memory is PSS, the proportional set size: a page that several processes share counts once, divided
among them. The peak is the largest *sum* over all processes of the tree at any one instant, not the
sum of their peaks. Anonymous memory is read every 50 ms, so that a shorter spike can be missed.
Shared memory, mainly mapped files, is read whenever a process begins or ends, and a few times a
second: to measure it, the kernel looks at every page (``/proc/PID/smaps_rollup``), which takes
milliseconds of a processor that the command itself could use. Pages of files in the kernel's cache
count only while a process has them mapped.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from benchmarks.cost.processes import Mapped, Process, Tree

GB = 1e9
INTERVAL_S = 0.05
_SHARE = 24
"""After reading shared memory for t seconds, wait this many times t, to limit the overhead."""
_STAGE = re.compile(r"^ *(\d+\.\d) s  (\S.*)$")
"""A line in which hubopt reports the duration of a stage."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The time and memory beyond which a command's process tree is killed."""

    seconds: float = 900
    peak_bytes: float = 18 * GB


@dataclass(frozen=True, slots=True)
class ProcessCost:
    """The cost of one process of the tree.

    Attributes:
        label: Its command, shortened.
        start_s: When it was first seen, in seconds after the command began.
        end_s: When it was last seen, in the same seconds.
        cpu_s: Its processor time on all cores.
        peak_rss_bytes: Its largest resident memory, including shared pages.
    """

    label: str
    start_s: float
    end_s: float
    cpu_s: float
    peak_rss_bytes: int


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one command.

    Attributes:
        seconds: Wall time, from its start to its end.
        peak_bytes: The peak memory of the whole process tree, see above.
        problem: Why it counts as failed; None if it succeeded.
        processes: The processes of the tree, in the order in which they began.
        stages: The stages that hubopt reports: seconds and name.
    """

    seconds: float
    peak_bytes: float
    problem: str | None = None
    processes: tuple[ProcessCost, ...] = ()
    stages: tuple[tuple[float, str], ...] = ()


def measure(
    command: Sequence[str | Path],
    limits: Limits | None = None,
    environment: Mapping[str, str] | None = None,
    makes: Path | None = None,
) -> Cost:
    """Run ``command`` to its end in its own session.

    Args:
        command: The program and its arguments.
        limits: The limits beyond which the tree is killed.
        environment: Variables in addition to those of this process.
        makes: What must exist afterwards; else the command has failed, whatever its exit code.
    """
    with tempfile.TemporaryFile() as log:
        start = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        sampler = _Sampler(process.pid, start, limits or Limits())
        sampler.start()
        try:
            code = process.wait()
            seconds = time.perf_counter() - start
        finally:
            sampler.stop()
        log.seek(0)
        text = log.read().decode(errors="replace")
    problem = sampler.problem or _problem(code, text)
    if not problem and makes and not makes.exists():
        problem = f"exit 0, but nothing was written; it last said: {_last_line(text)}"
    stages = (_STAGE.match(line) for line in text.splitlines())
    return Cost(
        seconds=seconds,
        peak_bytes=sampler.peak_bytes,
        problem=problem,
        processes=sampler.processes,
        stages=tuple((float(found[1]), found[2]) for found in stages if found),
    )


def middle(costs: Sequence[Cost]) -> Cost:
    """Return the medians of the runs of one command, or a run that failed.

    Processes and stages are those of the run whose time is closest to the median.
    """
    for cost in costs:
        if cost.problem:
            return cost
    seconds = median(cost.seconds for cost in costs)
    typical = min(costs, key=lambda cost: abs(cost.seconds - seconds))
    return replace(typical, seconds=seconds, peak_bytes=median(cost.peak_bytes for cost in costs))


def one_after_the_other(costs: Iterable[Cost]) -> Cost:
    """Return the cost of several commands in sequence: the sum of the times, the largest peak."""
    parts = tuple(costs)
    return Cost(
        seconds=sum(cost.seconds for cost in parts),
        peak_bytes=max(cost.peak_bytes for cost in parts),
        problem=next((cost.problem for cost in parts if cost.problem), None),
    )


class _Sampler(threading.Thread):
    """Watches a process tree in a thread, so that the command's end is seen at once."""

    def __init__(self, leader: int, start: float, limits: Limits) -> None:
        super().__init__(daemon=True)
        self.problem: str | None = None
        self.peak_bytes = 0
        self._tree = Tree(leader)
        self._start = start
        self._limits = limits
        self._watched: dict[tuple[int, int], _Watched] = {}
        self._mapped: dict[tuple[int, int], Mapped | None] = {}
        self._next_look_s = 0.0
        self._ended = threading.Event()

    @property
    def processes(self) -> tuple[ProcessCost, ...]:
        """The cost of each process."""
        return tuple(watched_process.cost() for watched_process in self._watched.values())

    def run(self) -> None:
        """Sample until the command ends or must be killed."""
        pause = 0.0
        while not self._ended.wait(pause):
            elapsed = time.perf_counter() - self._start
            self._sample(elapsed)
            if elapsed > self._limits.seconds:
                self.problem = f"killed after {self._limits.seconds:.0f} s"
            elif self.peak_bytes > self._limits.peak_bytes:
                limit = self._limits.peak_bytes / GB
                self.problem = f"killed when its processes took more than {limit:.3g} GB"
            if self.problem:
                self._tree.kill()
                return
            pause = INTERVAL_S

    def stop(self) -> None:
        """End the sampling, and all processes that the command has left running."""
        self._ended.set()
        self.join()
        self._tree.kill()

    def _sample(self, elapsed: float) -> None:
        members = self._tree.members()
        if {
            process.key for process in members
        } != self._mapped.keys() or elapsed > self._next_look_s:
            before = time.perf_counter()
            self._mapped = {process.key: process.mapped() for process in members}
            self._next_look_s = elapsed + _SHARE * (time.perf_counter() - before)
        total = 0
        for process in members:
            watched = self._watched.setdefault(process.key, _Watched(elapsed))
            watched.see(process, elapsed)
            mapped, anonymous = self._mapped[process.key], process.anonymous_bytes()
            if mapped is None:  # the process is gone, or the kernel does not report it
                total += process.rss_bytes if process.is_there else 0
            elif anonymous is not None:
                total += max(0, anonymous - mapped.others_bytes) + mapped.files_bytes
        self.peak_bytes = max(self.peak_bytes, total)


@dataclass(slots=True)
class _Watched:
    """The measurements of a process so far."""

    start_s: float
    end_s: float = 0
    cpu_s: float = 0
    peak_rss_bytes: int = 0
    label: str = ""

    def see(self, process: Process, elapsed: float) -> None:
        # A process has its parent's command until it has loaded its own program.
        if elapsed - self.start_s < 1:
            self.label = process.label or self.label
        self.end_s, self.cpu_s = elapsed, process.cpu_s
        self.peak_rss_bytes = max(self.peak_rss_bytes, process.rss_bytes)

    def cost(self) -> ProcessCost:
        return ProcessCost(self.label, self.start_s, self.end_s, self.cpu_s, self.peak_rss_bytes)


def _problem(code: int, text: str) -> str | None:
    if code == 0:
        return None
    how = f"exit {code}" if code > 0 else f"ended by signal {-code}"
    return f"{how}; it last said: {_last_line(text)}"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [
        line for line in lines if not line.startswith("bundle: ")
    ]  # hubopt prints it after the reason
    return lines[-1][:300] if lines else "nothing"
