"""Samples that reach the units of a network.

What no sample reaches, no comparison sees: behind a rectifier that is never positive, a weight
may have any value. Random inputs leave one rectified channel in fifty silent in a trained
MobileNetV2. So more samples are drawn than are kept, those are kept that reach most, and some
are made by following the gradient towards what is still silent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hubopt.arrays import read_samples
from hubopt.exporter import Program, Tensors

Reached = NDArray[np.bool_]
"""Whether each unit is positive anywhere, as "units" or "samples units". A unit is one channel,
the last axis, of a rectifier's output."""

_RECTIFIERS = ("Relu", "Relu6")
_MADE = 4
_STEPS = 8


@dataclass(frozen=True, slots=True)
class Coverage:
    """Which samples to take.

    Attributes:
        chosen: Places in the pool that they were chosen from.
        made: Samples that were made besides.
        units: How many units there are.
        silent: How many of them none of these samples reaches.
    """

    chosen: tuple[int, ...]
    made: tuple[dict[str, NDArray[Any]], ...] = ()
    units: int = 0
    silent: int = 0


def has_units(program: Program) -> bool:
    """Whether there are rectifiers to look at."""
    return program.frozen_graph.is_file() and any(use.op in _RECTIFIERS for use in program.ops)


def cover(program: Program, pool: Path, count: int, make: bool) -> Coverage:
    """Choose ``count`` samples that reach as much as may be, and make some more.

    Args:
        program: The traced layer.
        pool: Samples to choose from, at least as many.
        count: How many to choose.
        make: Whether to make more, where there are floats to change.
    """
    samples = read_samples(pool, program.spec.inputs)
    graph = _Rectifiers(program)
    if not graph:
        return Coverage(tuple(range(count)))
    reached = _stack([graph.reached(sample) for sample in samples])
    chosen = choose(reached, count)
    seen: Reached = np.asarray(reached[chosen].any(axis=0))
    made: list[dict[str, NDArray[Any]]] = []
    for at in range(min(_MADE, count) if make else 0):
        try:
            found = graph.climb(samples[chosen[at]], seen)
        except Exception:  # whatever an operation without a gradient raises, or one that refuses
            break
        if found is None:
            break
        sample, more = found
        made.append(sample)
        seen = seen | more
    return Coverage(tuple(chosen), tuple(made), seen.size, int((~seen).sum()))


def choose(reached: Reached, count: int) -> list[int]:
    """Return ``count`` samples: the first half as they come, then what reaches most besides.

    Args:
        reached: As "samples units", for at least as many samples.
        count: How many to choose.
    """
    chosen = list(range((count + 1) // 2))
    seen = reached[chosen].any(axis=0)
    left = list(range(len(chosen), len(reached)))
    while len(chosen) < count:
        best = max(left, key=lambda at: int((reached[at] & ~seen).sum()))  # the first of equals
        left.remove(best)
        chosen.append(best)
        seen |= reached[best]
    return sorted(chosen)


class _Rectifiers:
    """The rectifiers of a program's frozen graph; false if there are none.

    Those of loops and branches cannot be fetched, and those without a fixed number of channels
    have no units to tell apart.
    """

    def __init__(self, program: Program) -> None:
        import tensorflow as tf

        from hubopt.graph_runs import GraphRunner

        graph_def = tf.compat.v1.GraphDef.FromString(program.frozen_graph.read_bytes())
        with tf.Graph().as_default() as graph:
            tf.import_graph_def(graph_def, name="")
        before = [op.inputs[0] for op in graph.get_operations() if op.type in _RECTIFIERS]
        self._fetches = [each.name for each in before if each.shape.rank and each.shape[-1]]
        self._specs = program.spec.inputs
        names = [each.name for each in self._specs]
        self._runner = GraphRunner(graph_def, dict(zip(names, program.input_tensors, strict=True)))

    def __bool__(self) -> bool:
        return bool(self._fetches)

    def reached(self, sample: Tensors) -> Reached | None:
        """Return what ``sample`` reaches; None if the graph refuses it."""
        import tensorflow as tf

        try:
            return _positive(self._runner.run(sample, self._fetches))
        except tf.errors.OpError:
            return None

    def climb(
        self, start: Tensors, seen: Reached
    ) -> tuple[dict[str, NDArray[Any]], Reached] | None:
        """Change ``start`` towards what is not ``seen``, inside of its own range of values.

        Returns:
            The step on the way that reaches most, and what it reaches; None if none does.
        """
        import tensorflow as tf

        function = self._runner.function(self._fetches)
        tensors = [tf.constant(start[each.name], each.dtype) for each in self._specs]
        ends = [(np.min(start[each.name]), np.max(start[each.name])) for each in self._specs]
        floats = [at for at, each in enumerate(tensors) if each.dtype.is_floating]
        if not floats:
            return None
        most, best = 0, None
        for _ in range(_STEPS):
            with tf.GradientTape() as tape:
                tape.watch([tensors[at] for at in floats])
                activations = function(*tensors)
                towards = _silent_height(activations, seen)
            reached = _positive([each.numpy() for each in activations])
            if (gain := int((reached & ~seen).sum())) > most:
                arrays = [each.numpy() for each in tensors]
                names = [each.name for each in self._specs]
                most, best = gain, (dict(zip(names, arrays, strict=True)), reached)
            slopes = tape.gradient(towards, [tensors[at] for at in floats])
            for at, slope in zip(floats, slopes, strict=True):
                if slope is not None:
                    low, high = ends[at]
                    step = (high - low) / _STEPS * tf.sign(slope)
                    tensors[at] = tf.clip_by_value(tensors[at] + step, low, high)
        return best


def _silent_height(activations: Sequence[Any], seen: Reached) -> Any:
    """Return the sum of the largest values of the units that are not seen, layers alike."""
    import tensorflow as tf

    total, at = tf.constant(0.0), 0
    for each in activations:
        channels = each.shape[-1]
        silent = ~seen[at : at + channels]
        at += channels
        if silent.any():
            highest = tf.reduce_max(tf.reshape(each, [-1, channels]), axis=0)
            height = tf.reduce_sum(tf.boolean_mask(highest, silent))
            total += tf.cast(height / (tf.math.reduce_std(each) + 1e-6), tf.float32)
    return total


def _stack(reached: Sequence[Reached | None]) -> Reached:
    nothing = np.zeros(max((each.size for each in reached if each is not None), default=0), bool)
    return np.stack([nothing if each is None else each for each in reached])


def _positive(activations: Sequence[NDArray[Any]]) -> Reached:
    return np.concatenate(
        [(each > 0).reshape(-1, each.shape[-1]).any(axis=0) for each in activations]
    )
