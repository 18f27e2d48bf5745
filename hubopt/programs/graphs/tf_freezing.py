"""Freeze a function with TensorFlow's private API: inline calls, make weights constants.

``tests/programs/graphs/test_tf_freezing.py`` fails with a clear message if an upgrade of
TensorFlow changes that API.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from hubopt._platform.tf_private import clear_must_compile
from hubopt.programs.graphs.functions import nodes, prune_functions, rename_functions
from hubopt.programs.graphs.gathering import separate_gathers
from hubopt.programs.graphs.settled_branches import take_settled_branches
from hubopt.programs.graphs.state import drop_unused_draws

_LOWERED = "_lower_using_switch_merge"
"""The attribute by which inlining turns functional control flow into ``Switch`` and ``Merge``."""


class FrozenParts(NamedTuple):
    """A function as a graph.

    Attributes:
        graph: The ``tf.Graph``.
        inputs: The names of the input tensors, in order.
        outputs: The names of the output tensors, in order.
        apart: The values that are stored separately, by the name of their placeholder.
    """

    graph: Any
    inputs: list[str]
    outputs: list[str]
    apart: dict[str, Any]


def freeze(concrete: Any, is_apart: Callable[[Any], bool]) -> FrozenParts:
    """Return ``concrete`` with its captures as constants and its calls inlined.

    Calls that XLA must compile are inlined too. Control flow stays functional (``While``,
    ``If``, ``Case``), as the TFLite and ONNX converters require. TensorFlow has no public
    function for this. Its private one copies every weight into the graph, which cannot hold more
    than 2 GB. This function leaves out the weights that ``is_apart`` selects.

    Args:
        concrete: A concrete function.
        is_apart: Whether to store a captured variable or tensor separately.
    """
    from tensorflow.python.framework import convert_to_constants as tf_freezing

    data = _captured(tf_freezing, concrete, is_apart)
    graph = tf_freezing._GraphDef(data.graph_def)
    for name, value in data.tensor_data.items():
        node = graph.nodes[name]
        if name not in data.apart:
            node.convert_variable_to_constant(None, value)
            continue
        placeholder = node.converted_self().node
        placeholder.Clear()
        placeholder.name, placeholder.op = name, "Placeholder"
        placeholder.attr["dtype"].CopyFrom(value.dtype_attr)
        for size in value.numpy.shape:
            placeholder.attr["shape"].shape.dim.add().size = size
        for edge in node.outgoing_edges:
            edge.destination.convertible.convert_variable_to_constant(edge, value)
    captured = {tensor.name for tensor in concrete.graph.internal_captures}
    taken = {f"{name}:0" for name in data.tensor_data}
    inputs = [tensor for tensor in concrete.inputs if tensor.name not in captured & taken]
    names = [tensor.name for tensor in inputs]
    outputs = [tensor.name for tensor in concrete.outputs]
    converted = graph.converted_self().graph_def
    drop_unused_draws(converted, outputs)
    kept = _tidied(_needed(converted, [*names, *outputs]), [*names, *outputs])
    frozen = _imported(kept)
    for tensor in inputs:  # the rewritten GraphDef has lost the shape of scalars
        frozen.get_tensor_by_name(tensor.name).set_shape(tensor.shape)
    needed = {node.name for node in kept.node}
    apart = {name: value for name, value in data.apart.items() if name in needed}
    return FrozenParts(frozen, names, outputs, apart)


def _needed(graph_def: Any, tensors: list[str]) -> Any:
    """Return the part of a graph that ``tensors`` depend on."""
    import tensorflow as tf

    nodes = [name.partition(":")[0] for name in tensors]
    return tf.compat.v1.graph_util.extract_sub_graph(graph_def, nodes)


def _imported(graph_def: Any) -> Any:
    import tensorflow as tf

    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(graph_def, name="")
    return graph


def _captured(tf_freezing: Any, concrete: Any, is_apart: Callable[[Any], bool]) -> Any:
    """Return the data with which TensorFlow freezes ``concrete``; ``apart`` has the rest."""
    import numpy as np
    import tensorflow as tf

    class Captured(tf_freezing._FunctionConverterDataInEager):  # type: ignore[misc]
        def __init__(self, function: Any) -> None:
            self._func = function
            self.apart: dict[str, Any] = {}
            tf_freezing._ConverterData.__init__(self, _inlined(function))
            self._build_tensor_data()

        def _build_tensor_data(self) -> None:
            graph = self._func.graph
            variables = {id(variable.handle): variable for variable in graph.variables}
            for index, (value, placeholder) in enumerate(graph.captures):
                source, name = variables.get(id(value), value), placeholder.op.name
                if source.dtype == tf.resource:  # a table
                    continue
                if is_apart(source):
                    self.apart[name] = source
                    # Only its shape and dtype are read, so one element stands for all.
                    array = np.broadcast_to(
                        np.zeros((), source.dtype.as_numpy_dtype), source.shape.as_list()
                    )
                else:
                    array = np.asarray(source.numpy())
                dtype = source.dtype.base_dtype.as_datatype_enum
                self._tensor_data[name] = tf_freezing._TensorData(array, dtype, index)

    return Captured(concrete)


def _inlined(concrete: Any) -> Any:
    """Return the ``GraphDef`` of ``concrete`` with its calls inlined by Grappler.

    A choice between branches that is settled is a call, too.
    Grappler inlines no calls that XLA must compile and none with an alternative implementation,
    such as cuDNN's recurrent cells, so both attributes are removed first.
    """
    import tensorflow as tf
    from tensorflow.core.protobuf import meta_graph_pb2

    graph_def = concrete.graph.as_graph_def()
    for node in nodes(graph_def):
        if _LOWERED in node.attr:  # TensorFlow's own freezing forgets Case
            node.attr[_LOWERED].b = False
    separate_gathers(graph_def)
    clear_must_compile(graph_def)
    for function in graph_def.library.function:
        function.attr.pop("api_implements", None)
    meta_graph = tf.compat.v1.train.export_meta_graph(graph_def=graph_def, graph=concrete.graph)
    meta_graph.collection_def.clear()
    tensors = [tensor.name for tensor in (*concrete.inputs, *concrete.outputs)]
    inlined = _rewritten(meta_graph, "function", tensors)
    fed = {tensor.op.name for tensor in concrete.inputs}
    while take_settled_branches(inlined, fed):
        inlined = _rewritten(meta_graph_pb2.MetaGraphDef(graph_def=inlined), "function", tensors)
    return inlined


def _tidied(graph_def: Any, tensors: list[str]) -> Any:
    """Return a graph without the redundant identities that inlining leaves for each call.

    They are three quarters of the nodes of a network of Keras layers.
    """
    from tensorflow.core.protobuf import meta_graph_pb2

    meta_graph = meta_graph_pb2.MetaGraphDef(graph_def=graph_def)
    shapes = {
        node.name: node.attr["shape"].shape for node in graph_def.node if node.op == "Placeholder"
    }
    for node in meta_graph.graph_def.node:
        if node.name in shapes:  # Grappler allocates a tensor of zeros for each known shape
            node.attr["shape"].shape.Clear()
    tidied = _rewritten(meta_graph, "dependency", tensors)
    for node in tidied.node:
        if node.name in shapes:
            node.attr["shape"].shape.CopyFrom(shapes[node.name])
    _keep_known_functions(tidied, graph_def)
    return tidied


def _keep_known_functions(tidied: Any, original: Any) -> None:
    """Put the functions of ``original`` back into a graph that Grappler rewrote, in place.

    The process already has these functions, and accepts no others of the same names. Those that
    Grappler made, such as a branch without its unused arguments, stay, under names that no other
    graph has.
    """
    from tensorflow.python.framework import ops

    known = {function.signature.name for function in original.library.function}
    made = {function.signature.name for function in tidied.library.function} - known
    suffix = f"_{ops.uid()}"
    rename_functions(tidied, suffix, made)
    kept = [
        function for function in tidied.library.function if function.signature.name not in known
    ]
    library = type(original.library)()
    library.CopyFrom(original.library)
    library.function.extend(kept)
    tidied.library.CopyFrom(library)
    prune_functions(tidied)


def _rewritten(meta_graph: Any, optimizer: str, tensors: list[str]) -> Any:
    """Return a graph rewritten by one of Grappler's optimizers; ``tensors`` are preserved."""
    from tensorflow.core.protobuf import config_pb2, meta_graph_pb2, rewriter_config_pb2
    from tensorflow.python.grappler import tf_optimizer

    # The optimizer preserves the nodes in this collection.
    kept = meta_graph_pb2.CollectionDef()
    kept.node_list.value.extend(tensors)
    meta_graph.collection_def["train_op"].CopyFrom(kept)
    config = config_pb2.ConfigProto()
    rewriting = config.graph_options.rewrite_options
    rewriting.min_graph_nodes = -1  # small graphs as well
    rewriting.optimizers.append(optimizer)
    rewriting.function_optimization = rewriter_config_pb2.RewriterConfig.AGGRESSIVE
    return tf_optimizer.OptimizeGraph(config, meta_graph)
