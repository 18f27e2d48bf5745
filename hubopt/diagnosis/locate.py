"""From an output that leaves the reference to the first tensor that does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hubopt.diagnosis.evaluate import Evaluator
from hubopt.diagnosis.names import Tensor, layer_of
from hubopt.diagnosis.search import Graph, find_first

_DOWNSTREAM = 8
"""How many tensors between the first diverging one and the output the growth shows."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A TensorFlow operation.

    Attributes:
        node: Its node.
        op: Its type.
        layer: The Keras layer in whose name scope it stands; None if in none.
    """

    node: str
    op: str
    layer: str | None


@dataclass(frozen=True, slots=True)
class Step:
    """A tensor of the artifact beside the reference.

    Attributes:
        tensor: The artifact's.
        tf_tensor: TensorFlow's.
        layer: The Keras layer that it belongs to.
        share: The largest difference over the reference's rms.
        sqnr_db: The reference's power over the difference's, in decibels.
        excess: The difference over what float32's rounding moves.
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
    """The part of an artifact in which it leaves the reference.

    Attributes:
        tensor: The first tensor that diverges.
        before: The last ones that do not: what the part starts from.
        segment: The artifact's tensors from behind ``before`` to ``tensor``.
        operations: TensorFlow's operations of that part, the last one first.
        growth: The error along the graph.
        runs: How many runs of the model the search took.
        dropped: Tensors whose names misled.
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
    """Find the first tensor that diverges on the way to ``start``, an output that does.

    Args:
        artifact: Its tensors in topological order.
        reference: TensorFlow's in topological order.
        matched: TensorFlow's tensor for each of the artifact's that has one.
        start: The output.
        evaluator: Measures tensors.
    """
    evaluator([start])
    fed = _fed(artifact)
    known = [name for name in matched if name in fed]
    graph = Graph({each.name: each.inputs for each in artifact}, known)
    found = find_first(graph, start, evaluator)
    graph = graph.without(found.dropped)
    before = graph.parents(found.tensor)
    runs = evaluator.runs
    way = graph.between(found.tensor, start)
    evaluator(_spread(way, _DOWNSTREAM))
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


def _fed(tensors: Sequence[Tensor]) -> set[str]:
    """Return the tensors that depend on an input; a weight that is wrong is its reader's fault."""
    found: set[str] = set()
    for each in tensors:
        if not each.op or found.intersection(each.inputs):
            found.add(each.name)
    return found


def _spread(names: Sequence[str], most: int) -> list[str]:
    if len(names) <= most:
        return list(names)
    return [names[at * (len(names) - 1) // (most - 1)] for at in range(most)]


def _step(name: str, tf_tensor: str, evaluator: Evaluator) -> Step:
    one = evaluator.measures[name]
    layer = layer_of(tf_tensor.partition(":")[0])
    return Step(name, tf_tensor, layer, one.share, one.sqnr_db, one.excess, one.diverges)


def _segment(tensors: Sequence[Tensor], before: Sequence[str], last: str) -> tuple[Tensor, ...]:
    inside = _behind({each.name: each.inputs for each in tensors}, set(before), last)
    return tuple(each for each in tensors if each.name in inside and each.op)


def _operations(
    tensors: Sequence[Tensor], before: Sequence[str], last: str
) -> tuple[Operation, ...]:
    inside = _behind({each.name: each.inputs for each in tensors}, set(before), last)
    found: dict[str, Operation] = {}
    for each in reversed(tensors):
        node = each.name.partition(":")[0]
        if each.name in inside and each.op not in _SILENT:
            found.setdefault(node, Operation(node, each.op, layer_of(node)))
    return tuple(found.values())


_SILENT = frozenset({"Const", "Identity", "Placeholder", "NoOp", "Snapshot"})
"""Operations that compute nothing."""


def _behind(inputs: Mapping[str, Sequence[str]], before: set[str], last: str) -> set[str]:
    """Return the tensors that ``last`` is computed from without passing ``before``."""
    found: set[str] = set()
    waiting = [last]
    while waiting:
        name = waiting.pop()
        if name in found or (name in before and name != last):
            continue
        found.add(name)
        waiting += inputs.get(name, ())
    return found
