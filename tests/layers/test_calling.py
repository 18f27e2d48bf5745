"""How a callable declares its inputs, and how given inputs are converted to them."""

from __future__ import annotations

import functools
from collections import namedtuple
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from hubopt.layers.calling import declared_inputs, fit_inputs, takes_training

FLOATS = tf.TensorSpec([None, 2], tf.float32)
WHOLE = tf.TensorSpec([None], tf.int64)
TEXTS = tf.TensorSpec([None], tf.string)


def with_training(x: Any, training: bool = False) -> Any:
    return x


class Callable:
    def __call__(self, x: Any, *, training: bool) -> Any:
        return x


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (with_training, True),
        (functools.partial(with_training), True),
        (tf.function(with_training), True),
        (Callable(), True),
        (lambda x: x, False),
        (len, False),
        (tf.identity, False),
    ],
)
def test_a_training_argument_is_found(function: Any, expected: bool) -> None:
    assert takes_training(function) is expected


def test_a_function_without_an_input_signature_declares_no_inputs() -> None:
    assert declared_inputs(lambda x: x) == []
    assert declared_inputs(tf.function(lambda x: x)) == []
    assert declared_inputs(tf.function(lambda x: x, input_signature=[FLOATS])) == [FLOATS]


def fitted(trace: Any, inputs: Any) -> Any:
    return fit_inputs("it", [trace], inputs, "float32")


def test_floats_are_cast_to_the_declared_dtype() -> None:
    assert fitted(FLOATS, np.ones([3, 2])).dtype == tf.float32
    assert fitted(tf.TensorSpec([None], tf.float16), np.ones(3)).dtype == tf.float16


def test_python_numbers_take_the_declared_dtype() -> None:
    assert fitted(FLOATS, [[1, 2]]).dtype == tf.float32
    assert fitted(WHOLE, [1, 2]).dtype == tf.int64
    assert fitted(tf.TensorSpec([], tf.float64), 1).dtype == tf.float64


def test_a_list_of_texts_becomes_one_tensor() -> None:
    assert fitted(TEXTS, ["a", "b"]).numpy().tolist() == [b"a", b"b"]


def test_nests_take_the_container_types_of_the_trace() -> None:
    Pair = namedtuple("Pair", ["a", "b"])
    assert isinstance(fitted([WHOLE, TEXTS], Pair([1], ["x"])), list)  # the trace takes only a list
    assert isinstance(fitted((WHOLE, TEXTS), [[1], ["x"]]), tuple)
    pair = fitted(Pair(WHOLE, TEXTS), ([1], ["x"]))
    assert isinstance(pair, Pair)
    assert pair.a.dtype == tf.int64
    assert set(fitted({"a": WHOLE, "b": TEXTS}, {"b": ["x"], "a": [1]})) == {"a", "b"}


def test_ragged_and_sparse_inputs_stay_ragged_and_sparse() -> None:
    ragged = tf.ragged.constant([[1.0], [2.0, 3.0]])
    assert fitted(tf.RaggedTensorSpec([None, None], tf.float32), ragged) is ragged
    double = tf.cast(ragged, tf.float64)
    assert fitted(tf.RaggedTensorSpec([None, None], tf.float32), double).dtype == tf.float32
    sparse = tf.sparse.eye(3, dtype=tf.float64)
    found = fitted(tf.SparseTensorSpec([None, 3], tf.float32), sparse)
    assert isinstance(found, tf.SparseTensor)
    assert found.dtype == tf.float32


@pytest.mark.parametrize(
    ("trace", "inputs", "message"),
    [
        (FLOATS, np.ones([3, 4], "float32"), r"takes float32 \(None, 2\), and was given float32"),
        (WHOLE, np.ones(3), r"takes int64 \(None,\), and was given float64 \(3,\)"),
        (WHOLE, np.ones(3, "int32"), r"and was given int32 \(3,\)"),
        (WHOLE, [1.5], r"and was given \[a float\]"),
        ([WHOLE, WHOLE], [[1]], r"takes \[int64 \(None,\), int64 \(None,\)\]"),
        ({"a": WHOLE, "b": WHOLE}, {"a": [1]}, r"takes {a: int64 \(None,\), b: int64"),
        (TEXTS, [["a"], ["b", "c"]], r"takes string \(None,\)"),
        (FLOATS, tf.sparse.eye(2), r"and was given sparse float32 \(2, 2\)"),
        (FLOATS, tf.ragged.constant([[1.0], [2.0, 3.0]]), r"and was given ragged float32"),
        (
            tf.RaggedTensorSpec([None, None], tf.float32),
            np.ones([2, 2], "float32"),
            r"takes ragged float32 \(None, None\), and was given float32 \(2, 2\)",
        ),
    ],
)
def test_inputs_that_do_not_fit_are_reported_in_one_line(
    trace: Any, inputs: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        fitted(trace, inputs)
    assert "\n" not in str(caught.value)


def test_only_the_first_of_many_traces_are_reported() -> None:
    traces = [tf.TensorSpec([size], tf.float32) for size in range(2, 8)]
    with pytest.raises(ValueError, match=r"float32 \(4,\) or 3 more, and was given"):
        fit_inputs("it", traces, np.ones(9), None)


@pytest.mark.parametrize(
    ("declared", "given", "float_dtype", "expected"),
    [
        (["float16", "float32"], "float32", "float32", "float32"),
        (["float32", "float16"], "float16", "float32", "float32"),
        (["float64", "float32"], "float32", "float32", "float32"),
        (["float32", "float64"], "float64", "float64", "float64"),
        (["float32", "float64"], "float64", None, "float64"),
        (["float16", "float64"], "float32", None, "float64"),
        (["float16", "int32"], "float64", None, "float16"),
    ],
)
def test_the_trace_that_loses_least_precision_is_chosen(
    declared: list[str], given: str, float_dtype: str | None, expected: str
) -> None:
    """As in tensorflow_hub: first the layer's own dtype, then the input's, then a wider one."""
    for order in (declared, declared[::-1]):
        traces = [tf.TensorSpec([None], dtype) for dtype in order]
        found = fit_inputs("it", traces, tf.ones([2], given), float_dtype)
        assert found.dtype.name == expected


def test_without_traces_floats_take_the_layers_dtype_or_keep_their_own() -> None:
    double = tf.ones([2], tf.float64)
    assert fit_inputs("it", [], double, "float32").dtype == tf.float32
    assert fit_inputs("it", [], double, None) is double
    assert fit_inputs("it", [], double, "string") is double
