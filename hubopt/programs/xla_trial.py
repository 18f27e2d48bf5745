"""`try_xla`: whether XLA should compile a SavedModel, by a trial in a child process.

XLA can end the process, compile for minutes, give other values than the kernels, or be slower than
they are. TensorFlow's kernel registry shows none of that, so the SavedModel is compiled, compared
and timed before it is written as a compiled one.

Exporters may use this module.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from threading import Event, Timer

from hubopt.errors import HuboptError
from hubopt.exporter import Program, culprits
from hubopt.programs.xla_measuring import Measured, cannot_compile, measure
from hubopt.workers.worker import Worker, temporary_log

__all__ = ["XlaChoice", "cannot_compile", "choose", "slowdown", "try_xla"]

LIMIT_S = 120.0
"""The longest time that a trial takes, TensorFlow's import included."""
GAIN = 1.1
"""How many times as fast as the uncompiled SavedModel the compiled one must be. On a near tie the
uncompiled one is preferred: it computes as the layer does, and its first call need not compile."""


@dataclass(frozen=True, slots=True)
class XlaChoice:
    """Whether XLA compiles a SavedModel.

    Attributes:
        is_compiled: Whether it does.
        why: What decided that.
    """

    is_compiled: bool
    why: str

    def __str__(self) -> str:
        return f"{'on' if self.is_compiled else 'off'}: {self.why}"


def try_xla(program: Program, saved_model: Path, limit_s: float = LIMIT_S) -> XlaChoice:
    """Compile a SavedModel in a child process, compare it with itself uncompiled, and time both.

    Args:
        program: The program that the SavedModel was written from.
        saved_model: A SavedModel that is not compiled.
        limit_s: When to give up, in seconds.
    """
    missing = culprits(use for use in program.ops if not use.xla)
    if missing:
        ops = ", ".join(use.op for use in missing)
        return XlaChoice(False, f"XLA has no kernel for {ops}")
    with temporary_log() as log, Worker(log, imports=("tensorflow",)) as worker:
        try:
            with _deadline(worker, limit_s) as expired:
                measured = worker.call(measure, saved_model, program.spec, dict(program.domains))
        except HuboptError as error:
            sys.stderr.write(log.read_text(errors="replace"))  # goes to the log of the export
            if expired.is_set():
                return XlaChoice(False, f"XLA took more than {limit_s:.0f} s in a trial")
            return XlaChoice(False, f"the trial failed: {_first_sentence(error)}")
    return choose(measured)


def choose(measured: Measured) -> XlaChoice:
    """Return what follows from a trial that ended by itself."""
    if measured.problem is not None:
        return XlaChoice(False, measured.problem)
    slower = slowdown(measured.plain_ms, measured.compiled_ms)
    if slower >= GAIN:
        return XlaChoice(False, f"{_times(slower)} slower than uncompiled")
    if slower > 1 / GAIN:
        return XlaChoice(False, f"no faster than uncompiled ({1 / slower:.2f}x its speed)")
    return XlaChoice(True, f"{_times(1 / slower)} faster than uncompiled")


def slowdown(plain_ms: Sequence[float], compiled_ms: Sequence[float]) -> float:
    """Return how many times as long as the uncompiled calls the compiled ones take.

    This is the median of the rounds' quotients: both times of a round meet the same load on the
    machine, so a quotient means something even where the times alone do not.
    """
    return median(compiled / plain for plain, compiled in zip(plain_ms, compiled_ms, strict=True))


@contextmanager
def _deadline(worker: Worker, limit_s: float) -> Iterator[Event]:
    """Kill a child after a time; the event that is yielded is set then."""
    expired = Event()

    def end() -> None:
        expired.set()
        worker.kill()

    timer = Timer(limit_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()


def _first_sentence(error: HuboptError) -> str:
    """Return what happened to the child, without the end of its log."""
    return error.found.splitlines()[0].partition("; it last said:")[0]


def _times(quotient: float) -> str:
    return f"{quotient:.0f}x" if quotient >= 9.95 else f"{quotient:.1f}x"
