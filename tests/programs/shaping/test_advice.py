"""The errors for what is open suggest flags that parse and lead on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tensorflow as tf

import hubopt
from hubopt.errors import SpecError, TraceError
from tests.programs.shaping.pasting import advice, parse, pasted
from tests.programs.shaping.test_shapes import UNKNOWN, hide_shape, layer, two_inputs, uncompilable

Make = Callable[[], Any]
WEIGHTS = tf.ones([5 * 7, 2])


def strict(x: tf.Tensor) -> tf.Tensor:
    """Take images of 256 by 256 alone."""
    with tf.control_dependencies([tf.debugging.assert_equal(tf.shape(x)[1:3], 256)]):
        return tf.reduce_mean(x, [1, 2])


def refusing(x: tf.Tensor) -> tf.Tensor:
    """Refuse every value that is drawn."""
    with tf.control_dependencies([tf.debugging.assert_equal(x, 12345.0)]):
        return uncompilable(x)


OPEN: dict[str, tuple[Make, dict[str, object]]] = {
    # a layer, flags that are given already
    "a size": (lambda: layer(shape=(None, None)), {}),
    "two sizes of one input": (lambda: layer(shape=(None, None, None)), {}),
    "an image": (lambda: layer(shape=(None, None, None, 3)), {}),
    "an image of one size": (lambda: layer(strict, (None, None, None, None)), {}),
    "a video": (lambda: layer(lambda x: tf.reduce_mean(x), (None, None, None, None, 3)), {}),
    "features that a matrix takes": (
        lambda: layer(lambda x: tf.matmul(x, tf.ones([64, 2])), (None, None)),
        {},
    ),
    "a waveform": (lambda: layer(shape=(None,)), {}),
    "no rank": (lambda: layer(shape=UNKNOWN), {}),
    "a plain function": (lambda: hubopt.KerasLayer(lambda x: x), {}),
    "a plain function of a matrix": (
        lambda: hubopt.KerasLayer(lambda x: tf.matmul(x, tf.ones([8, 2]))),
        {},
    ),
    "a dimension without bounds": (lambda: layer(), {"input_shapes": ["Bx3"]}),
    "a placeholder for an output": (
        lambda: layer(lambda x: {"at": tf.where(x > 0)}, (2, 3)),
        {"output_shapes": ["at=Nx2"]},
    ),
    "a dtype for several inputs": (
        lambda: two_inputs(
            [tf.TensorSpec([2], tf.float32, name) for name in ("a", "b")], lambda nest: nest[0]
        ),
        {"dtypes": ["float32"]},
    ),
    "a name with spaces": (
        lambda: two_inputs({"the input": tf.TensorSpec([1, None], tf.float32)}, lambda nest: nest),
        {},
    ),
    "a shape beside a dynamic dimension": (
        lambda: layer(shape=(None, None)),
        {"input_shapes": ["Bx?"], "dims": ["B=1:2:3"]},
    ),
    "every drawn sample is refused": (lambda: layer(refusing, (2, 3)), {}),
}


@pytest.mark.parametrize("case", OPEN)
def test_advice_leads_on_when_it_is_pasted(case: str) -> None:
    make, hints = OPEN[case]
    built = make()
    with pytest.raises(SpecError) as caught:
        hubopt.resolve(built, parse(hints))
    found = advice(caught.value.problems)
    assert found
    given = hints
    for arguments in found:
        if arguments[0] == "--batch":  # the other reading of a dimension
            assert hubopt.resolve(built, parse(pasted(hints, arguments)))
        else:
            given = pasted(given, arguments)
    assert hubopt.resolve(built, parse(given))


def test_an_example_has_a_size_that_the_layer_takes() -> None:
    with pytest.raises(SpecError, match=r"say --input-shape x=1x256x256x3, or other sizes"):
        hubopt.resolve(layer(strict, (None, None, None, 3)))


def test_no_example_is_given_that_fails() -> None:
    """No square image of the usual sizes has 35 elements in a channel."""
    flat = layer(lambda x: tf.matmul(tf.reshape(x, [1, -1]), WEIGHTS), (None, None, None, 1))
    message = r"say --input-shape 'x=1x\?x\?x1', with a size for each \?"
    with pytest.raises(SpecError, match=message):
        hubopt.resolve(flat)


def test_an_input_is_named_where_its_batch_is_at_fault() -> None:
    def pairs(x: tf.Tensor) -> tf.Tensor:
        with tf.control_dependencies([tf.debugging.assert_equal(tf.shape(x)[0] % 2, 0)]):
            return uncompilable(x)

    built = layer(pairs, (None, 3))
    message = r"input x: dimension 0 is open, and the layer refuses every sample with 1"
    with pytest.raises(SpecError, match=message) as caught:
        hubopt.resolve(built)
    assert len(caught.value.problems) == 1
    assert advice(caught.value.problems) == [["--batch", "2"]]
    assert hubopt.resolve(built, parse({"batch": 2})).outputs[0].shape == (2, 3)


def test_a_refused_trace_names_the_dimension_that_was_taken() -> None:
    built = layer(lambda x: tf.matmul(x, tf.ones([4, 2]), transpose_a=True), (None, 3))
    with pytest.raises(TraceError, match="dimension 0 of x is open, and 1 was taken") as caught:
        hubopt.resolve(built)
    assert advice([caught.value.way_out]) == [["--batch", "4"]]
    assert hubopt.resolve(built, parse({"batch": 4})).outputs[0].shape == (3, 2)


def test_a_question_mark_leaves_an_output_open() -> None:
    spec = hubopt.resolve(layer(uncompilable, (2, 3)), parse({"output_shapes": ["?x3"]}))
    assert spec.outputs[0].named_shape == ("output_0_0", 3)
    assert spec.data_dependent == ("output_0",)


def test_a_question_mark_opens_nothing_that_the_model_settles() -> None:
    for function in (tf.identity, hide_shape):
        spec = hubopt.resolve(layer(function, (2, 3)), parse({"output_shapes": ["?x3"]}))
        assert spec.outputs[0].named_shape == (2, 3)
