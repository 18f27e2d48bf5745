"""Every private API of TensorFlow and tensorflow_hub that hubopt uses, and why.

``tests/platform/test_tf_private.py`` fails with a clear message when an upgrade changes one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hubopt.errors import LoadError


@cache
def xla_kernel_constraints(op: str) -> tuple[dict[str, tuple[int, ...]], ...]:
    """Return, for each XLA kernel of ``op``, the dtypes it takes by attribute name.

    Empty if XLA has no kernel for it. This query is safe, while compiling an operation without
    a kernel can abort the process. The kernels register on the first use of XLA, so a trivial
    function is compiled first.
    """
    return _kernel_constraints(op, _start_xla())


@cache
def cpu_kernel_constraints(op: str) -> tuple[dict[str, tuple[int, ...]], ...]:
    """Return the same for the CPU kernels of ``op``, including kernels for any device."""
    return _kernel_constraints(op, "CPU", "DEFAULT")


def _kernel_constraints(op: str, *devices: str) -> tuple[dict[str, tuple[int, ...]], ...]:
    from tensorflow.python.framework import kernels

    return tuple(
        {limit.name: tuple(limit.allowed_values.list.type) for limit in kernel.constraint}
        for kernel in kernels.get_registered_kernels_for_op(op).kernel
        if kernel.device_type in devices
    )


@cache
def op_definition(op: str) -> Any:
    """Return the ``OpDef`` of ``op`` with its arguments and attributes; None if it is unknown."""
    from tensorflow.python.framework import op_def_registry

    return op_def_registry.get(op)


def onednn_is_on() -> bool:
    """Whether this process computes with oneDNN's kernels on the CPU.

    It depends on the build, the processor and ``TF_ENABLE_ONEDNN_OPTS``.
    """
    import tensorflow  # noqa: F401  # the module below needs its libraries loaded
    from tensorflow.python.util import _pywrap_util_port

    return bool(_pywrap_util_port.IsMklEnabled())


@cache
def fixed_dtypes(op: str) -> frozenset[int]:
    """Return the fixed dtypes of the inputs and outputs of ``op``, as enum values."""
    from tensorflow.python.framework import op_def_registry

    definition = op_def_registry.get(op)
    if definition is None:  # a function of the graph
        return frozenset()
    arguments = (*definition.input_arg, *definition.output_arg)
    return frozenset(argument.type for argument in arguments if argument.type)


@cache
def _start_xla() -> str:
    """Compile one addition and return the name under which XLA's kernels are registered."""
    import tensorflow as tf

    tf.function(lambda x: x + 1.0, jit_compile=True)(tf.constant(0.0))
    return "XLA_GPU_JIT" if tf.config.list_physical_devices("GPU") else "XLA_CPU_JIT"


MUST_COMPILE = "_XlaMustCompile"
"""The attribute that ``jit_compile=True`` sets on functions and on calls of them."""


def compiled_functions(graph_def: Any) -> list[str]:
    """Return the names of the functions in ``graph_def`` that XLA must compile."""
    return [
        function.signature.name
        for function in graph_def.library.function
        if MUST_COMPILE in function.attr and function.attr[MUST_COMPILE].b
    ]


def set_must_compile(graph: Any, names: Collection[str]) -> None:
    """Set ``jit_compile`` in place on functions of a SavedModel, as saving such functions does.

    Args:
        graph: The ``MetaGraphDef``.
        names: The names of the functions.
    """
    for function in graph.graph_def.library.function:
        if function.signature.name in names:
            function.attr[MUST_COMPILE].b = True
        for node in function.node_def:
            if "f" in node.attr and node.attr["f"].func.name in names:
                node.attr[MUST_COMPILE].b = True
    for node in graph.object_graph_def.nodes:
        if node.WhichOneof("kind") == "function" and (
            set(node.function.concrete_functions) & set(names)
        ):
            spec = node.function.function_spec
            spec.jit_compile = spec.JitCompile.Value("ON")


def clear_must_compile(graph_def: Any) -> None:
    """Remove ``jit_compile`` from all functions in place, as it prevents inlining of calls."""
    for function in graph_def.library.function:
        function.attr.pop(MUST_COMPILE, None)
        for node in function.node_def:
            node.attr.pop(MUST_COMPILE, None)
    for node in graph_def.node:
        node.attr.pop(MUST_COMPILE, None)


REFERENCE_VARIABLES = ("Variable", "VariableV2")
"""The variables of TensorFlow 1 before resource variables; most TF1 Hub modules have them."""


def reference_values(nodes: Sequence[Any]) -> dict[str, Any]:
    """Return the value of each reference variable in a loaded model's graph, by node name.

    Their state lives in the process under ``shared_name``, so nodes with the same attributes in
    another graph read it. The loader creates no Python objects for these variables.
    """
    import tensorflow as tf

    graph_def = tf.compat.v1.GraphDef()
    for node in nodes:
        copy = graph_def.node.add()
        copy.CopyFrom(node)
        if not copy.attr["shared_name"].s:  # TensorFlow then uses the node's own name
            copy.attr["shared_name"].s = node.name.encode()
    wanted = [f"{node.name}:0" for node in nodes]

    def read() -> list[Any]:
        return [
            tf.identity(tensor)
            for tensor in tf.import_graph_def(graph_def, name="", return_elements=wanted)
        ]

    values = tf.compat.v1.wrap_function(read, [])()
    return dict(zip([node.name for node in nodes], values, strict=True))


def constant_node(name: str, value: Any) -> Any:
    """Return the ``NodeDef`` of a constant."""
    import tensorflow as tf
    from tensorflow.core.framework import node_def_pb2

    array = value.numpy()
    node = node_def_pb2.NodeDef(name=name, op="Const")
    node.attr["dtype"].type = value.dtype.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(array, value.dtype, array.shape))
    return node


