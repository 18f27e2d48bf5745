"""Every private corner of TensorFlow and tensorflow_hub that hubopt uses, and why.

``tests/test_tf_private.py`` fails in plain words when an upgrade moves one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any


def freeze(concrete: Any) -> Any:
    """Return ``concrete`` with variables as constants and calls inlined.

    Control flow stays functional (``While``, ``If``), as the TFLite and ONNX converters
    want it. TensorFlow has no public function for this.
    """
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    return convert_variables_to_constants_v2(
        concrete, lower_control_flow=False, aggressive_inlining=True
    )


@cache
def xla_kernel_constraints(op: str) -> tuple[dict[str, tuple[int, ...]], ...]:
    """Return, for each XLA kernel of ``op``, the dtypes it takes by attribute name.

    Empty if XLA has no kernel for it. Asking is safe, where compiling an operation without
    a kernel can abort the process. The kernels register on first use of XLA, so a trivial
    function is compiled first.
    """
    from tensorflow.python.framework import kernels

    device = _start_xla()
    return tuple(
        {limit.name: tuple(limit.allowed_values.list.type) for limit in kernel.constraint}
        for kernel in kernels.get_registered_kernels_for_op(op).kernel
        if kernel.device_type == device
    )


@cache
def fixed_dtypes(op: str) -> frozenset[int]:
    """Return the dtypes that ``op`` takes or gives whatever its attributes, as enum values."""
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
"""The attribute that ``jit_compile=True`` leaves on functions and on calls of them."""


def compiled_functions(graph_def: Any) -> list[str]:
    """Return the names of the functions in ``graph_def`` that XLA must compile."""
    return [
        function.signature.name
        for function in graph_def.library.function
        if MUST_COMPILE in function.attr and function.attr[MUST_COMPILE].b
    ]


def clear_must_compile(graph_def: Any) -> None:
    """Remove ``jit_compile`` from every function, in place: such calls are never inlined."""
    for function in graph_def.library.function:
        function.attr.pop(MUST_COMPILE, None)
        for node in function.node_def:
            node.attr.pop(MUST_COMPILE, None)
    for node in graph_def.node:
        node.attr.pop(MUST_COMPILE, None)


def switch_autocast_off(layer: Any) -> None:
    """Make a tf_keras layer leave its inputs' dtypes alone.

    By default it casts every float to its own dtype, so a float64 model gets float32.
    """
    layer._autocast = False


def layer_callable(layer: Any) -> Any:
    """Return what a `hub.KerasLayer` calls: the loaded object or the signature asked for."""
    return layer._callable


def layer_signature(layer: Any) -> str | None:
    """Return the signature that a `hub.KerasLayer` calls; None for the model's own call."""
    signature: str | None = layer._signature
    return signature or None


def layer_input_hint(layer: Any) -> tuple[int | None, ...] | None:
    """Return the ``input_shape=`` given to a tf_keras layer, batch included."""
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


@dataclass(frozen=True, slots=True)
class MetaGraph:
    """One graph of a SavedModel, as its file describes it.

    Attributes:
        tags: Its tags.
        signatures: The names of its signatures, and of the outputs of each.
        can_be_called: Whether the object it restores has a ``__call__``.
    """

    tags: frozenset[str]
    signatures: dict[str, tuple[str, ...]]
    can_be_called: bool


def read_meta_graphs(folder: Path) -> list[MetaGraph]:
    """Describe a SavedModel's graphs from its file, without loading it."""
    from tensorflow.python.saved_model.loader_impl import parse_saved_model

    return [
        MetaGraph(
            frozenset(graph.meta_info_def.tags),
            {
                name: tuple(sorted(graph.signature_def[name].outputs))
                for name in sorted(graph.signature_def)
                if not name.startswith("__")
            },
            any(
                child.local_name == "__call__"
                for root in graph.object_graph_def.nodes[:1]
                for child in root.children
            ),
        )
        for graph in parse_saved_model(str(folder)).meta_graphs
    ]
