"""Samples that reach the units and show the weights of a network.

What no sample reaches, no comparison sees: behind a rectifier that is never positive, a weight
may have any value. Random inputs leave one rectified channel in fifty silent in a trained
MobileNetV2. So more samples are drawn than are kept, those are kept that reach most, and some
are made by following the gradient towards what is still silent. Where no input has a gradient,
as with tokens, many more are drawn, what reaches more is taken from those, and they are crossed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import or_
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hubopt._platform.causes import first_line
from hubopt.exporter import Program, Tensors
from hubopt.reference.crossing import Sample, improve
from hubopt.reference.units import RECTIFIERS, Flags
from hubopt.sampling.arrays import read_samples
from hubopt.spec import TensorSpec

_MADE = 4
_STEPS = 8
_POOL, _BLIND_POOL = 2, 16
"""How many times more samples are drawn than are kept: with a gradient to follow, and without."""
_SMALL_BYTES = 2**24
"""Of a graph that is run many times over; of a larger one, what stays silent is only told."""
_MOST_BYTES = 10**9
"""Of a graph that is held beside the layer to see what is silent."""
_DEAD = 1e-30
"""A weight that moves the outputs by less is as far from showing as one that moves nothing."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """Which samples to take.

    Attributes:
        chosen: Places in the pool that they were chosen from.
        made: Samples that were made, or taken from the pool, besides.
        units: How many rectified units there are.
        inactive: How many of them none of these samples reaches.
        weights: How many weights were looked at, see `hubopt.reference.sensitivity`.
        undetected: How many of them could change sign on these samples without its showing.
        problem: Why no more samples could be made; None if nothing was in the way.
        crash: How the process ended that was to choose them; None if it did not.
    """

    chosen: tuple[int, ...]
    made: tuple[Sample, ...] = ()
    units: int = 0
    inactive: int = 0
    weights: int = 0
    undetected: int = 0
    problem: str | None = None
    crash: str | None = None


class Reached(NamedTuple):
    """What samples reach.

    Attributes:
        units: Whether each unit is awake, as "units".
        weights: Whether each weight shows, eight in a byte.
    """

    units: Flags
    weights: NDArray[np.uint8]

    def __or__(self, other: Reached) -> Reached:
        return Reached(self.units | other.units, self.weights | other.weights)

    def beyond(self, seen: Reached) -> tuple[int, int]:
        """Return how many units, then weights, are reached that are not in ``seen``."""
        return int((self.units & ~seen.units).sum()), _count(self.weights & ~seen.weights)


def can_cover(program: Program) -> bool:
    """Whether there are rectifiers or weights to look at."""
    return 0 < program.frozen_bytes <= _MOST_BYTES and (
        _is_small(program) or any(use.op in RECTIFIERS for use in program.ops)
    )


def pool_size(program: Program, count: int) -> int:
    """Return how many samples to draw where ``count`` are to be kept."""
    if not can_cover(program) or not _is_small(program):
        return count
    return count * (_POOL if any(map(_has_gradient, program.spec.inputs)) else _BLIND_POOL)


def _is_small(program: Program) -> bool:
    return program.frozen_bytes <= _SMALL_BYTES


def _has_gradient(spec: TensorSpec) -> bool:
    return "float" in spec.dtype


def cover(program: Program, pool: Path, count: int, make: bool) -> Coverage:
    """Choose ``count`` samples that reach as much as may be, and find some more.

    Args:
        program: The traced layer.
        pool: Samples to choose from, at least as many.
        count: How many to choose.
        make: Whether to take more: made ones, where there are floats to change, else from the
            pool.
    """
    samples = read_samples(pool, program.spec.inputs)
    graph = _Graph(program)
    if not graph:
        return Coverage(tuple(range(count)))
    reached: list[Reached] = []
    for sample in samples:
        reached.append(graph.reached(sample))
        if len(reached) in (1, _half(count)):  # those are taken, whatever they show
            graph.forget(reduce(or_, reached))
        if len(reached) >= _half(count) and graph.is_all(reduce(or_, reached)):
            break  # the others reach nothing besides
    chosen = choose(reached, min(count, len(reached))) + list(range(len(reached), count))
    seen = reduce(or_, (reached[at] for at in chosen if at < len(reached)))
    more: list[Sample] = []
    problem = None
    if make and _is_small(program):
        climbs = any(map(_has_gradient, program.spec.inputs))
        find = _climbs if climbs else _crosses
        try:
            for sample, gained in find(graph, samples, reached, chosen, seen):
                more.append(sample)
                seen |= gained
        except Exception as error:  # whatever an operation without a gradient raises
            problem = f"{type(error).__name__}: {first_line(error)}"
    silent, weights = int((~seen.units).sum()), graph.weights.count
    hidden = weights - _count(seen.weights)
    return Coverage(tuple(chosen), tuple(more), seen.units.size, silent, weights, hidden, problem)


def _climbs(
    graph: _Graph,
    samples: Sequence[Tensors],
    reached: Sequence[Reached],
    chosen: Sequence[int],
    seen: Reached,
) -> Iterator[tuple[Sample, Reached]]:
    """Yield samples made by gradient, each waking units that none before it does."""
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
    """Yield samples of the pool, then crossed ones, each reaching what none before it does."""
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


def choose(reached: Sequence[Reached], count: int) -> list[int]:
    """Return ``count`` samples: the first half as they come, then what reaches most besides.

    Args:
        reached: What each sample reaches, at least as many.
        count: How many to choose.
    """
    chosen = list(range(_half(count)))
    left = [at for at in range(len(reached)) if at not in chosen]
    seen = reduce(or_, (reached[at] for at in chosen))
    while len(chosen) < count:
        best = max(left, key=lambda at: reached[at].beyond(seen))  # the first of equals
        left.remove(best)
        chosen.append(best)
        seen |= reached[best]
    return sorted(chosen)


def _half(count: int) -> int:
    return (count + 1) // 2


def choose_more(reached: Sequence[Reached], seen: Reached, most: int) -> list[int]:
    """Return up to ``most`` samples that reach what is not ``seen``, most of it first."""
    found: list[int] = []
    while len(found) < most:
        best = max(range(len(reached)), key=lambda at: reached[at].beyond(seen))
        if not any(reached[best].beyond(seen)):
            break
        found.append(best)
        seen |= reached[best]
    return found


class _Graph:
    """A program's frozen graph; false if it has nothing to reach."""

    def __init__(self, program: Program) -> None:
        from hubopt.programs.graphs.frozen_graph import read_frozen_graph
        from hubopt.programs.graphs.graph_runs import GraphRunner
        from hubopt.reference.sensitivity import Weights
        from hubopt.reference.units import Units
        from hubopt.reference.wide_kernels import mark_convolutions

        frozen = read_frozen_graph(program)
        mark_convolutions(frozen.graph_def)
        # Read once where they are looked at one by one.
        arrays = dict(frozen.arrays()) if _is_small(program) else frozen.arrays()
        names = [each.name for each in program.spec.inputs]
        fed = dict(zip(names, program.input_tensors, strict=True))
        self._runner = GraphRunner(frozen.graph_def, fed, arrays)
        self._specs, self._places = program.spec.inputs, program.input_tensors
        self.units = Units(self._runner.graph)
        looked_at = program.output_tensors if _is_small(program) else ()
        self.weights = Weights(self._runner, looked_at, arrays)

    def __bool__(self) -> bool:
        return bool(self.units.tensors or self.weights.count)

    def reached(self, sample: Tensors) -> Reached:
        """Return what ``sample`` reaches; nothing if the graph refuses it."""
        awake, moves = self._run(sample)
        return Reached(awake, np.packbits(moves >= 1))

    def is_all(self, seen: Reached) -> bool:
        """Whether there is nothing left to reach."""
        return bool(seen.units.all()) and _count(seen.weights) == self.weights.count

    def forget(self, seen: Reached) -> None:
        """Look no more at what is ``seen`` whole; what is reached of that is not told then."""
        self.units.forget(seen.units)
        self.weights.forget(self._flags(seen))

    def _flags(self, seen: Reached) -> Flags:
        return np.unpackbits(seen.weights, count=self.weights.count).astype(bool)

    def cross(self, start: Tensors, others: Sequence[Tensors], seen: Reached, seed: int) -> Sample:
        """Cross ``start`` with ``others`` towards units and weights that are not ``seen``."""
        hidden = ~self._flags(seen)

        def score(sample: Tensors) -> tuple[float, ...]:
            awake, moves = self._run(sample)
            moved = moves[hidden]
            nearness = np.log(np.clip(moved, _DEAD, 1)).sum()
            return int((awake & ~seen.units).sum()), int((moved >= 1).sum()), float(nearness)

        return improve(start, others, score, seed)

    def _run(self, sample: Tensors) -> tuple[Flags, NDArray[np.float32]]:
        """Return which units are awake and how far each weight moves; nothing if it is refused."""
        import tensorflow as tf

        units = len(self.units.tensors)
        try:
            found = self._runner.run(sample, [*self.units.tensors, *self.weights.tensors])
        except tf.errors.OpError:
            return np.zeros(self.units.count, bool), np.zeros(self.weights.count, np.float32)
        return self.units.awake(found[:units]), self.weights.moves(found[units:])

    def climb(self, start: Tensors, seen: Reached) -> Sample | None:
        """Change ``start`` towards units that are not ``seen``, inside its own range of values.

        Returns:
            The step on the way that wakes most of them; None if none does.
        """
        if not self.units.tensors:
            return None
        awake_place, *slopes = self._slopes
        floats = [each.name for each in self._specs if _has_gradient(each)]
        sample = {name: np.asarray(value) for name, value in start.items()}
        ends = {name: (sample[name].min(), sample[name].max()) for name in floats}
        most, best = 0, None
        for _ in range(_STEPS):
            found = self._runner.run(
                sample, [*self.units.tensors, *slopes], {awake_place: seen.units}
            )
            awake = self.units.awake(found[: len(self.units.tensors)])
            if (gain := int((awake & ~seen.units).sum())) > most:
                most, best = gain, dict(sample)
            for name, slope in zip(floats, found[len(self.units.tensors) :], strict=True):
                low, high = ends[name]
                step = (high - low) / _STEPS * np.sign(np.nan_to_num(slope))
                sample[name] = np.clip(sample[name] + step, low, high).astype(slope.dtype)
        return best

    @cached_property
    def _slopes(self) -> list[str]:
        places = [
            place
            for each, place in zip(self._specs, self._places, strict=True)
            if _has_gradient(each)
        ]
        return self._runner.extend(lambda graph: self.units.slopes(graph, places))


def _count(packed: NDArray[np.uint8]) -> int:
    return int(np.unpackbits(packed).sum())
