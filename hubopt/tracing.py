"""`trace`: a layer and its spec become a program on disk."""

from __future__ import annotations

import atexit
import math
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hubopt import tf_private
from hubopt.causes import explain, first_line
from hubopt.errors import TraceError, UncompilableError
from hubopt.exporter import OpUse, Program, XlaMode, culprits
from hubopt.outputs import call_as_is
from hubopt.serving import SIGNATURE, argument_specs, make_root
from hubopt.spec import ModelSpec
from hubopt.structure import pack, unpack

_INERT_OPS = frozenset({"Const", "Assert", "NoOp"})
"""Operations that hold strings only as messages; every converter drops them."""


def trace(
    layer: Any, spec: ModelSpec, folder: Path | None = None, xla: XlaMode = "require"
) -> Program:
    """Trace ``layer`` in inference mode with the static shapes of ``spec``.

    Args:
        layer: A `hubopt.KerasLayer`.
        spec: What `hubopt.resolve` returned for it.
        folder: Where to write; by default a temporary folder that goes with the process.
        xla: ``require`` raises on an operation that XLA cannot compile, before XLA is
            asked; ``auto`` then writes the program uncompiled; ``off`` never compiles.

    Raises:
        UncompilableError: ``xla`` is ``require`` and XLA lacks a kernel.
        TraceError: TensorFlow cannot trace or save the layer.
    """
    folder = folder or _temporary_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with _telling_causes():
        return _trace(layer, spec, folder, xla)


def _trace(layer: Any, spec: ModelSpec, folder: Path, xla: XlaMode) -> Program:
    import tensorflow as tf

    concrete = tf.function(
        _flat_call(layer, spec), input_signature=argument_specs(spec), autograph=False
    ).get_concrete_function()
    frozen = _freeze(concrete)
    graph_def = frozen.graph.as_graph_def()
    ops = tuple(_uses(graph_def))
    compilable = all(use.xla for use in ops)
    if xla == "require" and not compilable:
        raise uncompilable(ops)
    program = Program(
        folder=folder,
        spec=spec,
        input_tensors=tuple(tensor.name for tensor in frozen.inputs[: len(spec.inputs)]),
        output_tensors=tuple(tensor.name for tensor in frozen.outputs),
        ops=ops,
        compiled=compilable and xla != "off",
    )
    references = _references(concrete.graph.as_graph_def())
    if references and any(use.resource for use in ops):
        raise TraceError(
            "layer",
            f"it has lookup tables beside TensorFlow 1 reference variables ({len(references)} of "
            "them), and what initializes the tables is not part of what was loaded",
            "tables, or reference variables, but not both",
            "save the model again after tf.compat.v1.enable_resource_variables()",
        )
    if not any(use.resource for use in ops):
        program.frozen_graph.write_bytes(graph_def.SerializeToString())
    if references:
        _save(program, _nested_call(frozen, spec))
    else:
        variables = concrete.graph.variables
        _save(program, lambda inputs: call_as_is(layer, inputs), variables, layer.resolved_object)
    return program


@dataclass(frozen=True, slots=True)
class Survey:
    """What a graph is made of.

    Attributes:
        ops: Every operation, functions included.
        parameters: How many numbers the variables that it reads hold.
        parameters_bytes: Their bytes.
    """

    ops: tuple[OpUse, ...]
    parameters: int
    parameters_bytes: int


def survey(layer: Any, structure: Any, signature: Iterable[Any]) -> Survey:
    """Trace ``layer`` with ``signature``, open dimensions allowed, and look at the graph.

    Args:
        layer: A `hubopt.KerasLayer`.
        structure: The nest of input names it takes.
        signature: A ``tf.TensorSpec`` for each of them.

    Raises:
        TraceError: TensorFlow cannot trace it.
    """
    import tensorflow as tf

    specs = list(signature)

    def call(*tensors: Any) -> Any:
        by_name = dict(zip([spec.name for spec in specs], tensors, strict=True))
        return tf.nest.flatten(call_as_is(layer, pack(structure, by_name)))

    function = tf.function(call, input_signature=specs, autograph=False)
    with _telling_causes():
        concrete = function.get_concrete_function()
        sizes = [
            (math.prod(each.shape), each.dtype.base_dtype.size) for each in concrete.graph.variables
        ]
        for node in _references(concrete.graph.as_graph_def()):
            shape = [dim.size for dim in node.attr["shape"].shape.dim]
            sizes.append((math.prod(shape), tf.as_dtype(node.attr["dtype"].type).size))
        return Survey(
            tuple(_uses(_freeze(concrete).graph.as_graph_def())),
            sum(count for count, _ in sizes),
            sum(count * size for count, size in sizes),
        )