def is_unconditional(loss: Any) -> bool:
    """Whether tf_keras computed ``loss`` only from weights, not from a layer's inputs."""
    return bool(getattr(loss, "_unconditional_loss", False))


def keras_nodes(layer: Any) -> list[Any]:
    """Return the symbolic calls of a Keras 3 layer, which has no public list of them."""
    return list(layer._inbound_nodes)


def keras_mask(tensor: Any) -> Any:
    """Return the mask that Keras 3 keeps with a symbolic tensor, or None."""
    return getattr(tensor, "_keras_mask", None)


def layer_callable(layer: Any) -> Any:
    """Return what a `hub.KerasLayer` calls: the loaded object or the requested signature."""
    return layer._callable


def layer_arguments(layer: Any) -> dict[str, Any]:
    """Return the ``arguments=`` given to a `hub.KerasLayer`."""
    return dict(layer._arguments)


def layer_signature(layer: Any) -> str | None:
    """Return the signature that a `hub.KerasLayer` calls; None for the model's own call."""
    signature: str | None = layer._signature
    return signature or None


def layer_input_hint(layer: Any) -> tuple[int | None, ...] | None:
    """Return the ``input_shape=`` given to a Keras 2 or Keras 3 layer, with the batch dimension."""
    kept: tuple[int | None, ...] | None = getattr(layer, "_input_shape_hint", None)
    if kept is not None:
        return kept
    keras3 = getattr(layer, "_input_shape_arg", None)
    if keras3 is not None:
        return (None, *keras3)
    return getattr(layer, "_batch_input_shape", None)


def layer_output_hint(layer: Any) -> Any:
    """Return the ``output_shape=`` given to a `hub.KerasLayer`: a nest of TensorShapes or None."""
    return getattr(layer, "_output_shape", None)


def layer_output_key(layer: Any) -> str | None:
    """Return the ``output_key=`` given to a `hub.KerasLayer`."""
    return getattr(layer, "_output_key", None)


def restored_signatures(loaded: Any) -> list[tuple[Sequence[Any], dict[str, Any]]]:
    """Return ``(args, kwargs)`` specs for each trace of a SavedModel's own call.

    Empty if ``loaded`` does not come from a SavedModel, or cannot be called.
    """
    call = getattr(loaded, "__call__", None)  # noqa: B004  # the restored function itself
    return [
        concrete.structured_input_signature for concrete in getattr(call, "concrete_functions", ())
    ]


def read_saved_model(folder: Path) -> Any:
    """Parse a SavedModel's file, binary or text, like the loader, but without loading it.

    Returns:
        The ``SavedModel`` message, with at least one graph.

    Raises:
        LoadError: There is no such file, or it is damaged.
    """
    from tensorflow.python.saved_model.loader_impl import parse_saved_model

    try:
        saved_model = parse_saved_model(str(folder))
    except Exception as error:  # OSError; UnicodeDecodeError and RecursionError for a text file
        raise _unreadable(folder, " ".join(str(error).split()) or type(error).__name__) from error
    if not saved_model.meta_graphs:
        raise _unreadable(folder, "the file holds no graph")
    return saved_model


def _unreadable(folder: Path, found: str) -> LoadError:
    return LoadError(
        f"model {folder}",
        f"it cannot be read: {found}",
        "saved_model.pb as it was written",
        "the file is damaged or cut short: fetch or save the model again",
    )


def is_registered(op: str) -> bool:
    """Whether this process has an operation named ``op``."""
    from tensorflow.python.framework import op_def_registry

    return op_def_registry.get(op) is not None


def operation_arguments() -> dict[str, tuple[str, ...]]:
    """Return the names of the inputs and attributes of every operation in this process."""
    return {
        op.name: tuple(argument.name for argument in (*op.input_arg, *op.attr))
        for op in _registry().op
    }


def stateful_operations() -> frozenset[str]:
    """Return the names of the operations in this process that the registry marks as stateful."""
    return frozenset(op.name for op in _registry().op if op.is_stateful)


def _registry() -> Any:
    from tensorflow.core.framework.op_def_pb2 import OpList
    from tensorflow.python.client import pywrap_tf_session

    buffer = pywrap_tf_session.TF_GetAllOpList()
    return OpList.FromString(pywrap_tf_session.TF_GetBuffer(buffer))


def stablehlo_text(module: bytes) -> str | None:
    """Return the program in a StableHLO portable artifact as text; None if it is unreadable.

    The program is read like ``XlaCallModule`` reads it. It is printed by the function behind
    ``tf.mlir.experimental.run_pass_pipeline``, whose public wrapper accepts only text.
    """
    import tensorflow  # noqa: F401  # the modules below need its libraries loaded
    from tensorflow.compiler.mlir.stablehlo import stablehlo
    from tensorflow.python import _pywrap_mlir

    try:
        read = stablehlo.deserialize_portable_artifact_str(module)
        return str(_pywrap_mlir.ExperimentalRunPassPipeline(read, "", False))
    except Exception:  # the two raise different errors; an unreadable program cannot be judged
        return None


def fingerprint_of(folder: Path) -> Any:
    """Compute the ``FingerprintDef`` that TensorFlow would write for ``folder`` now.

    This ends the process if the graph's nodes lack the attributes that it reads, so
    `hubopt.scanning.fingerprint` checks them first.
    """
    from tensorflow.core.protobuf.fingerprint_pb2 import FingerprintDef
    from tensorflow.python.saved_model.pywrap_saved_model import fingerprinting

    return FingerprintDef.FromString(fingerprinting.CreateFingerprintDef(str(folder)))
