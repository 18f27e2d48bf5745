"""Which weights a comparison can see: those whose wrong sign would leave the tolerance.

A weight may be read on a sample and yet change nothing that shows: its input is all but zero, or
the softmax behind it is saturated. So the answers' gradient is taken. To first order, a
weight ``w`` of the opposite sign moves an output by ``2 |w| |slope|``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hubopt.parity.tolerance import TOLERANCES
from hubopt.programs.graphs.graph_runs import GraphRunner
from hubopt.reference.units import Flags, spans

_LOOKUPS = ("Gather", "GatherV2", "GatherNd", "ResourceGather")
_SEED = 0


class Weights:
    """The weights of a graph, and on which of them its outputs depend.

    Floating-point constants of more than one element, zeros left out. So are tables: which rows
    of them are read is for the indices to say. An operation without a gradient leaves none.

    Args:
        runner: Runs the graph; operations are added to it.
        outputs: The graph's tensor for each output.
        apart: The values of placeholders that stand for weights, by their names.

    Attributes:
        tensors: What to fetch for `moves`, for the constants that are looked at.
        count: How many weights there are.
    """

    def __init__(
        self,
        runner: GraphRunner,
        outputs: Sequence[str],
        apart: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        self._apart = apart or {}
        self.tensors: list[str] = []
        nonzero: list[Flags] = []
        try:
            self.tensors = runner.extend(lambda graph: self._build(graph, outputs, nonzero))
        except Exception:  # whatever an operation without a gradient raises
            nonzero = []
        self._nonzero = dict(zip(self.tensors, nonzero, strict=True))
        sizes = {name: int(each.sum()) for name, each in self._nonzero.items()}
        self._places = spans(sizes)
        self.count = sum(sizes.values())

    def forget(self, seen: Flags) -> None:
        """Look no more at constants all of whose weights are ``seen``: they cost most of a run."""
        self.tensors = [each for each in self.tensors if not seen[self._places[each]].all()]

    def moves(self, found: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Return how far each weight's wrong sign moves the outputs, from the values of `tensors`.

        In units of their bounds: from 1 on it shows. Where the slope is infinite or no number, as
        that of a root at zero, nothing is known, and the weight counts as one that moves nothing.
        So does a weight that is not looked at.
        """
        moves = np.zeros(self.count, np.float32)
        for name, each in zip(self.tensors, found, strict=True):
            moves[self._places[name]] = each.ravel()[self._nonzero[name]]
        return np.where(np.isfinite(moves), moves, np.float32(0))

    def _build(self, graph: Any, outputs: Sequence[str], looked_at: list[Flags]) -> list[Any]:
        import tensorflow as tf

        constants = [op for op in graph.get_operations() if self._is_kernel(op)]
        answers = [graph.get_tensor_by_name(name) for name in outputs]
        answers = [each for each in answers if each.dtype.is_floating]
        if not constants or not answers:
            return []
        kernels = [op.outputs[0] for op in constants]
        slopes = tf.gradients([_in_bounds(each) for each in answers], kernels)
        tensors = []
        for kernel, slope in zip(kernels, slopes, strict=True):
            if slope is None:  # no output comes from it
                continue
            value = self._apart.get(kernel.op.name)
            value = tf.get_static_value(kernel) if value is None else value
            nonzero: Flags = (value != 0).ravel()
            if nonzero.any():
                looked_at.append(nonzero)
                tensors.append(2 * tf.abs(kernel * tf.convert_to_tensor(slope)))
        return tensors

    def _is_kernel(self, op: Any) -> bool:
        if op.type != "Const" and op.name not in self._apart:
            return False
        (tensor,) = op.outputs
        if not tensor.dtype.is_floating or (tensor.shape.num_elements() or 0) < 2:
            return False
        return not any(_looks_up(op, consumer) for consumer in tensor.consumers())


def _looks_up(op: Any, consumer: Any) -> bool:
    if consumer.type == "Identity":
        return any(_looks_up(consumer, each) for each in consumer.outputs[0].consumers())
    return consumer.type in _LOOKUPS and consumer.inputs[0].op is op


def _in_bounds(answer: Any) -> Any:
    """Return the sum of the output's elements, of random signs, each in units of its bound."""
    import tensorflow as tf

    tolerance = TOLERANCES["fp32"]
    answer = tf.cast(answer, tf.float32)
    rms = tf.sqrt(tf.reduce_mean(tf.square(answer)))
    bound = tolerance.atol * rms + tolerance.rtol * tf.abs(answer) + np.finfo(np.float32).tiny
    drawn = tf.random.stateless_uniform(tf.shape(answer), [_SEED, 0])
    return tf.reduce_sum(tf.stop_gradient(tf.sign(drawn - 0.5) / bound) * answer)