def uncompilable(ops: Iterable[OpUse]) -> UncompilableError:
    """Return the error that names the operations in ``ops`` without an XLA kernel."""
    return UncompilableError(
        "layer",
        tuple(
            f"{use.op} (x{use.count}, {use.example})"
            for use in culprits(use for use in ops if not use.xla)
        ),
        "operations with an XLA kernel on this machine",
        "pass --xla auto (xla='auto') to write it uncompiled",
    )


@contextmanager
def _telling_causes() -> Iterator[None]:
    try:
        yield
    except TraceError:
        raise
    except Exception as error:  # TensorFlow raises nearly every type there is
        found, way_out = explain(error) or (
            f"TensorFlow cannot trace it: {type(error).__name__}: {first_line(error)}",
            "call it inside a tf.function with the shapes of `hubopt inspect` to see the cause",
        )
        expected = "a layer that can be traced, frozen and saved"
        raise TraceError("layer", found, expected, way_out) from error


def _temporary_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="hubopt-program-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _flat_call(layer: Any, spec: ModelSpec) -> Any:
    """Return a function from the inputs, in order, to the list of outputs, in order."""
    import tensorflow as tf

    def call(*arguments: Any) -> list[Any]:
        named = {each.name: tensor for each, tensor in zip(spec.inputs, arguments, strict=True)}
        outputs = unpack(
            spec.output_structure, call_as_is(layer, pack(spec.input_structure, named))
        )
        # An identity for each output: one tensor returned twice stays two outputs.
        tensors = [tf.identity(outputs[each.name]) for each in spec.outputs]
        for tensor, each in zip(tensors, spec.outputs, strict=True):
            tensor.set_shape(each.open_shape)  # no EnsureShape: TFLite has no such operation
        return tensors

    return call


def _freeze(concrete: Any) -> Any:
    try:
        return _inline(tf_private.freeze(_without_references(concrete)))
    except Exception as error:
        ops = {node.op for node in _nodes(concrete.graph.as_graph_def())}
        writes = sorted(filter(_writes, ops))
        if writes:
            raise TraceError(
                "layer",
                f"it changes its own variables when it is called ({', '.join(writes)})",
                "a layer that keeps no state between calls in inference mode",
                "export a function of the model that takes the state and returns it",
            ) from error
        raise


def _writes(op: str) -> bool:
    return (op.startswith("Assign") and op.endswith("VariableOp")) or op.startswith(
        ("ResourceScatter", "ResourceApply")
    )


def _inline(frozen: Any) -> Any:
    """Inline functions that were compiled in the model itself: freezing leaves those alone."""
    graph_def = frozen.graph.as_graph_def()
    if not tf_private.compiled_functions(graph_def):
        return frozen
    tf_private.clear_must_compile(graph_def)
    return tf_private.freeze(_rebuild(graph_def, frozen))


def _without_references(concrete: Any) -> Any:
    """Put TensorFlow 1's reference variables, which cannot be frozen, into the graph."""
    graph_def = concrete.graph.as_graph_def()
    variables = _references(graph_def)
    if not variables:
        return concrete
    values = tf_private.reference_values(variables)
    for node in variables:
        node.CopyFrom(tf_private.constant_node(node.name, values[node.name]))
    for function in graph_def.library.function:  # where the output of a node goes by its own name
        for node in function.node_def:
            node.input[:] = [_constant_output(name, values) for name in node.input]
        for result, name in function.ret.items():
            function.ret[result] = _constant_output(name, values)
    return _rebuild(graph_def, concrete)


def _constant_output(name: str, constants: Collection[str]) -> str:
    node, _, output = name.partition(":")
    return f"{node}:output:0" if output == "ref:0" and node in constants else name


def _references(graph_def: Any) -> list[Any]:
    return [node for node in _nodes(graph_def) if node.op in tf_private.REFERENCE_VARIABLES]


