"""The weights that a comparison can see: those whose wrong sign would exceed the tolerance.

A weight may be used on a sample without a visible effect: its input is nearly zero, or the softmax
behind it is saturated. So the gradient of the outputs is computed. To first order, the opposite
sign of a weight ``w`` changes an output by ``2 |w| |slope|``.
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
    """The weights of a graph, and how much its outputs depend on them.

    Weights are the nonzero elements of floating-point constants with more than one element.
    Lookup tables are left out, because the indices decide which rows are read. If an operation
    has no gradient, no weights are examined.

    Args:
        runner: Runs the graph; operations are added to it.
        outputs: The graph's tensor for each output.
        apart: The values of placeholders that stand for weights, by their names.

    Attributes:
        tensors: The tensors to fetch for `moves`, one for each examined constant.
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
        except Exception:  # an operation without a gradient may raise anything
            nonzero = []
        self._nonzero = dict(zip(self.tensors, nonzero, strict=True))
        sizes = {name: int(flags.sum()) for name, flags in self._nonzero.items()}
        self._places = spans(sizes)
        self.count = sum(sizes.values())

    def forget(self, seen: Flags) -> None:
        """Stop examining constants whose weights are all ``seen``: they take most of a run."""
        self.tensors = [name for name in self.tensors if not seen[self._places[name]].all()]

    def moves(self, found: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Return how much each weight's wrong sign changes the outputs, in units of their bounds.

        A change of 1 or more is detected. If the slope is infinite or NaN, as that of a root at
        zero, the change is unknown and counts as 0. The change of a weight that is not examined
        is 0, too.

        Args:
            found: The values of `tensors`.
        """
        changes = np.zeros(self.count, np.float32)
        for name, values in zip(self.tensors, found, strict=True):
            changes[self._places[name]] = values.ravel()[self._nonzero[name]]
        return np.where(np.isfinite(changes), changes, np.float32(0))

    def _build(self, graph: Any, outputs: Sequence[str], looked_at: list[Flags]) -> list[Any]:
        import tensorflow as tf

        constants = [op for op in graph.get_operations() if self._is_kernel(op)]
        answers = [graph.get_tensor_by_name(name) for name in outputs]
        answers = [answer for answer in answers if answer.dtype.is_floating]
        if not constants or not answers:
            return []
        kernels = [op.outputs[0] for op in constants]
        slopes = tf.gradients([_in_bounds(answer) for answer in answers], kernels)
        tensors = []
        for kernel, slope in zip(kernels, slopes, strict=True):
            if slope is None:  # no output depends on it
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
        return any(_looks_up(consumer, reader) for reader in consumer.outputs[0].consumers())
    return consumer.type in _LOOKUPS and consumer.inputs[0].op is op


def _in_bounds(answer: Any) -> Any:
    """Return the sum of the output's elements with random signs, in units of their bounds."""
    import tensorflow as tf

    tolerance = TOLERANCES["fp32"]
    answer = tf.cast(answer, tf.float32)
    rms = tf.sqrt(tf.reduce_mean(tf.square(answer)))
    bound = tolerance.atol * rms + tolerance.rtol * tf.abs(answer) + np.finfo(np.float32).tiny
    drawn = tf.random.stateless_uniform(tf.shape(answer), [_SEED, 0])
    return tf.reduce_sum(tf.stop_gradient(tf.sign(drawn - 0.5) / bound) * answer)
