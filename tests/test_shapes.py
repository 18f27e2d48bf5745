"""What settles a dimension, in which order, and what is said when nothing does."""

from collections.abc import Callable
from typing import Any

import pytest
import tensorflow as tf

import hubopt
from hubopt.errors import SpecError, TraceError
from hubopt.spec import Hints


def layer(
    function: Callable[..., Any] = tf.identity, shape: Any = (None, 3), **options: Any
) -> hubopt.KerasLayer:
    """A layer over ``function`` with one input ``x`` declared with ``shape``."""
    spec = tf.TensorSpec(shape, tf.float32, name="x")
    return hubopt.KerasLayer(tf.function(function, input_signature=[spec]), **options)


def origins(spec: hubopt.TensorSpec) -> list[tuple[int, str]]:
    return [(dim.size, dim.origin) for dim in spec.dims]


@pytest.mark.parametrize(
    ("shape", "options", "hints", "expected"),
    [
        ((None, 3), {}, {}, [(1, "default"), (3, "signature")]),
        ((None, 3), {}, {"batch": 4}, [(4, "flag"), (3, "signature")]),
        ((2, 3), {}, {}, [(2, "signature"), (3, "signature")]),
        ((2, 3), {}, {"batch": 2}, [(2, "flag"), (3, "signature")]),
        ((None, None), {}, {"input_shapes": ["x=5x7"]}, [(5, "flag"), (7, "flag")]),
        ((None, None), {}, {"input_shapes": ["5x7"]}, [(5, "flag"), (7, "flag")]),
        ((None, None), {}, {"input_shapes": ["?x7"]}, [(1, "default"), (7, "flag")]),
        ((None, None), {"input_shape": [7]}, {}, [(1, "default"), (7, "layer")]),
        ((None, None), {"input_shape": [7]}, {"batch": 9}, [(9, "flag"), (7, "layer")]),
        (None, {}, {"input_shapes": ["2x2"]}, [(2, "flag"), (2, "flag")]),
        (None, {"input_shape": []}, {}, [(1, "default")]),
        ((), {}, {}, []),
    ],
)
def test_the_strongest_source_settles_a_dimension(
    shape: Any, options: dict[str, Any], hints: dict[str, Any], expected: list[tuple[int, str]]
) -> None:
    spec = hubopt.resolve(layer(shape=shape, **options), Hints.parse(**hints))
    assert origins(spec.inputs[0]) == expected
    assert spec.outputs[0].shape == spec.inputs[0].shape


@pytest.mark.parametrize(
    ("shape", "options", "hints", "told"),
    [
        ((None, None), {}, {}, "input x: dimension 1 of 1x? is unknown; say --input-shape x=1xN"),
        (None, {}, {}, "input x: nothing declares its rank; say --input-shape x="),
        (
            (None, 3),
            {},
            {"input_shapes": ["3"]},
            "input x: ranks differ: 3 (flag), ?x3 (signature)",
        ),
        ((2, 3), {}, {"batch": 4}, "input x: --batch 4, but dimension 0 is 2 (signature)"),
        (
            (None, 3),
            {},
            {"input_shapes": ["1x4"]},
            "input x: dimension 1 differs: 1x4 (flag), ?x3 (signature)",
        ),
        ((None, 3), {"input_shape": [4]}, {}, "differs: ?x4 (layer), ?x3 (signature)"),
        ((None, 3), {}, {"input_shapes": ["y=1x3"]}, "--input-shape y=...: no input of this name"),
        ((None, 3), {}, {"dtypes": ["int32"]}, "--dtype int32, but the signature takes float32"),
        ((None, 3), {}, {"output_shapes": ["1x4"]}, "dimension 1 differs: 1x4 (flag), 1x3 (trace)"),
        ((None, 3), {}, {"output_shapes": ["y=1x3"]}, "--output-shape y=...: no output of this"),
    ],
)
def test_what_conflicts_or_stays_open_is_told(
    shape: Any, options: dict[str, Any], hints: dict[str, Any], told: str
) -> None:
    with pytest.raises(SpecError) as caught:
        hubopt.resolve(layer(shape=shape, **options), Hints.parse(**hints))
    assert told in str(caught.value)


def test_every_problem_is_told_at_once() -> None:
    two = [tf.TensorSpec([None, None], tf.float32, name) for name in ("a", "b")]
    function = tf.function(lambda nest: nest[0], input_signature=[two])
    hints = Hints.parse(["a=1x2x3"], ["b=int32"])
    with pytest.raises(SpecError) as caught:
        hubopt.resolve(hubopt.KerasLayer(function), hints)
    problems = caught.value.problems
    assert len(problems) == 3
    assert problems[0].startswith("input a: ranks differ")
    assert problems[1].startswith("input b: dimension 1 of 1x? is unknown")
    assert problems[2].startswith("input b: --dtype int32")


