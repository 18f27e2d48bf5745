"""Build a SavedModel that can be called like the layer and by ``serving_default``.

Exporters may use this module: it builds TensorFlow objects from a spec and depends on no stage
of the export.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from hubopt._platform.tf_private import (
    MUST_COMPILE,
    fingerprint_of,
    read_saved_model,
    set_must_compile,
)
from hubopt._util.structure import pack, unpack
from hubopt.spec import ModelSpec

SIGNATURE = "serving_default"
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_PASSIVE = frozenset({"Placeholder", "Identity", "EnsureShape", "NoOp"})
"""The operations that TensorFlow adds around a call when it wraps one function in another."""
_GRAPH_FILE, _FINGERPRINT = "saved_model.pb", "fingerprint.pb"


def argument_specs(spec: ModelSpec) -> list[Any]:
    """Return a ``tf.TensorSpec`` for each input, in order."""
    import tensorflow as tf

    return [
        tf.TensorSpec(tensor.open_shape, tensor.dtype, name=tensor.argument)
        for tensor in spec.inputs
    ]


def make_root(
    spec: ModelSpec,
    call: Callable[[Any], Any],
    *,
    jit_compile: bool,
    variables: Iterable[Any] = (),
) -> tuple[Any, Any]:
    """Return a trackable to save, and its ``serving_default`` function.

    Args:
        spec: The inputs and outputs.
        call: Takes the layer's nest of inputs and returns its nest of outputs.
        jit_compile: Whether XLA must compile the call.
        variables: The variables that ``call`` reads.
    """
    import tensorflow as tf

    specs = argument_specs(spec)
    names = [tensor.name for tensor in spec.inputs]

    def structured(inputs: Any) -> Any:
        outputs = unpack(spec.output_structure, call(inputs))
        static = {output.name: tf.identity(outputs[output.name]) for output in spec.outputs}
        for output in spec.outputs:
            known = static[output.name].shape
            if known.rank is None or known.as_list() != list(output.open_shape):
                static[output.name] = tf.ensure_shape(static[output.name], output.open_shape)
        return pack(spec.output_structure, static)

    nest = pack(spec.input_structure, dict(zip(names, specs, strict=True)))
    compiled = tf.function(
        structured, input_signature=[nest], autograph=False, jit_compile=jit_compile or None
    )

    def serve(*tensors: Any) -> dict[str, Any]:
        packed = pack(spec.input_structure, dict(zip(names, tensors, strict=True)))
        return unpack(spec.output_structure, compiled(packed))

    root = tf.train.Checkpoint()
    root.__call__ = compiled
    # hub.KerasLayer reads these attributes from a reusable SavedModel.
    root.variables = list(variables)
    root.trainable_variables = []
    root.regularization_losses = []
    serving = tf.function(serve, input_signature=specs, autograph=False)
    return root, serving.get_concrete_function()


def compile_saved_model(folder: Path) -> None:
    """Turn a SavedModel of `make_root` that was saved uncompiled into a compiled one.

    Only the graph's file and its fingerprint are written, and as new files: others may share the
    old ones by hard links.

    Args:
        folder: The SavedModel; its path has no characters that TensorFlow cannot read.
    """
    saved_model = read_saved_model(folder)
    (graph,) = saved_model.meta_graphs
    set_must_compile(graph, _compiled_names(graph))
    _rewrite(folder / _GRAPH_FILE, saved_model.SerializeToString(deterministic=True))
    _rewrite(folder / _FINGERPRINT, fingerprint_of(folder).SerializeToString(deterministic=True))


def _compiled_names(graph: Any) -> set[str]:
    """Return the names of the functions that `make_root` compiles: two traces of ``structured``.

    One is the root's own call. The other is what ``serve`` calls, which the signature calls.
    """
    nodes = graph.object_graph_def.nodes
    root = {child.local_name: nodes[child.node_id] for child in nodes[0].children}
    (signature,) = (nodes[child.node_id] for child in root["signatures"].children)
    library = {function.signature.name: function for function in graph.graph_def.library.function}
    name = signature.bare_concrete_function.concrete_function_name
    for _ in range(2):
        (name,) = (node.attr["f"].func.name for node in library[name].node_def if node.op in _CALLS)
    return {name, *root["__call__"].function.concrete_functions}


def _rewrite(file: Path, content: bytes) -> None:
    new = file.with_name(f"{file.name}.new")
    new.write_bytes(content)
    new.replace(file)


def is_compiled(loaded: Any) -> bool:
    """Return whether ``serving_default`` of a loaded SavedModel runs as one XLA program.

    Follows the signature's wrappers down to the function that does the work. A compiled function
    further inside does not count.
    """
    graph_def = loaded.signatures[SIGNATURE].graph.as_graph_def()
    library = {function.signature.name: function for function in graph_def.library.function}
    return _only_calls_compiled(graph_def.node, library)


def _only_calls_compiled(nodes: Sequence[Any], library: dict[str, Any]) -> bool:
    calls = [node for node in nodes if node.op in _CALLS]
    if len(calls) != 1 or any(node.op not in _PASSIVE for node in nodes if node not in calls):
        return False
    function = library[calls[0].attr["f"].func.name]
    return function.attr[MUST_COMPILE].b or _only_calls_compiled(function.node_def, library)
