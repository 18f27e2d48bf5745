"""`trace`: turn a layer and its spec into a program on disk."""

from __future__ import annotations

import atexit
import math
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hubopt._platform.causes import explain, first_line
from hubopt._platform.resources import resource_error
from hubopt._util.owned_folders import TEMPORARY, owned_folder
from hubopt._util.structure import pack, unpack
from hubopt.errors import ExportError, TraceError
from hubopt.exporter import OpUse, Program, XlaMode
from hubopt.models.weight_size import check_size
from hubopt.programs.analysis import analyze
from hubopt.programs.graphs.checkpoints import StoredTensor, saved_variables
from hubopt.programs.graphs.freezing import Frozen, freeze, reference_nodes
from hubopt.programs.graphs.frozen_graph import write_frozen_graph
from hubopt.programs.graphs.operations import uncompilable, uses
from hubopt.programs.serving import SIGNATURE, argument_specs, make_root
from hubopt.programs.shaping.outputs import call_as_is
from hubopt.spec import ModelSpec


def trace(
    layer: Any,
    spec: ModelSpec,
    folder: Path | None = None,
    xla: XlaMode = "auto",
    *,
    saved_model: bool = True,
    most_bytes: int | None = None,
) -> Program:
    """Trace ``layer`` in inference mode with the static shapes of ``spec``.

    Args:
        layer: A `hubopt.KerasLayer`.
        spec: What `hubopt.resolve` returned for it.
        folder: Where to write; by default a temporary folder that is removed when the process
            exits.
        xla: With ``require`` the SavedModel is compiled, and if XLA lacks a kernel, this raises
            before XLA is called. Otherwise it is not compiled: with ``auto``, the SavedModel
            exporter tries whether XLA is faster on what it writes.
        saved_model: Whether to write the SavedModel too, which takes longer than the rest. A
            program with lookup tables always has one, as it has no frozen graph.
        most_bytes: The largest size of the weights in bytes; None for no limit.

    Raises:
        UncompilableError: ``xla`` is ``require`` and XLA lacks a kernel.
        TraceError: TensorFlow cannot trace or save the layer.
        ExportError: The weights exceed ``most_bytes``. No weights were written.
    """
    folder = folder or _temporary_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with _translate_errors(folder):
        return _trace(layer, spec, folder, xla, saved_model, most_bytes)


def _trace(
    layer: Any,
    spec: ModelSpec,
    folder: Path,
    xla: XlaMode,
    saved_model: bool,
    most_bytes: int | None,
) -> Program:
    import tensorflow as tf

    concrete = tf.function(
        _flat_call(layer, spec), input_signature=argument_specs(spec), autograph=False
    ).get_concrete_function()
    frozen = freeze(concrete)
    graph_def = frozen.graph.as_graph_def()
    input_tensors = tuple(tensor.name for tensor in frozen.inputs[: len(spec.inputs)])
    output_tensors = tuple(tensor.name for tensor in frozen.outputs)
    inputs = dict(zip((tensor.name for tensor in spec.inputs), input_tensors, strict=True))
    outputs = dict(zip(spec.output_names, output_tensors, strict=True))
    facts = analyze(graph_def, inputs, outputs, tuple(frozen.weights), frozen.graph)
    if xla == "require" and not facts.is_compilable:
        raise uncompilable(facts.ops)
    separate = sum(
        weight.shape.num_elements() * weight.dtype.size for weight in frozen.weights.values()
    )
    check_size(separate + facts.size_bytes, most_bytes)
    program = Program(
        folder=folder,
        spec=spec,
        input_tensors=input_tensors,
        output_tensors=output_tensors,
        ops=facts.ops,
        compiled=xla == "require",
        domains=facts.domains,
        constant=_with_empty(facts.constant, spec),
        weightless=_with_empty(facts.weightless, spec),
    )
    references = reference_nodes(concrete.graph.as_graph_def())
    if references and facts.has_tables:
        raise _tables_beside_references(len(references))
    variables: Sequence[Any] = () if references else concrete.graph.variables
    if saved_model or facts.has_tables:
        if references:
            _save(program, _nested_call(frozen, spec))
        else:
            owner = layer.resolved_object if facts.has_tables else None
            _save(program, lambda inputs: call_as_is(layer, inputs), variables, owner)
    if facts.has_tables:
        return program
    weights = ((name, _tensor(value)) for name, value in frozen.weights.items())
    saved = _saved(frozen, variables, program) if saved_model else None
    return write_frozen_graph(program, graph_def, weights, saved)


def _with_empty(names: Collection[str], spec: ModelSpec) -> tuple[str, ...]:
    """Return ``names`` and the outputs that have no elements, which nothing can change."""
    return tuple(
        output.name for output in spec.outputs if output.name in names or 0 in output.open_shape
    )


def _tables_beside_references(count: int) -> TraceError:
    return TraceError(
        "layer",
        f"it has lookup tables beside TensorFlow 1 reference variables ({count} of them), and what "
        "initializes the tables is not part of what was loaded",
        "tables, or reference variables, but not both",
        "save the model again after tf.compat.v1.enable_resource_variables()",
    )


