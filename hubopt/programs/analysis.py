"""`analyze`: the facts of a graph, either the traced one or one derived from it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from hubopt.exporter import OpUse
from hubopt.programs.graphs.operations import uses
from hubopt.programs.graphs.reach import unreached, weights
from hubopt.sampling.domains import read_domains
from hubopt.spec import ValueRange


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """What can be read from a graph.

    Attributes:
        ops: Every operation, including those inside functions.
        domains: The valid values of each input for which the graph shows them.
        constant: Outputs that depend on no input.
        weightless: Outputs that depend on no weights.
        size_bytes: The size of the graph without the weights that are stored separately.
    """

    ops: tuple[OpUse, ...]
    domains: Mapping[str, ValueRange]
    constant: tuple[str, ...]
    weightless: tuple[str, ...]
    size_bytes: int

    @property
    def is_compilable(self) -> bool:
        """Whether XLA has a kernel for every operation."""
        return all(use.xla for use in self.ops)

    @property
    def has_tables(self) -> bool:
        """Whether an operation reads a resource, such as a lookup table."""
        return any(use.resource for use in self.ops)


def analyze(
    graph_def: Any,
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
    placed: Collection[str] = (),
    graph: Any = None,
) -> GraphFacts:
    """Return the facts of a graph.

    Args:
        graph_def: The graph, without variables.
        inputs: The graph's tensor for each input.
        outputs: The graph's tensor for each output.
        placed: Placeholders that stand for weights which are stored separately.
        graph: The same graph as a ``tf.Graph``, if there is one; building it takes time.
    """
    if graph is None:
        import tensorflow as tf

        graph = tf.Graph()
        with graph.as_default():
            tf.import_graph_def(graph_def, name="")
    nodes = [tensor.partition(":")[0] for tensor in inputs.values()]
    return GraphFacts(
        ops=tuple(uses(graph_def)),
        domains=read_domains(graph, inputs),
        constant=unreached(graph_def, outputs, nodes),
        weightless=unreached(graph_def, outputs, [*weights(graph_def), *placed]),
        size_bytes=graph_def.ByteSize(),
    )
