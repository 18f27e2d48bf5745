"""Choosing samples that activate the units of a network and are sensitive to its weights.

A comparison sees only what a sample reaches: behind a rectifier that is never positive, a weight
may have any value. In a trained MobileNetV2, random inputs leave one rectified channel in fifty
inactive. So more samples are drawn than are kept. The samples that reach most are kept, and some
more are made by following the gradient towards inactive units. If no input has a gradient, as
with tokens, many more samples are drawn instead. Some that reach more are taken from those, and
others are made by crossing them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import or_
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hubopt._platform.causes import first_line
from hubopt.exporter import Program, Tensors
from hubopt.reference.choosing import Reached, choose, choose_more, count_flags, half
from hubopt.reference.crossing import Sample, improve
from hubopt.reference.units import RECTIFIERS, Flags
from hubopt.sampling.arrays import read_samples
from hubopt.spec import TensorSpec

_MADE = 4
_STEPS = 8
_POOL, _BLIND_POOL = 2, 16
"""How many times more samples are drawn than are kept: if inputs have a gradient, and if not."""
_SMALL_BYTES = 2**24
"""The largest graph that is run many times over. For a larger one, inactive units are only
counted."""
_MOST_BYTES = 10**9
"""The largest graph that is loaded beside the layer to find inactive units."""
_DEAD = 1e-30
"""The smallest effect of a weight on the outputs that counts as more than none."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """The chosen samples and what they reach.

    Attributes:
        chosen: The indices of the chosen samples in the pool.
        made: Additional samples, which were made or taken from the pool.
        units: How many rectified units the network has.
        inactive: How many units none of these samples activates.
        weights: How many weights were examined, see `hubopt.reference.sensitivity`.
        undetected: How many weights could change sign on these samples without exceeding the
            tolerance.
        problem: Why no more samples could be made; None if there was no problem.
        cut: What was left out when the time was over; None if nothing was. The counts then are
            those of the samples that were examined.
        crash: How the process that chooses the samples ended; None if it did not crash.
    """

    chosen: tuple[int, ...]
    made: tuple[Sample, ...] = ()
    units: int = 0
    inactive: int = 0
    weights: int = 0
    undetected: int = 0
    problem: str | None = None
    crash: str | None = None
    cut: str | None = None


def can_cover(program: Program) -> bool:
    """Whether the program has rectifiers or weights that can be examined."""
    return 0 < program.frozen_bytes <= _MOST_BYTES and (
        _is_small(program) or any(use.op in RECTIFIERS for use in program.ops)
    )


def pool_size(program: Program, count: int) -> int:
    """Return how many samples to draw if ``count`` of them will be kept."""
    if not can_cover(program) or not _is_small(program):
        return count
    return count * (_POOL if any(map(_has_gradient, program.spec.inputs)) else _BLIND_POOL)


def _is_small(program: Program) -> bool:
    return program.frozen_bytes <= _SMALL_BYTES


def _has_gradient(spec: TensorSpec) -> bool:
    return "float" in spec.dtype


class _TimeOverError(Exception):
    """The time for choosing samples is over."""


def cover(
    program: Program, pool: Path, count: int, make: bool, budget_s: float | None = None
) -> Coverage:
    """Choose ``count`` samples that reach as much as possible, and find some more.

    Args:
        program: The traced layer.
        pool: The file of the samples to choose from, at least ``count``.
        count: How many to choose.
        make: Whether to find more samples: made by gradient if there are float inputs, else taken
            from the pool or crossed.
        budget_s: The time after which the rest is left out; None for no limit. One sample is
            examined in any case.
    """
    start = time.monotonic()
    samples = read_samples(pool, program.spec.inputs)
    graph = _Graph(program, None if budget_s is None else start + budget_s)
    if not graph:
        return Coverage(tuple(range(count)))
    reached, is_cut = _examine(graph, samples, count)
    chosen = choose(reached, min(count, len(reached))) + list(range(len(reached), count))
    seen = reduce(or_, (reached[at] for at in chosen if at < len(reached)))
    more: list[Sample] = []
    problem = None
    if make and _is_small(program) and not is_cut:
        climbs = any(map(_has_gradient, program.spec.inputs))
        find = _climbs if climbs else _crosses
        try:
            for sample, gained in find(graph, samples, reached, chosen, seen):
                more.append(sample)
                seen |= gained
        except _TimeOverError:
            is_cut = True
        except Exception as error:  # an operation without a gradient may raise anything
            problem = f"{type(error).__name__}: {first_line(error)}"
    inactive, weights = int((~seen.units).sum()), graph.weights.count
    hidden = weights - count_flags(seen.weights)
    asked = f"{len(reached)} of {len(samples)} samples examined, {len(more)} made"
    cut = f"after {budget_s:.0f} s: {asked}" if is_cut else None
    return Coverage(
        tuple(chosen),
        tuple(more),
        seen.units.size,
        inactive,
        weights,
        hidden,
        problem,
        cut=cut,
    )


def _examine(graph: _Graph, samples: Sequence[Tensors], count: int) -> tuple[list[Reached], bool]:
    """Return what the first samples reach, and whether the time was over before the last one."""
    reached: list[Reached] = []
    try:
        for sample in samples:
            reached.append(graph.reached(sample))
            if len(reached) in (1, half(count)):  # these samples are chosen in any case
                graph.forget(reduce(or_, reached))
            if len(reached) >= half(count) and graph.is_all(reduce(or_, reached)):
                break  # the other samples cannot reach more
    except _TimeOverError:
        return reached, True
    return reached, False


def _climbs(
    graph: _Graph,
    samples: Sequence[Tensors],
    reached: Sequence[Reached],
    chosen: Sequence[int],
    seen: Reached,
) -> Iterator[tuple[Sample, Reached]]:
    """Yield samples made by gradient; each one activates units that no sample before it does."""
    for at in chosen[:_MADE]:
        sample = None if seen.units.all() else graph.climb(samples[at], seen)
        if sample is None:
            return
        gained = graph.reached(sample)
        seen |= gained
        yield sample, gained


def _crosses(
    graph: _Graph,
    samples: Sequence[Sample],
    reached: Sequence[Reached],
    chosen: Sequence[int],
    seen: Reached,
) -> Iterator[tuple[Sample, Reached]]:
    """Yield samples of the pool, then crossed ones; each one reaches more than those before it."""
    for at in choose_more(reached, seen, min(_MADE, len(chosen))):
        seen |= reached[at]
        yield samples[at], reached[at]
    for at in chosen[:_MADE]:
        if graph.is_all(seen):
            return
        sample = graph.cross(samples[at], samples, seen, at)
        gained = graph.reached(sample)
        if any(gained.beyond(seen)):
            seen |= gained
            yield sample, gained


class _Graph:
    """A program's frozen graph; false if it has neither units nor weights to reach."""

    def __init__(self, program: Program, deadline: float | None = None) -> None:
        from hubopt.programs.graphs.frozen_graph import read_frozen_graph
        from hubopt.programs.graphs.graph_runs import GraphRunner
        from hubopt.reference.sensitivity import Weights
        from hubopt.reference.units import Units
        from hubopt.reference.wide_kernels import mark_convolutions

        frozen = read_frozen_graph(program)
        mark_convolutions(frozen.graph_def)
        # If each weight is examined, read the arrays only once.
        arrays = dict(frozen.arrays()) if _is_small(program) else frozen.arrays()
        names = [tensor.name for tensor in program.spec.inputs]
        fed = dict(zip(names, program.input_tensors, strict=True))
        self._runner = GraphRunner(frozen.graph_def, fed, arrays)
        self._deadline, self._has_run = deadline, False
        self._specs, self._places = program.spec.inputs, program.input_tensors
        self.units = Units(self._runner.graph)
        outputs = program.output_tensors if _is_small(program) else ()
        self.weights = Weights(self._runner, outputs, arrays)

    def __bool__(self) -> bool:
        return bool(self.units.tensors or self.weights.count)

    def reached(self, sample: Tensors) -> Reached:
        """Return what ``sample`` reaches; nothing if the graph refuses it."""
        awake, effects = self._run(sample)
        return Reached(awake, np.packbits(effects >= 1))

    def is_all(self, seen: Reached) -> bool:
        """Whether all units and weights are ``seen``."""
        return bool(seen.units.all()) and count_flags(seen.weights) == self.weights.count

    def forget(self, seen: Reached) -> None:
        """Stop examining what is fully ``seen``: rectifiers and constants without anything left.

        From then on, they count as not reached.
        """
        self.units.forget(seen.units)
        self.weights.forget(self._flags(seen))

    def _flags(self, seen: Reached) -> Flags:
        return np.unpackbits(seen.weights, count=self.weights.count).astype(bool)

    def cross(self, start: Tensors, others: Sequence[Tensors], seen: Reached, seed: int) -> Sample:
        """Cross ``start`` with ``others`` so that it reaches units and weights not yet ``seen``."""
        hidden = ~self._flags(seen)

        def score(sample: Tensors) -> tuple[float, ...]:
            awake, effects = self._run(sample)
            left = effects[hidden]
            nearness = np.log(np.clip(left, _DEAD, 1)).sum()
            return int((awake & ~seen.units).sum()), int((left >= 1).sum()), float(nearness)

        return improve(start, others, score, seed)

    def _run(self, sample: Tensors) -> tuple[Flags, NDArray[np.float32]]:
        """Return which units are active and the effect of each weight; zeros if it is refused."""
        import tensorflow as tf

        units = len(self.units.tensors)
        self._check_time()
        try:
            values = self._runner.run(sample, [*self.units.tensors, *self.weights.tensors])
        except tf.errors.OpError:
            return np.zeros(self.units.count, bool), np.zeros(self.weights.count, np.float32)
        return self.units.awake(values[:units]), self.weights.moves(values[units:])

    def _check_time(self) -> None:
        if self._has_run and self._deadline is not None and time.monotonic() > self._deadline:
            raise _TimeOverError
        self._has_run = True

    def climb(self, start: Tensors, seen: Reached) -> Sample | None:
        """Change ``start`` to activate units not yet ``seen``, within its own range of values.

        Returns:
            The intermediate sample that activates most of those units; None if none does.
        """
        if not self.units.tensors:
            return None
        awake_place, *slopes = self._slopes
        floats = [spec.name for spec in self._specs if _has_gradient(spec)]
        sample = {name: np.asarray(value) for name, value in start.items()}
        ends = {name: (sample[name].min(), sample[name].max()) for name in floats}
        most, best = 0, None
        for _ in range(_STEPS):
            self._check_time()
            values = self._runner.run(
                sample, [*self.units.tensors, *slopes], {awake_place: seen.units}
            )
            awake = self.units.awake(values[: len(self.units.tensors)])
            if (gain := int((awake & ~seen.units).sum())) > most:
                most, best = gain, dict(sample)
            for name, slope in zip(floats, values[len(self.units.tensors) :], strict=True):
                low, high = ends[name]
                step = (high - low) / _STEPS * np.sign(np.nan_to_num(slope))
                sample[name] = np.clip(sample[name] + step, low, high).astype(slope.dtype)
        return best

    @cached_property
    def _slopes(self) -> list[str]:
        places = [
            place
            for spec, place in zip(self._specs, self._places, strict=True)
            if _has_gradient(spec)
        ]
        return self._runner.extend(lambda graph: self.units.slopes(graph, places))
