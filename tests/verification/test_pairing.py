"""The tensors of a file from elsewhere are paired with the layer's, or the user is asked."""

from __future__ import annotations

import pytest

from hubopt.errors import UsageError
from hubopt.exporter import FileInterface, FileTensor
from hubopt.spec import Dim, ModelSpec, TensorSpec
from hubopt.verification.pairing import pair_names


def spec(inputs: dict[str, str], outputs: dict[str, str]) -> ModelSpec:
    def tensors(side: dict[str, str]) -> tuple[TensorSpec, ...]:
        return tuple(
            TensorSpec(name, "float32", tuple(Dim(int(size), "flag") for size in shape.split("x")))
            for name, shape in side.items()
        )

    return ModelSpec(
        tensors(inputs),
        tensors(outputs),
        {name: name for name in inputs},
        {name: name for name in outputs},
    )


def interface(inputs: dict[str, str], outputs: dict[str, str]) -> FileInterface:
    def tensors(side: dict[str, str]) -> tuple[FileTensor, ...]:
        return tuple(
            FileTensor(
                name,
                "float32",
                tuple(None if size == "?" else int(size) for size in shape.split("x")),
            )
            for name, shape in side.items()
        )

    return FileInterface(tensors(inputs), tensors(outputs))


LAYER = spec({"image": "1x8", "mask": "1x4"}, {"a": "1x3", "b": "1x3"})


def test_tensors_of_one_name_belong_together() -> None:
    file = interface({"mask": "1x4", "image": "?x8"}, {"b": "1x3", "a": "1x3", "more": "1x3"})
    assert pair_names(LAYER, file) == {}


def test_one_tensor_that_is_left_on_both_sides_is_a_pair() -> None:
    file = interface({"image": "1x8", "serving_mask:0": "1x4"}, {"a": "1x3", "b": "1x3"})
    assert pair_names(LAYER, file) == {"mask": "serving_mask:0"}


def test_a_dtype_and_shape_that_only_one_has_makes_a_pair() -> None:
    file = interface({"x:0": "1x4", "y:0": "?x8"}, {"a": "1x3", "b": "1x3"})
    assert pair_names(LAYER, file) == {"image": "y:0", "mask": "x:0"}


def test_outputs_of_one_shape_and_other_names_must_be_named() -> None:
    file = interface({"image": "1x8", "mask": "1x4"}, {"out:0": "1x3", "out:1": "1x3"})
    with pytest.raises(UsageError) as caught:
        pair_names(LAYER, file)
    assert "the layer has a: float32 1x3, b: float32 1x3" in caught.value.found
    assert "the file has out:0: float32 1x3, out:1: float32 1x3" in caught.value.found
    assert "--name a=out:0" in caught.value.way_out
    assert pair_names(LAYER, file, {"a": "out:1"}) == {"a": "out:1", "b": "out:0"}


def test_a_name_that_neither_side_has_is_an_error() -> None:
    file = interface({"image": "1x8", "mask": "1x4"}, {"a": "1x3", "b": "1x3"})
    with pytest.raises(UsageError, match="the layer has no 'c'; the file has no 'd'"):
        pair_names(LAYER, file, {"c": "d"})


def test_another_batch_is_an_error_that_names_the_flag() -> None:
    file = interface({"image": "4x8", "mask": "4x4"}, {"a": "4x3", "b": "4x3"})
    with pytest.raises(UsageError) as caught:
        pair_names(LAYER, file)
    assert "--input-shape image=4x8 --input-shape mask=4x4" in caught.value.way_out


def test_an_input_that_the_layer_does_not_have_is_an_error() -> None:
    file = interface({"image": "1x8", "mask": "1x4", "extra": "1x2"}, {"a": "1x3", "b": "1x3"})
    with pytest.raises(UsageError, match="its inputs have other names"):
        pair_names(LAYER, file)
