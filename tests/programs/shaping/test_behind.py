"""Outputs that shape inference leaves open: settled by XLA, by calls, or left open."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import hubopt
from hubopt.hints import Hints
from hubopt.programs.shaping.behind import XlaDim, result_shapes
from tests.programs.shaping.test_shapes import hide_shape, layer, origins, uncompilable


@pytest.mark.parametrize(("library", "cell"), [(tf_keras, "LSTM"), (keras, "GRU")])
def test_a_recurrent_network_needs_no_flag(library: Any, cell: str, tmp_path: Any) -> None:
    x = library.Input((5, 3), name="x")
    states = getattr(library.layers, cell)(4)(x)
    library.Model(x, states).export(str(tmp_path / "m"))
    saved = hubopt.KerasLayer(
        tmp_path / "m", signature="serving_default", signature_outputs_as_dict=True
    )
    spec = hubopt.resolve(saved, Hints(batch=2))
    assert origins(spec.outputs[0]) == [(2, "xla"), (4, "trace")]


def test_a_branch_needs_no_flag() -> None:
    """Each branch has a shape of its own to shape inference, and both the same to XLA."""

    def call(x: tf.Tensor) -> tf.Tensor:
        first = tf.reshape(x, tf.stack([tf.shape(x)[0], -1]))
        return tf.cond(tf.reduce_sum(x) > 0, lambda: hide_shape(first), lambda: -first)

    spec = hubopt.resolve(layer(call, (2, 3)))
    assert [(dim.size, dim.name) for dim in spec.outputs[0].dims] == [(2, None), (3, None)]


def test_calls_settle_what_xla_cannot_compile() -> None:
    spec = hubopt.resolve(layer(uncompilable, (2, 3)))
    assert origins(spec.outputs[0]) == [(2, "run"), (3, "run")]
    spec = hubopt.resolve(layer(uncompilable, (2, 3)), data=np.ones([2, 3], "float32"))
    assert origins(spec.outputs[0]) == [(2, "sample"), (3, "sample")]


def test_calls_settle_where_xla_is_not_asked() -> None:
    from hubopt.programs.shaping.shapes import resolve

    spec = resolve(layer(hide_shape, (2, 3)), probe=False)
    assert origins(spec.outputs[0]) == [(2, "run"), (3, "run")]


@pytest.mark.parametrize("compiles", [True, False])
@pytest.mark.parametrize("keep", [0.5, 100.0, -100.0])
def test_a_size_that_depends_on_the_data_stays_open(keep: float, compiles: bool) -> None:
    """It does even if every sample gives 0 elements, or all 64."""

    def call(x: tf.Tensor) -> tf.Tensor:
        kept = tf.boolean_mask(x, x > keep)
        return kept if compiles else uncompilable(kept)

    for data in (None, np.linspace(0, 1, 64, dtype="float32")):
        spec = hubopt.resolve(layer(call, (64,)), data=data)
        assert origins(spec.outputs[0]) == [("output_0_0", "run")]
        assert spec.data_dependent == ("output_0",)


def test_a_size_that_differs_between_calls_stays_open() -> None:
    def call(x: tf.Tensor) -> tf.Tensor:
        return uncompilable(tf.zeros([tf.reduce_sum(tf.cast(x > 0.25, tf.int32)), 3]))

    spec = hubopt.resolve(layer(call, (64,)))
    assert origins(spec.outputs[0]) == [("output_0_0", "run"), (3, "run")]


def test_no_elements_in_any_call_prove_no_size() -> None:
    def call(x: tf.Tensor) -> tf.Tensor:
        return uncompilable(tf.zeros([tf.reduce_sum(tf.cast(x > 1e30, tf.int32)), 3]))

    assert origins(hubopt.resolve(layer(call, (64,))).outputs[0]) == [
        ("output_0_0", "run"),
        (3, "run"),
    ]


def test_picking_elements_opens_only_the_outputs_behind_it() -> None:
    def call(x: tf.Tensor) -> Any:
        return {"kept": uncompilable(tf.boolean_mask(x, x > -100)), "all": uncompilable(x)}

    spec = hubopt.resolve(layer(call, (64,)))
    assert {output.name: output.named_shape for output in spec.outputs} == {
        "all": (64,),
        "kept": ("kept_0",),
    }


def test_a_call_overrules_xla(monkeypatch: pytest.MonkeyPatch) -> None:
    from hubopt.programs.shaping import behind

    wrong = {"output_0": (XlaDim(7), XlaDim(3))}
    monkeypatch.setattr(behind, "_xla_shapes", lambda *_: wrong)
    spec = hubopt.resolve(layer(hide_shape, (2, 3)))
    assert origins(spec.outputs[0]) == [(2, "run"), (3, "xla")]


def test_the_results_of_a_compiled_module_are_read() -> None:
    """If this fails, XLA writes its modules differently, and outputs stay open for no reason."""
    function = tf.function(
        lambda x: (x > 0, tf.where(x > 0), tf.cast(x, tf.bfloat16), tf.reduce_sum(x)),
        jit_compile=True,
    )
    hlo = function.experimental_get_compiler_ir(tf.TensorSpec([2, 4], tf.float32))(stage="hlo")
    assert result_shapes(hlo) == [
        ("bool", (XlaDim(2), XlaDim(4))),
        ("int64", (XlaDim(8, is_bound=True), XlaDim(2))),
        ("bfloat16", (XlaDim(2), XlaDim(4))),
        ("float32", ()),
    ]
