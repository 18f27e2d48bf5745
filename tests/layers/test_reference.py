"""One test for each member that the reference of hub.KerasLayer lists, on both Keras generations.

``reference_members.txt`` is the list of members from the reference, in its order.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.layers.conftest import Generation

MEMBERS = (Path(__file__).parent / "reference_members.txt").read_text().split()
Saved = Callable[..., str]
CHECKS: dict[str, Callable[[Generation, Saved], None]] = {}


def checks(member: str) -> Callable[[Any], Any]:
    def register(check: Any) -> Any:
        CHECKS[member] = check
        return check

    return register


def half(generation: Generation, saved: Saved, **options: Any) -> Any:
    return generation.layer(saved("half_plus_one"), **options)


def connected(generation: Generation, saved: Saved, **options: Any) -> Any:
    """Return the layer called symbolically once, with its input and output."""
    layer = half(generation, saved, **options)
    inputs = generation.keras.Input((1,))
    return layer, inputs, layer(inputs)


def activity_loss(generation: Generation, regularizer: Any, outputs: Any) -> float:
    """Return the loss that Keras's own layers compute from ``outputs``.

    Whether the loss is a mean differs between versions of Keras.
    """
    own = generation.keras.layers.Activation("linear", activity_regularizer=regularizer)
    own(outputs)
    (loss,) = own.losses
    return float(loss)


def shape(value: Any) -> tuple[Any, ...]:
    return tuple(value)


@pytest.mark.parametrize("member", MEMBERS)
def test_member(member: str, generation: Generation, saved: Saved) -> None:
    CHECKS[member](generation, saved)


def test_every_member_has_its_check() -> None:
    assert set(CHECKS) == set(MEMBERS)
    assert len(MEMBERS) == 40


@checks("activity_regularizer")
def _(generation: Generation, saved: Saved) -> None:
    regularizer = generation.keras.regularizers.L2(0.5)
    layer = half(generation, saved, activity_regularizer=regularizer)
    assert layer.activity_regularizer is regularizer
    layer(np.zeros([4, 1], "float32"))  # outputs are 1
    expected = activity_loss(generation, regularizer, np.ones([4, 1], "float32"))
    assert [float(loss) for loss in layer.losses] == [expected, 0.0]


@checks("dtype")
def _(generation: Generation, saved: Saved) -> None:
    assert half(generation, saved).dtype == "float32"
    assert half(generation, saved, dtype=tf.string).dtype == "string"


@checks("dynamic")
def _(generation: Generation, saved: Saved) -> None:
    assert half(generation, saved).dynamic is False


@checks("input")
def _(generation: Generation, saved: Saved) -> None:
    layer, inputs, _ = connected(generation, saved)
    assert layer.input is inputs
    with pytest.raises(AttributeError):
        _ = half(generation, saved).input


@checks("input_mask")
def _(generation: Generation, saved: Saved) -> None:
    layer, _, _ = connected(generation, saved)
    assert layer.input_mask is None


@checks("input_shape")
def _(generation: Generation, saved: Saved) -> None:
    layer, _, _ = connected(generation, saved)
    assert layer.input_shape == (None, 1)
    with pytest.raises(AttributeError, match="never been called"):
        _ = half(generation, saved).input_shape


@checks("losses")
def _(generation: Generation, saved: Saved) -> None:
    layer = half(generation, saved, trainable=True)
    assert [float(loss) for loss in layer.losses] == pytest.approx([0.0025])
    with tf.GradientTape() as tape:
        (loss,) = layer.losses
    (variable,) = layer.resolved_object.trainable_variables
    assert float(tape.gradient(loss, variable)[0, 0]) == pytest.approx(0.01)


@checks("metrics")
def _(generation: Generation, saved: Saved) -> None:
    assert half(generation, saved).metrics == []


@checks("name")
def _(generation: Generation, saved: Saved) -> None:
    assert half(generation, saved, name="half").name == "half"
    assert half(generation, saved).name.startswith("keras_layer")


@checks("non_trainable_variables")
def _(generation: Generation, saved: Saved) -> None:
    assert len(half(generation, saved).non_trainable_variables) == 3
    assert len(half(generation, saved, trainable=True).non_trainable_variables) == 2


@checks("non_trainable_weights")
def _(generation: Generation, saved: Saved) -> None:
    layer = half(generation, saved, trainable=True)
    assert [shape(weight.shape) for weight in layer.non_trainable_weights] == [(1, 1), (1,)]


@checks("output")
def _(generation: Generation, saved: Saved) -> None:
    layer, _, outputs = connected(generation, saved)
    assert layer.output is outputs


@checks("output_mask")
def _(generation: Generation, saved: Saved) -> None:
    layer, _, _ = connected(generation, saved)
    assert layer.output_mask is None


@checks("output_shape")
def _(generation: Generation, saved: Saved) -> None:
    layer, _, _ = connected(generation, saved)
    assert layer.output_shape == (None, 1)
    with pytest.raises(AttributeError, match="never been called"):
        _ = half(generation, saved).output_shape


@checks("trainable_variables")
def _(generation: Generation, saved: Saved) -> None:
    layer = half(generation, saved)
    assert layer.trainable_variables == []
    layer.trainable = True
    (variable,) = layer.trainable_variables
    assert variable.numpy().tolist() == [[0.5]]


@checks("trainable_weights")
def _(generation: Generation, saved: Saved) -> None:
    layer = half(generation, saved, trainable=True)
    (weight,) = layer.trainable_weights
    weight.assign([[2.0]])
    assert layer(np.ones([1, 1], "float32")).numpy().tolist() == [[3.0]]


@checks("updates")
def _(generation: Generation, saved: Saved) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras 2 warns that it is deprecated
        assert list(half(generation, saved).updates) == []


@checks("variables")
def _(generation: Generation, saved: Saved) -> None:
    layer = half(generation, saved)
    assert len(layer.variables) == 3
    names = sorted(variable.name for variable in layer.variables)
    stock = ["plus_1/bias:0", "plus_1/kernel:0", "times_w/kernel:0"]
    # Keras 3 allows no slash in a name.
    keras3 = ["plus_1_bias", "plus_1_kernel", "times_w_kernel"]
    assert names == (stock if generation.name == "keras2" else keras3)


@checks("weights")
def _(generation: Generation, saved: Saved) -> None:
    layer = half(generation, saved)
    assert [id(weight) for weight in layer.weights] == [
        id(variable) for variable in layer.variables
    ]


@checks("__call__")
def _(generation: Generation, saved: Saved) -> None:
    layer = half(generation, saved)
    assert layer(np.array([[8.0]], "float32")).numpy().tolist() == [[5.0]]
    assert layer(inputs=tf.constant([[10.0]]), training=False).numpy().tolist() == [[6.0]]


@checks("__delattr__")
def _(generation: Generation, saved: Saved) -> None:
    layer = half(generation, saved)
    layer.note = "mine"
    del layer.note
    assert not hasattr(layer, "note")


@checks("__init__")
def _(generation: Generation, saved: Saved) -> None:
    folder = saved("affine")
    layer = generation.layer(folder, False, {"a": 3.0})
    assert layer([[2.0]]).numpy().tolist() == [[6.0]]
    assert layer.trainable is False


@checks("__setattr__")
def _(generation: Generation, saved: Saved) -> None:
    layer = half(generation, saved)
    layer.extra = generation.keras.layers.Dense(1)
    layer.extra.build((None, 2))
    assert len(layer.weights) == 5  # Keras tracks a layer that is an attribute


@checks("apply")
def _(generation: Generation, saved: Saved) -> None:
    assert half(generation, saved).apply(np.zeros([1, 1], "float32")).numpy().tolist() == [[1.0]]


@checks("build")
def _(generation: Generation, saved: Saved) -> None:
    layer = half(generation, saved)
    layer.build((None, 1))
    assert layer.built
    assert len(layer.weights) == 3


@checks("compute_mask")
def _(generation: Generation, saved: Saved) -> None:
    layer = half(generation, saved)
    assert layer.compute_mask(tf.ones([1, 1])) is None
    with pytest.raises(TypeError, match="does not support masking"):
        layer.compute_mask(tf.ones([1, 1]), tf.constant([True]))


@checks("compute_output_shape")
def _(generation: Generation, saved: Saved) -> None:
    assert shape(half(generation, saved).compute_output_shape((10, 1))) == (10, 1)
    embed = generation.layer(saved("text_embedding"), output_shape=[20])
    assert shape(embed.compute_output_shape((None,))) == (None, 20)


@checks("count_params")
def _(generation: Generation, saved: Saved) -> None:
    assert half(generation, saved).count_params() == 3


@checks("from_config")
def _(generation: Generation, saved: Saved) -> None:
    layer = generation.layer(saved("affine"), arguments={"b": 5.0}, name="five")
    again = generation.layer.from_config(layer.get_config())
    assert again.name == "five"
    assert again(np.ones([1, 1], "float32")).numpy().tolist() == [[6.0]]


@checks("get_config")
def _(generation: Generation, saved: Saved) -> None:
    config = half(generation, saved, trainable=True, name="half").get_config()
    assert config["handle"] == saved("half_plus_one")
    assert config["trainable"] is True
    assert config["name"] == "half"


@checks("get_input_at")
def _(generation: Generation, saved: Saved) -> None:
    layer, inputs, _ = connected(generation, saved)
    second = generation.keras.Input((1,))
    layer(second)
    assert layer.get_input_at(0) is inputs
    assert layer.get_input_at(1) is second
    with pytest.raises(ValueError, match="only 2 inbound nodes"):
        layer.get_input_at(2)


@checks("get_input_mask_at")
def _(generation: Generation, saved: Saved) -> None:
    layer, _, _ = connected(generation, saved)
    assert layer.get_input_mask_at(0) is None


@checks("get_input_shape_at")
def _(generation: Generation, saved: Saved) -> None:
    layer, _, _ = connected(generation, saved)
    assert layer.get_input_shape_at(0) == (None, 1)


@checks("get_losses_for")
def _(generation: Generation, saved: Saved) -> None:
    regularizer = generation.keras.regularizers.L2(0.5)
    layer = half(generation, saved, trainable=True, activity_regularizer=regularizer)
    inputs = tf.zeros([4, 1])
    layer(inputs)
    assert [float(loss) for loss in layer.get_losses_for(None)] == pytest.approx([0.0025])
    expected = activity_loss(generation, regularizer, np.ones([4, 1], "float32"))
    assert [float(loss) for loss in layer.get_losses_for(inputs)] == [expected]


@checks("get_output_at")
def _(generation: Generation, saved: Saved) -> None:
    layer, _, outputs = connected(generation, saved)
    assert layer.get_output_at(0) is outputs


@checks("get_output_mask_at")
def _(generation: Generation, saved: Saved) -> None:
    layer, _, _ = connected(generation, saved)
    assert layer.get_output_mask_at(0) is None


@checks("get_output_shape_at")
def _(generation: Generation, saved: Saved) -> None:
    layer, _, _ = connected(generation, saved)
    assert layer.get_output_shape_at(0) == (None, 1)


@checks("get_updates_for")
def _(generation: Generation, saved: Saved) -> None:
    layer = half(generation, saved)
    assert layer.get_updates_for(None) == []
    assert layer.get_updates_for(tf.zeros([1, 1])) == []


@checks("get_weights")
def _(generation: Generation, saved: Saved) -> None:
    values = half(generation, saved).get_weights()
    assert [value.tolist() for value in values] == [[[0.5]], [[1.0]], [1.0]]


@checks("set_weights")
def _(generation: Generation, saved: Saved) -> None:
    layer = half(generation, saved)
    layer.set_weights([np.array([[2.0]]), np.array([[3.0]]), np.array([4.0])])
    assert layer(np.ones([1, 1], "float32")).numpy().tolist() == [[10.0]]
    with pytest.raises(ValueError, match="weight"):
        layer.set_weights([np.array([[2.0]])])