def _rebuild(graph_def: Any, original: Any) -> Any:
    """Make a function of ``graph_def``, which was ``original``'s and has changed."""
    import tensorflow as tf

    _rename_functions(graph_def)
    inputs = [tensor.name for tensor in original.inputs]
    outputs = [tensor.name for tensor in original.outputs]
    wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph_def, name=""), [])
    return wrapped.prune(inputs, outputs)


def _rename_functions(graph_def: Any) -> None:
    """Give every function a new name, in place: TensorFlow holds the old ones for this process."""
    new_names = {
        function.signature.name: f"{function.signature.name}_inlinable"
        for function in graph_def.library.function
    }
    for function in graph_def.library.function:
        function.signature.name = new_names[function.signature.name]
    for node in _nodes(graph_def):
        node.op = new_names.get(node.op, node.op)
        for value in node.attr.values():
            for reference in (value.func, *value.list.func):
                if reference.name in new_names:
                    reference.name = new_names[reference.name]


def _uses(graph_def: Any) -> Iterator[OpUse]:
    """Yield one `OpUse` for each operation of a graph and of its functions."""
    groups: dict[str, list[Any]] = defaultdict(list)
    for node in _nodes(graph_def):
        groups[node.op].append(node)
    functions = {function.signature.name for function in graph_def.library.function}
    for op, nodes in sorted(groups.items()):
        blocked = [node for node in nodes if not _xla_compiles(node, functions)]
        yield OpUse(
            op=op,
            count=len(nodes),
            example=(blocked or nodes)[0].name,
            string=op not in _INERT_OPS and any(_touches(node, "DT_STRING") for node in nodes),
            resource=any(_touches(node, "DT_RESOURCE") for node in nodes),
            xla=not blocked,
            generic=_is_generic(op),
        )


def _is_generic(op: str) -> bool:
    about = tf_private.fixed_dtypes(op) & {_enum("DT_STRING"), _enum("DT_RESOURCE")}
    return not about and (op == "Placeholder" or bool(tf_private.xla_kernel_constraints(op)))


def _enum(dtype: str) -> int:
    from tensorflow.core.framework import types_pb2

    return int(types_pb2.DataType.Value(dtype))


def _nodes(graph_def: Any) -> Iterator[Any]:
    yield from graph_def.node
    for function in graph_def.library.function:
        yield from function.node_def


def _dtypes(node: Any) -> dict[str, set[int]]:
    return {
        name: {value.type} if value.type else set(value.list.type)
        for name, value in node.attr.items()
        if value.type or value.list.type
    }


def _touches(node: Any, dtype: str) -> bool:
    wanted = _enum(dtype)
    return wanted in tf_private.fixed_dtypes(node.op) or any(
        wanted in each for each in _dtypes(node).values()
    )


def _xla_compiles(node: Any, functions: set[str]) -> bool:
    if node.op in _INERT_OPS or node.op in functions:
        return True
    if node.op == "Placeholder":  # an argument of the function; XLA takes all but strings
        return not _touches(node, "DT_STRING")
    dtypes = _dtypes(node)
    return any(
        all(dtypes.get(name, set()) <= set(allowed) for name, allowed in limits.items())
        for limits in tf_private.xla_kernel_constraints(node.op)
    )


def _nested_call(frozen: Any, spec: ModelSpec) -> Callable[[Any], Any]:
    """Return a function that calls the frozen one packed as the layer is called."""

    def call(inputs: Any) -> Any:
        tensors = unpack(spec.input_structure, inputs)
        outputs = frozen(*(tensors[each.name] for each in spec.inputs))
        names = [each.name for each in spec.outputs]
        return pack(spec.output_structure, dict(zip(names, outputs, strict=True)))

    return call


def _save(
    program: Program, call: Callable[[Any], Any], variables: Iterable[Any] = (), owner: Any = None
) -> None:
    """Write the SavedModel: callable like the layer, and by ``serving_default``.

    Args:
        program: What to write, and where.
        call: What it calls.
        variables: What ``call`` reads.
        owner: What has the tables and assets that ``call`` reads.
    """
    import tensorflow as tf

    root, serving = make_root(program.spec, call, jit_compile=program.compiled, variables=variables)
    if any(use.resource for use in program.ops):
        root.source = owner
    tf.saved_model.save(root, str(program.saved_model), signatures={SIGNATURE: serving})
