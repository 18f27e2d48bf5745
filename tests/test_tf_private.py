"""Each test here fails when an upgrade moves something private; the message says what to do."""

from pathlib import Path

import tensorflow as tf

import hubopt
from hubopt import tf_private

ADVICE = (
    "TensorFlow or tensorflow_hub has changed: find the new way and mend hubopt/tf_private.py: "
)


def test_freeze() -> None:
    variable = tf.Variable(2.0)
    concrete = tf.function(
        lambda x: x * variable, input_signature=[tf.TensorSpec([], tf.float32, name="x")]
    ).get_concrete_function()
    frozen = tf_private.freeze(concrete)
    assert [tensor.name for tensor in frozen.inputs] == ["x:0"], ADVICE + "freeze"
    assert not [op for op in frozen.graph.get_operations() if "Variable" in op.type], (
        ADVICE + "freeze"
    )


def test_xla_kernels_are_known_by_name_and_dtype() -> None:
    assert tf_private.xla_kernel_constraints("Conv2D"), ADVICE + "no XLA kernels are registered"
    assert not tf_private.xla_kernel_constraints("StringLower"), ADVICE + "xla_kernel_constraints"
    dtypes = [each["T"] for each in tf_private.xla_kernel_constraints("AddV2")]
    assert dtypes, ADVICE + "kernel constraints carry no dtypes"
    assert all(tf.float32.as_datatype_enum in each for each in dtypes)
    assert all(tf.string.as_datatype_enum not in each for each in dtypes)


def test_fixed_dtypes_come_from_the_definition_of_an_operation() -> None:
    assert tf.string.as_datatype_enum in tf_private.fixed_dtypes("StringLower"), ADVICE
    assert tf.resource.as_datatype_enum in tf_private.fixed_dtypes("LookupTableFindV2"), ADVICE
    assert not tf_private.fixed_dtypes("Identity"), ADVICE
    assert not tf_private.fixed_dtypes("a_function_of_the_graph"), ADVICE


def test_jit_compile_leaves_its_attribute() -> None:
    inner = tf.function(lambda x: x + 1, jit_compile=True)
    outer = tf.function(inner, input_signature=[tf.TensorSpec([], tf.float32)])
    graph_def = outer.get_concrete_function().graph.as_graph_def()
    assert tf_private.compiled_functions(graph_def), ADVICE + tf_private.MUST_COMPILE
    tf_private.clear_must_compile(graph_def)
    assert not tf_private.compiled_functions(graph_def)


def test_what_a_hub_layer_keeps_to_itself(tiny: Path) -> None:
    layer = hubopt.KerasLayer(tiny, input_shape=[8], output_shape={"sum": [8], "difference": [8]})
    assert callable(tf_private.layer_callable(layer)), ADVICE + "_callable"
    assert tf_private.layer_signature(layer) is None, ADVICE + "_signature"
    assert tf_private.layer_input_hint(layer) == (None, 8), ADVICE + "_batch_input_shape"
    assert tf_private.layer_output_hint(layer)["sum"] == [8], ADVICE + "_output_shape"
    signature = hubopt.KerasLayer(tiny, signature="serving_default", output_key="sum")
    assert tf_private.layer_signature(signature) == "serving_default", ADVICE + "_signature"
    assert tf_private.layer_output_key(signature) == "sum", ADVICE + "_output_key"


def test_restored_traces_are_listed(tiny: Path) -> None:
    ((args, kwargs),) = tf_private.restored_signatures(tf.saved_model.load(str(tiny)))
    assert set(args[0]) == {"left", "right"}, ADVICE + "concrete_functions"
    assert kwargs == {}
    assert tf_private.restored_signatures(lambda x: x) == []


def test_a_saved_model_is_described_without_loading_it(tiny: Path) -> None:
    (graph,) = tf_private.read_meta_graphs(tiny)
    assert graph.tags == {"serve"}, ADVICE + "parse_saved_model"
    outputs = {"serving_default": ("difference", "sum")}
    assert graph.signatures == outputs, ADVICE + "signature_def"
    assert graph.can_be_called, ADVICE + "object_graph_def"


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