def _tensor(value: Any) -> Any:
    """Return the value of a variable, or a tensor, without the copy that ``numpy()`` makes."""
    import tensorflow as tf

    return value.read_value() if isinstance(value, tf.Variable) else value


def _saved(frozen: Frozen, variables: Sequence[Any], program: Program) -> dict[str, StoredTensor]:
    """Return where the SavedModel's checkpoint stores the weights of ``frozen``, by name.

    Args:
        frozen: The graph and its separate weights.
        variables: The variables that the SavedModel was written with.
        program: Where the SavedModel is.
    """
    if not variables:
        return {}
    stored = saved_variables(program.saved_model)
    places = {id(variable): place for variable, place in zip(variables, stored, strict=True)}
    known = {name: places.get(id(value)) for name, value in frozen.weights.items()}
    return {name: place for name, place in known.items() if place is not None}


@dataclass(frozen=True, slots=True)
class Survey:
    """The operations and parameters of a graph.

    Attributes:
        ops: Every operation, including those inside functions.
        parameters: How many elements its variables hold in total.
        parameters_bytes: Their size in bytes.
    """

    ops: tuple[OpUse, ...]
    parameters: int
    parameters_bytes: int


def survey(layer: Any, structure: Any, signature: Iterable[Any]) -> Survey:
    """Trace ``layer`` with ``signature`` and describe the graph.

    Args:
        layer: A `hubopt.KerasLayer`.
        structure: The nest of input names that it takes.
        signature: A ``tf.TensorSpec`` for each input; its dimensions may be open.

    Raises:
        TraceError: TensorFlow cannot trace the layer.
    """
    import tensorflow as tf

    specs = list(signature)

    def call(*tensors: Any) -> Any:
        by_name = dict(zip([spec.name for spec in specs], tensors, strict=True))
        return tf.nest.flatten(call_as_is(layer, pack(structure, by_name)))

    function = tf.function(call, input_signature=specs, autograph=False)
    with _translate_errors():
        concrete = function.get_concrete_function()
        sizes = [
            (math.prod(variable.shape), variable.dtype.base_dtype.size)
            for variable in concrete.graph.variables
        ]
        for node in reference_nodes(concrete.graph.as_graph_def()):
            shape = [dim.size for dim in node.attr["shape"].shape.dim]
            sizes.append((math.prod(shape), tf.as_dtype(node.attr["dtype"].type).size))
        return Survey(
            tuple(uses(freeze(concrete).graph.as_graph_def())),
            sum(count for count, _ in sizes),
            sum(count * size for count, size in sizes),
        )


@contextmanager
def _translate_errors(*places: Path) -> Iterator[None]:
    try:
        yield
    except (TraceError, ExportError):
        raise
    except Exception as error:  # TensorFlow raises nearly every type there is
        shortage = resource_error(error, *places)
        if shortage is not None:
            raise shortage from error
        found, way_out = explain(error) or (
            f"TensorFlow cannot trace it: {type(error).__name__}: {first_line(error)}",
            "call it inside a tf.function with the shapes of `hubopt inspect` to see the cause",
        )
        expected = "a layer that can be traced, frozen and saved"
        raise TraceError("layer", found, expected, way_out) from error


def _temporary_folder() -> Path:
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(owned_folder(Path(tempfile.gettempdir()), TEMPORARY)) / "program"


def _flat_call(layer: Any, spec: ModelSpec) -> Any:
    """Return a function from the inputs, in order, to the list of outputs, in order."""
    import tensorflow as tf

    def call(*arguments: Any) -> list[Any]:
        named = {given.name: tensor for given, tensor in zip(spec.inputs, arguments, strict=True)}
        outputs = unpack(
            spec.output_structure, call_as_is(layer, pack(spec.input_structure, named))
        )
        # An identity for each output, so that one tensor returned twice stays two outputs.
        tensors = [tf.identity(outputs[output.name]) for output in spec.outputs]
        for tensor, output in zip(tensors, spec.outputs, strict=True):
            tensor.set_shape(output.open_shape)  # no EnsureShape: TFLite has no such operation
        return tensors

    return call


def _nested_call(frozen: Frozen, spec: ModelSpec) -> Callable[[Any], Any]:
    """Return a function that takes and returns the layer's nests and calls the frozen graph."""
    flat = frozen.function()

    def call(inputs: Any) -> Any:
        tensors = unpack(spec.input_structure, inputs)
        outputs = flat(*(tensors[given.name] for given in spec.inputs))
        names = [output.name for output in spec.outputs]
        return pack(spec.output_structure, dict(zip(names, outputs, strict=True)))

    return call


def _save(
    program: Program, call: Callable[[Any], Any], variables: Iterable[Any] = (), owner: Any = None
) -> None:
    """Write the SavedModel, which can be called like the layer and by ``serving_default``.

    Args:
        program: The spec, whether to compile, and where to write.
        call: The function to save.
        variables: The variables that ``call`` reads.
        owner: The object that holds the tables and assets that ``call`` reads; None if it
            reads none.
    """
    import tensorflow as tf

    root, serving = make_root(program.spec, call, jit_compile=program.compiled, variables=variables)
    if owner is not None:
        root.source = owner
    tf.saved_model.save(root, str(program.saved_model), signatures={SIGNATURE: serving})
