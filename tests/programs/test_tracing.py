from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import hubopt
from hubopt._platform.tf_private import compiled_functions
from hubopt.errors import TraceError, UncompilableError
from hubopt.exporter import OpUse, Program
from hubopt.layers.opening import open_layer
from hubopt.models.handles import LayerOptions, locate
from hubopt.programs.graphs.frozen_graph import read_frozen_graph
from hubopt.programs.tracing import trace


def program_of(
    function: Callable[..., Any], folder: Path, dtype: Any = tf.float32, xla: Any = "auto"
) -> Program:
    spec = tf.TensorSpec([2, 3], dtype, name="x")
    layer = hubopt.KerasLayer(tf.function(function, input_signature=[spec]))
    return trace(layer, hubopt.resolve(layer), folder, xla)


def use(program: Program, op: str) -> OpUse:
    return next(found for found in program.ops if found.op == op)


def run_frozen(program: Program, *inputs: Any) -> list[np.ndarray]:
    graph_def = read_frozen_graph(program).whole()
    graph = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph_def, name=""), [])
    function = graph.prune(list(program.input_tensors), list(program.output_tensors))
    return [tensor.numpy() for tensor in function(*map(tf.constant, inputs))]


def test_the_saved_model_is_compiled_with_static_shapes_and_names(
    tiny_program: tuple[Any, Program], tmp_path: Path
) -> None:
    layer, program = tiny_program
    program = trace(layer, program.spec, tmp_path / "program", "require")
    assert program.compiled
    loaded = tf.saved_model.load(str(program.saved_model))
    serving = loaded.signatures["serving_default"]
    assert compiled_functions(serving.graph.as_graph_def())
    shapes = {name: spec.shape for name, spec in serving.structured_outputs.items()}
    assert shapes == {"sum": [2, 8], "difference": [2, 8]}
    assert {name: spec.shape for name, spec in serving.structured_input_signature[1].items()} == {
        "left": [2, 8],
        "right": [2, 8],
    }


def test_weights_are_variables_of_the_saved_model_and_constants_of_the_frozen_graph(
    tiny_program: tuple[Any, Program],
) -> None:
    layer, program = tiny_program
    loaded = tf.saved_model.load(str(program.saved_model))
    assert len(loaded.variables) == 2
    graph_def = read_frozen_graph(program).whole()
    assert not [node for node in graph_def.node if "Variable" in node.op]
    inputs = {"left": np.eye(2, 8, dtype="float32"), "right": np.ones((2, 8), "float32")}
    names = [output.name for output in program.spec.outputs]
    frozen = dict(
        zip(names, run_frozen(program, *(inputs[s.name] for s in program.spec.inputs)), strict=True)
    )
    for name, tensor in layer(inputs).items():
        np.testing.assert_allclose(frozen[name], tensor, rtol=1e-6, atol=1e-6)


def test_a_tensor_returned_twice_gives_two_outputs(tmp_path: Path) -> None:
    program = program_of(lambda x: [x, x, x + 1], tmp_path)
    assert len(set(program.output_tensors)) == 3
    ones = np.ones((2, 3), "float32")
    first, second, third = run_frozen(program, ones)
    np.testing.assert_array_equal(first, ones)
    np.testing.assert_array_equal(second, ones)
    np.testing.assert_array_equal(third, ones + 1)


def test_an_unused_input_is_kept(tmp_path: Path) -> None:
    two = [tf.TensorSpec([1], tf.float32, name) for name in ("a", "b")]
    layer = hubopt.KerasLayer(tf.function(lambda n: n[1] + 1, input_signature=[two]))
    program = trace(layer, hubopt.resolve(layer), tmp_path)
    zero, one = np.zeros(1, "float32"), np.ones(1, "float32")
    assert run_frozen(program, zero, one)[0] == 2


def test_an_already_compiled_model_is_inlined(tmp_path: Path) -> None:
    inner = tf.function(lambda x: tf.nn.relu(x) + 1, jit_compile=True)
    program = program_of(lambda x: inner(x) * 2, tmp_path)
    assert not [used.op for used in program.ops if "Call" in used.op]
    assert run_frozen(program, -np.ones((2, 3), "float32"))[0].max() == 2


def test_our_own_saved_model_can_be_exported_again(
    tiny_program: tuple[Any, Program], tmp_path: Path
) -> None:
    _, program = tiny_program
    again = hubopt.KerasLayer(program.saved_model)
    spec = hubopt.resolve(again)
    assert {str(output) for output in spec.outputs} == {
        str(output) for output in program.spec.outputs
    }
    assert trace(again, spec, tmp_path, "require").compiled


def test_control_flow_stays_functional(tmp_path: Path) -> None:
    def loop(x: tf.Tensor) -> tf.Tensor:
        return tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * 2), (0, x))[1]

    program = program_of(loop, tmp_path)
    assert {"While", "StatelessWhile"} & {used.op for used in program.ops}
    assert use(program, "Less").count == 1  # inside the loop's condition
    assert run_frozen(program, np.ones((2, 3), "float32"))[0].max() == 8