def test_an_unnamed_hint_needs_a_single_input() -> None:
    two = [tf.TensorSpec([1], tf.float32, name) for name in ("a", "b")]
    function = tf.function(lambda nest: nest[0], input_signature=[two])
    with pytest.raises(SpecError, match="without a name, but there are 2 inputs"):
        hubopt.resolve(hubopt.KerasLayer(function), Hints.parse(["1"]))


def test_a_plain_function_needs_shape_and_dtype() -> None:
    plain = hubopt.KerasLayer(lambda x: x)
    with pytest.raises(SpecError) as caught:
        hubopt.resolve(plain)
    assert len(caught.value.problems) == 2
    spec = hubopt.resolve(plain, Hints.parse(["1x2"], ["int64"]))
    assert str(spec) == "in  input: int64 1x2\nout output_0: int64 1x2"


def test_the_dtype_hint_of_the_layer_fills_a_gap() -> None:
    plain = hubopt.KerasLayer(lambda x: x, dtype=tf.string)
    spec = hubopt.resolve(plain, Hints.parse(["3"]))
    assert (spec.inputs[0].dtype, spec.inputs[0].dtype_origin) == ("string", "layer")


def open_shape(tensor: tf.Tensor) -> tf.Tensor:
    """Hide a tensor's shape from shape inference."""
    return tf.reshape(tensor, tf.random.shuffle(tf.shape(tensor)) * 0 + tf.shape(tensor))


def test_what_the_trace_leaves_open_is_asked_for_with_what_samples_gave() -> None:
    told = (
        r"output output_0: the trace gives \?x\?; every sample gave 2x3; "
        r"if it is the same for every input, say --output-shape output_0=2x3"
    )
    with pytest.raises(SpecError, match=told):
        hubopt.resolve(layer(open_shape, (2, 3)))
    spec = hubopt.resolve(layer(open_shape, (2, 3)), Hints.parse(output_shapes=["2x3"]))
    assert origins(spec.outputs[0]) == [(2, "flag"), (3, "flag")]


@pytest.mark.parametrize(
    ("keep", "seen"),
    [(0.5, ""), (100.0, "; every sample gave 0"), (-100.0, "; every sample gave 64")],
)
def test_a_shape_that_depends_on_the_data_is_never_guessed(keep: float, seen: str) -> None:
    data_dependent = layer(lambda x: tf.boolean_mask(x, x > keep), (64,))
    with pytest.raises(SpecError) as caught:
        hubopt.resolve(data_dependent)
    assert f"the trace gives ?{seen}; if it is" in str(caught.value)


def test_an_input_too_large_to_sample_is_refused_before_it_is_drawn() -> None:
    with pytest.raises(SpecError, match="100000000000x3 is 1200.0 GB a sample; at most 2.1 GB"):
        hubopt.resolve(layer(), Hints(batch=10**11))


def test_a_layer_that_does_not_take_the_inputs_says_so() -> None:
    told = "calling it with x: float32 1x3 fails: ValueError: .*Dimensions must be equal"
    with pytest.raises(TraceError, match=told):
        hubopt.resolve(layer(lambda x: tf.matmul(x, tf.zeros([4, 4]))))


def test_a_wrong_output_shape_of_the_layer_is_an_error() -> None:
    told = (
        "calling it with x: float32 1x3 fails: ValueError: Dimension 1 in both shapes must be equal"
    )
    with pytest.raises(TraceError, match=told):
        hubopt.resolve(layer(output_shape=[4]))


def test_a_model_that_returns_nothing_is_refused() -> None:
    with pytest.raises(SpecError, match="outputs: the model returns nothing"):
        hubopt.resolve(layer(lambda x: {}))


def test_a_function_is_wrapped() -> None:
    spec = hubopt.resolve(lambda x: x + 1, Hints.parse(["2"], ["int32"]))
    assert str(spec) == "in  input: int32 2\nout output_0: int32 2"
    assert hubopt.trace(lambda x: x + 1, spec).spec == spec


def test_ragged_outputs_are_refused_by_name() -> None:
    ragged = layer(lambda x: tf.RaggedTensor.from_tensor(x))
    with pytest.raises(TraceError, match="it returns RaggedTensor"):
        hubopt.resolve(ragged)


def test_outputs_that_would_share_a_name_are_refused() -> None:
    clash = layer(lambda x: {"a/b": x, "a": {"b": x}})
    with pytest.raises(SpecError, match="two of them would have one name: a/b, a/b"):
        hubopt.resolve(clash)


def test_the_output_key_names_the_output(tiny: Any) -> None:
    chosen = hubopt.KerasLayer(tiny, signature="serving_default", output_key="sum")
    assert [each.name for each in hubopt.resolve(chosen).outputs] == ["sum"]
