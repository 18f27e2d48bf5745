"""Each test here fails when an upgrade changes a private API; the message says what to fix."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf
import tensorflow_hub as hub

import hubopt
from hubopt._platform import tf_private
from tests.layers.models import tf1_module

ADVICE = "TensorFlow or tensorflow_hub has changed: fix hubopt/_platform/tf_private.py: "


def test_xla_kernels_are_known_by_name_and_dtype() -> None:
    assert tf_private.xla_kernel_constraints("Conv2D"), ADVICE + "no XLA kernels are registered"
    assert not tf_private.xla_kernel_constraints("StringLower"), ADVICE + "xla_kernel_constraints"
    dtypes = [constraint["T"] for constraint in tf_private.xla_kernel_constraints("AddV2")]
    assert dtypes, ADVICE + "kernel constraints carry no dtypes"
    assert all(tf.float32.as_datatype_enum in constraint for constraint in dtypes)
    assert all(tf.string.as_datatype_enum not in constraint for constraint in dtypes)


def test_fixed_dtypes_come_from_the_definition_of_an_operation() -> None:
    assert tf.string.as_datatype_enum in tf_private.fixed_dtypes("StringLower"), ADVICE
    assert tf.resource.as_datatype_enum in tf_private.fixed_dtypes("LookupTableFindV2"), ADVICE
    assert not tf_private.fixed_dtypes("Identity"), ADVICE
    assert not tf_private.fixed_dtypes("a_function_of_the_graph"), ADVICE


def test_jit_compile_sets_its_attribute() -> None:
    inner = tf.function(lambda x: x + 1, jit_compile=True)
    outer = tf.function(inner, input_signature=[tf.TensorSpec([], tf.float32)])
    graph_def = outer.get_concrete_function().graph.as_graph_def()
    assert tf_private.compiled_functions(graph_def), ADVICE + tf_private.MUST_COMPILE
    tf_private.clear_must_compile(graph_def)
    assert not tf_private.compiled_functions(graph_def)


def test_private_attributes_of_a_hub_layer_are_read(tiny: Path) -> None:
    layer = hubopt.KerasLayer(tiny, input_shape=[8], output_shape={"sum": [8], "difference": [8]})
    assert callable(tf_private.layer_callable(layer)), ADVICE + "_callable"
    assert tf_private.layer_signature(layer) is None, ADVICE + "_signature"
    assert tf_private.layer_input_hint(layer) == (None, 8), ADVICE + "_batch_input_shape"
    assert tf_private.layer_arguments(hub.KerasLayer(tf.identity, arguments={"a": 1})) == {"a": 1}
    assert tf_private.layer_output_hint(layer)["sum"] == [8], ADVICE + "_output_shape"
    signature = hubopt.KerasLayer(tiny, signature="serving_default", output_key="sum")
    assert tf_private.layer_signature(signature) == "serving_default", ADVICE + "_signature"
    assert tf_private.layer_output_key(signature) == "sum", ADVICE + "_output_key"


def test_private_attributes_of_keras_3_are_read(tiny: Path) -> None:
    import keras

    from hubopt.keras3 import KerasLayer

    layer = KerasLayer(tf.identity, input_shape=[8])
    assert tf_private.layer_input_hint(layer) == (None, 8), ADVICE + "_input_shape_arg"
    inputs = keras.Input((8,))
    layer(inputs)
    (node,) = tf_private.keras_nodes(layer)
    assert node.input_tensors[0] is inputs, ADVICE + "_inbound_nodes"
    masked = keras.layers.Embedding(4, 2, mask_zero=True)(keras.Input((3,), dtype="int32"))
    assert tf_private.keras_mask(masked) is not None, ADVICE + "_keras_mask"
    assert tf_private.keras_mask(inputs) is None, ADVICE + "_keras_mask"


def test_losses_of_weights_are_marked() -> None:
    import tf_keras

    regularized = tf_keras.layers.Dense(1, kernel_regularizer="l2", activity_regularizer="l2")
    regularized(tf.ones([1, 2]))
    marks = [tf_private.is_unconditional(loss) for loss in regularized.losses]
    assert sorted(marks) == [False, True], ADVICE + "_unconditional_loss"


def test_reference_variables_are_read_through_their_nodes(tmp_path: Path) -> None:
    folder = tf1_module(tmp_path / "model", False)
    loaded = tf.saved_model.load(str(folder), tags=[])
    graph_def = loaded.signatures["default"].graph.as_graph_def()
    nodes = [node for node in graph_def.node if node.op in tf_private.REFERENCE_VARIABLES]
    values = tf_private.reference_values(nodes)
    expected = [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    assert [value.numpy().tolist() for value in values.values()] == [expected], ADVICE
    constant = tf_private.constant_node("w", next(iter(values.values())))
    assert tf.make_ndarray(constant.attr["value"].tensor).tolist() == expected, ADVICE


def test_restored_traces_are_listed(tiny: Path) -> None:
    ((args, kwargs),) = tf_private.restored_signatures(tf.saved_model.load(str(tiny)))
    assert set(args[0]) == {"left", "right"}, ADVICE + "concrete_functions"
    assert kwargs == {}
    assert tf_private.restored_signatures(lambda x: x) == []


def test_the_registry_of_operations_can_be_read() -> None:
    assert tf_private.is_registered("MatMul"), ADVICE + "op_def_registry"
    assert not tf_private.is_registered("NoSuchOperation"), ADVICE + "op_def_registry"
    arguments = tf_private.operation_arguments()
    assert arguments["WriteFile"] == ("filename", "contents"), ADVICE + "TF_GetAllOpList"
    assert "output_stream" in arguments["PrintV2"], ADVICE + "TF_GetAllOpList"


def test_the_file_of_a_saved_model_is_read_as_a_message(tiny: Path) -> None:
    saved_model = tf_private.read_saved_model(tiny)
    assert len(saved_model.meta_graphs) == 1, ADVICE + "parse_saved_model"
    assert saved_model.meta_graphs[0].graph_def.library.function, ADVICE + "parse_saved_model"


def test_a_fingerprint_can_be_computed_again(tiny: Path) -> None:
    stored = tf.saved_model.experimental.read_fingerprint(str(tiny))
    again = tf_private.fingerprint_of(tiny)
    assert again.saved_model_checksum == stored.saved_model_checksum, ADVICE + "fingerprinting"
    assert again.checkpoint_hash == stored.checkpoint_hash, ADVICE + "fingerprinting"
    assert again.version.producer == stored.version.producer, ADVICE + "fingerprinting"


def test_cpu_kernels_are_known_by_dtype() -> None:
    double = tf.float64.as_datatype_enum
    dtypes = [constraint["T"] for constraint in tf_private.cpu_kernel_constraints("Conv2D")]
    assert (double,) in dtypes, ADVICE + "cpu_kernel_constraints"
    dtypes = [constraint["T"] for constraint in tf_private.cpu_kernel_constraints("LRN")]
    assert dtypes, ADVICE + "cpu_kernel_constraints"
    assert (double,) not in dtypes, ADVICE + "LRN has a float64 kernel: name another operation"
    # The kernel is registered for DEFAULT (any device), and the CPU falls back to it.
    dtypes = [constraint["T"] for constraint in tf_private.cpu_kernel_constraints("NextIteration")]
    assert (double,) in dtypes, ADVICE + "the device DEFAULT"


def test_the_definition_of_an_operation_names_its_arguments() -> None:
    definition = tf_private.op_definition("FusedBatchNormV3")
    names = ["x", "scale", "offset", "mean", "variance"]
    assert [argument.name for argument in definition.input_arg] == names, ADVICE + "op_definition"
    assert tf_private.op_definition("NoSuchOperation") is None, ADVICE + "op_definition"


@pytest.mark.parametrize("switch", ["0", "1"])
def test_whether_onednn_is_on_is_known(switch: str) -> None:
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            "from hubopt._platform import tf_private as t; print(t.onednn_is_on())",
        ],
        env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": switch},
        capture_output=True,
        text=True,
        check=True,
    )
    on = switch == "1" and platform.machine() in ("x86_64", "AMD64")
    assert ran.stdout.strip() == str(on), ADVICE + "IsMklEnabled"


def test_the_registry_says_which_operations_are_stateful() -> None:
    stateful = tf_private.stateful_operations()
    assert {"VarHandleOp", "RandomUniform"} <= stateful, ADVICE + "TF_GetAllOpList"
    assert "Add" not in stateful, ADVICE + "TF_GetAllOpList"


def test_a_program_of_stablehlo_is_read(capfd: pytest.CaptureFixture[str]) -> None:
    from tensorflow.compiler.mlir.stablehlo import stablehlo

    text = "func.func @main(%x: tensor<f32>) -> tensor<f32> { return %x : tensor<f32> }"
    module = stablehlo.serialize_portable_artifact_str(text, stablehlo.get_minimum_version())
    printed = tf_private.stablehlo_text(module)
    assert printed is not None, ADVICE + "stablehlo or ExperimentalRunPassPipeline"
    assert "func.func @main(%arg0: tensor<f32>)" in printed, ADVICE + "the printer of MLIR"
    assert tf_private.stablehlo_text(b"func.nothing") is None
    capfd.readouterr()  # discard what MLIR writes to stderr