def test_operations_that_xla_lacks_are_named_before_compiling(tmp_path: Path) -> None:
    with pytest.raises(UncompilableError) as caught:
        program_of(tf.strings.lower, tmp_path / "a", tf.string, xla="require")
    assert "XLA cannot compile StringLower (x1, " in str(caught.value)
    assert "leave out --xla require" in caught.value.way_out
    program = program_of(tf.strings.lower, tmp_path / "b", tf.string)
    assert not program.is_compilable
    lower = use(program, "StringLower")
    assert lower.string
    assert not lower.xla
    assert not lower.generic


def test_a_generic_operation_applied_to_strings_is_detected(tmp_path: Path) -> None:
    program = program_of(lambda x: tf.where(x > 0, "yes", "no"), tmp_path)
    select = use(program, "SelectV2")
    assert select.string
    assert select.generic
    assert not select.xla
    assert not program.is_compilable


def test_messages_of_assertions_do_not_count_as_string_operations(tmp_path: Path) -> None:
    def checked(x: tf.Tensor) -> tf.Tensor:
        with tf.control_dependencies([tf.debugging.assert_greater(x, -1e9, "too small")]):
            return x + 1

    program = program_of(checked, tmp_path)
    assert not [used.op for used in program.ops if used.string]
    assert program.is_compilable


def test_a_lookup_table_is_detected_and_kept(tmp_path: Path) -> None:
    root = tf.Module()
    root.table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer([1, 2], [10, 20], tf.int32, tf.int32), -1
    )
    root.__call__ = tf.function(
        root.table.lookup, input_signature=[tf.TensorSpec([2, 3], tf.int32, name="x")]
    )
    tf.saved_model.save(root, str(tmp_path / "model"))
    layer = hubopt.KerasLayer(tmp_path / "model")
    program = trace(layer, hubopt.resolve(layer), tmp_path / "program", "auto")
    assert use(program, "LookupTableFindV2").resource
    assert not program.frozen_graph.exists()
    reloaded = tf.saved_model.load(str(program.saved_model))  # the table was saved too
    assert reloaded(tf.constant([[1, 2, 3]] * 2)).numpy().tolist() == [[10, 20, -1]] * 2


def test_a_stateful_layer_is_refused_and_its_operation_is_named(tmp_path: Path) -> None:
    counter = tf.Variable(0.0)
    with pytest.raises(TraceError, match=r"changes its own variables .*AssignAddVariableOp"):
        program_of(lambda x: x + counter.assign_add(1.0), tmp_path)


@pytest.mark.parametrize("resource", [True, False], ids=["resource", "reference"])
def test_a_tensorflow_1_model_is_traced_with_its_variables(tmp_path: Path, resource: bool) -> None:
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 4], name="x")
        weights = v1.get_variable("w", [4, 2], use_resource=resource)
        y = tf.matmul(x, weights)
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(tmp_path / "m"), {"x": x}, {"y": y})
    layer = open_layer(locate(tmp_path / "m"), LayerOptions())
    spec = hubopt.resolve(layer)
    assert str(spec) == "in  x: float32 1x4\nout y: float32 1x2"
    program = trace(layer, spec, tmp_path / "program", "require")
    assert program.compiled
    inputs = tf.constant([[1.0, 2.0, 3.0, 4.0]])
    served = tf.saved_model.load(str(program.saved_model)).signatures["serving_default"]
    np.testing.assert_allclose(served(x=inputs)["y"], layer({"x": inputs})["y"], rtol=1e-6)


@pytest.mark.parametrize("xla", ["auto", "off"])
def test_only_what_is_required_is_traced_for_xla(tmp_path: Path, xla: str) -> None:
    """Whether it is compiled is for the SavedModel exporter to try."""
    assert not program_of(lambda x: x + 1, tmp_path, xla=xla).compiled


def test_the_default_folder_is_temporary() -> None:
    layer = hubopt.KerasLayer(tf.function(lambda x: x, [tf.TensorSpec([1], tf.float32)]))
    program = hubopt.trace(layer, hubopt.resolve(layer))
    assert program.frozen_graph.is_file()
    assert program.saved_model.is_dir()


def test_tables_together_with_reference_variables_are_refused(tmp_path: Path) -> None:
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.string, [None], name="x")
        source = tf.lookup.KeyValueTensorInitializer(["a", "b"], tf.constant([0, 1], "int64"))
        table = tf.lookup.StaticHashTable(source, 0)
        weights = v1.get_variable("w", [2], use_resource=False)
        y = tf.gather(weights, table.lookup(x))
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        builder = v1.saved_model.Builder(str(tmp_path / "m"))
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
        builder.add_meta_graph_and_variables(
            session, ["serve"], {"serving_default": signature}, main_op=v1.tables_initializer()
        )
        builder.save()
    layer = open_layer(locate(tmp_path / "m"), LayerOptions())
    spec = hubopt.resolve(layer, hubopt.Hints.parse(output_shapes=["1"]))
    with pytest.raises(TraceError, match="lookup tables beside TensorFlow 1 reference variables"):
        trace(layer, spec, tmp_path / "program", "off")
