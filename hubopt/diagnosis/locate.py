"""Follow the error of an output back to the first tensor that diverges."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hubopt.diagnosis.evaluate import Evaluator
from hubopt.diagnosis.names import Tensor, layer_of
from hubopt.diagnosis.search import Graph, find_first

_DOWNSTREAM = 8
"""How many tensors ``growth`` shows between the first diverging one and the output."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A TensorFlow operation.

    Attributes:
        node: Its node.
        op: Its type.
        layer: The Keras layer whose name scope contains it; None if there is none.
    """

    node: str
    op: str
    layer: str | None


@dataclass(frozen=True, slots=True)
class Step:
    """A tensor of the artifact, compared with the reference.

    Attributes:
        tensor: The artifact's tensor.
        tf_tensor: The TensorFlow tensor.
        layer: The Keras layer that it belongs to.
        share: The largest difference divided by the reference's rms.
        sqnr_db: The ratio of the reference's power to the difference's power, in decibels.
        excess: The difference divided by the float32 rounding noise.
        diverges: Whether rounding does not explain the difference.
    """

    tensor: str
    tf_tensor: str
    layer: str | None
    share: float
    sqnr_db: float
    excess: float
    diverges: bool


@dataclass(frozen=True, slots=True)
class Fault:
    """The part of an artifact in which it diverges from the reference.

    Attributes:
        tensor: The first tensor that diverges.
        before: The last tensors that do not diverge, from which the part starts.
        segment: The artifact's tensors after ``before`` up to ``tensor``.
        operations: TensorFlow's operations of that part, the last one first.
        growth: The error along the graph.
        runs: How many runs of the model the search took.
        dropped: Tensors that were matched by a misleading name.
    """

    tensor: str
    before: tuple[str, ...]
    segment: tuple[Tensor, ...]
    operations: tuple[Operation, ...]
    growth: tuple[Step, ...]
    runs: int
    dropped: tuple[str, ...]


def locate_fault(
    artifact: Sequence[Tensor],
    reference: Sequence[Tensor],
    matched: Mapping[str, str],
    start: str,
    evaluator: Evaluator,
) -> Fault:
    """Find the first tensor that diverges on the path to ``start``, an output that diverges.

    Args:
        artifact: The artifact's tensors in topological order.
        reference: TensorFlow's tensors in topological order.
        matched: The matching TensorFlow tensor by the artifact's tensor, where there is one.
        start: The output.
        evaluator: Measures tensors.
    """
    evaluator([start])
    dependent = _input_dependent(artifact)
    known = [name for name in matched if name in dependent]
    graph = Graph({tensor.name: tensor.inputs for tensor in artifact}, known)
    found = find_first(graph, start, evaluator)
    graph = graph.without(found.dropped)
    before = graph.parents(found.tensor)
    runs = evaluator.runs
    path = graph.between(found.tensor, start)
    evaluator(_spread(path, _DOWNSTREAM))
    shown = set(evaluator.measures) - set(found.dropped)
    related = {*graph.ancestors(start), start}
    growth = tuple(
        _step(name, matched[name], evaluator)
        for name in graph.order
        if (name in shown and name in related and math.isfinite(evaluator.measures[name].sqnr_db))
        or name == found.tensor
    )
    return Fault(
        found.tensor,
        before,
        _segment(artifact, before, found.tensor),
        _operations(reference, [matched[name] for name in before], matched[found.tensor]),
        growth,
        runs,
        found.dropped,
    )


def _input_dependent(tensors: Sequence[Tensor]) -> set[str]:
    """Return the tensors that depend on an input.

    A wrong weight depends on none; the operation that reads it diverges and is reported.
    """
    dependent: set[str] = set()
    for tensor in tensors:
        if not tensor.op or dependent.intersection(tensor.inputs):
            dependent.add(tensor.name)
    return dependent


def _spread(names: Sequence[str], most: int) -> list[str]:
    if len(names) <= most:
        return list(names)
    return [names[at * (len(names) - 1) // (most - 1)] for at in range(most)]


def _step(name: str, tf_tensor: str, evaluator: Evaluator) -> Step:
    error = evaluator.measures[name]
    layer = layer_of(tf_tensor.partition(":")[0])
    return Step(name, tf_tensor, layer, error.share, error.sqnr_db, error.excess, error.diverges)


def _segment(tensors: Sequence[Tensor], before: Sequence[str], last: str) -> tuple[Tensor, ...]:
    inside = _region({tensor.name: tensor.inputs for tensor in tensors}, set(before), last)
    return tuple(tensor for tensor in tensors if tensor.name in inside and tensor.op)


def _operations(
    tensors: Sequence[Tensor], before: Sequence[str], last: str
) -> tuple[Operation, ...]:
    inside = _region({tensor.name: tensor.inputs for tensor in tensors}, set(before), last)
    operations: dict[str, Operation] = {}
    for tensor in reversed(tensors):
        node = tensor.name.partition(":")[0]
        if tensor.name in inside and tensor.op not in _SILENT:
            operations.setdefault(node, Operation(node, tensor.op, layer_of(node)))
    return tuple(operations.values())


_SILENT = frozenset({"Const", "Identity", "Placeholder", "NoOp", "Snapshot"})
"""Operations that compute nothing."""


def _region(inputs: Mapping[str, Sequence[str]], before: set[str], last: str) -> set[str]:
    """Return ``last`` and the tensors on paths to it that do not pass through ``before``."""
    region: set[str] = set()
    waiting = [last]
    while waiting:
        name = waiting.pop()
        if name in region or (name in before and name != last):
            continue
        region.add(name)
        waiting += inputs.get(name, ())
    return region
