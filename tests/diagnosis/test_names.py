"""Tensors matched by name and shape."""

import numpy as np
import pytest

from hubopt.diagnosis.names import Tensor, alignments, layer_of, match


def tensor(name: str, *shape: int, op: str = "Op") -> Tensor:
    return Tensor(name, shape, op, ())


def test_channels_first_is_the_same_tensor() -> None:
    last = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    first = last.transpose(0, 3, 1, 2)
    (one,) = alignments(last.shape, first.shape)
    assert np.array_equal(one.to_reference(first), last)
    assert np.array_equal(one.to_artifact(last, first.shape), first)


def test_both_layouts_are_tried_when_the_shape_is_ambiguous() -> None:
    found = alignments((2, 4, 4, 4), (2, 4, 4, 4))
    last = np.arange(128).reshape(2, 4, 4, 4)
    readings = [one.to_reference(last.transpose(0, 3, 1, 2)) for one in found]
    assert any(np.array_equal(reading, last) for reading in readings)
    assert np.array_equal(found[0].to_reference(last), last)


def test_a_square_image_is_not_mistaken_for_its_transpose() -> None:
    last = np.arange(4 * 4 * 3).reshape(1, 4, 4, 3)
    (one,) = alignments(last.shape, (1, 3, 4, 4))
    assert np.array_equal(one.to_reference(last.transpose(0, 3, 1, 2)), last[0])


def test_the_concat_that_tf2onnx_makes_of_a_pack_matches_the_pack() -> None:
    artifact = [
        tensor("stack_Unsqueeze__1:0", 1, 4, 1),
        tensor("stack_Unsqueeze__2:0", 1, 4, 1),
        tensor("stack_Concat__3:0", 1, 4, 2),
        tensor("sum_Concat__4:0", 1, 4, 2),
    ]
    reference = [tensor("stack:0", 1, 4, 2, op="Pack"), tensor("sum:0", 1, 4, 2, op="AddV2")]
    assert match(artifact, reference, {}) == {"stack_Concat__3:0": "stack:0"}


def test_dimensions_of_size_one_are_added_or_dropped() -> None:
    array = np.arange(12).reshape(1, 3, 4)
    (one,) = alignments((1, 3, 4), (1, 1, 4, 3))
    assert np.array_equal(one.to_artifact(array, (1, 1, 4, 3))[0, 0], array[0].T)


def test_different_shapes_do_not_align() -> None:
    assert alignments((2, 3), (2, 4)) == []
    assert alignments((6,), (2, 3)) == []


def test_the_last_matching_name_of_a_fused_tensor_is_used() -> None:
    reference = [tensor("a/Conv:0", 1, 8), tensor("a/Bias:0", 1, 8), tensor("a/Relu:0", 1, 8)]
    found = match([tensor("a/Relu;a/Bias;other;a/Conv1", 1, 8)], reference, {})
    assert found == {"a/Relu;a/Bias;other;a/Conv1": "a/Relu:0"}


def test_a_name_with_another_shape_does_not_match() -> None:
    reference = [tensor("a/Min:0", 1, 1), tensor("a/Sub:0", 1, 8)]
    assert match([tensor("a/Sub;;a/Min", 1, 1)], reference, {}) == {"a/Sub;;a/Min": "a/Min:0"}
    assert match([tensor("a/Sub", 3, 3)], reference, {}) == {}


def test_intermediate_steps_are_not_mistaken_for_the_tensor() -> None:
    """TFLite splits batch normalization into a numbered product and a numbered sum."""
    steps = [tensor("bn/FusedBatchNormV32", 1, 8), tensor("bn/FusedBatchNormV33", 1, 8)]
    found = match(steps, [tensor("bn/FusedBatchNormV3:0", 1, 8)], {})
    assert found == {"bn/FusedBatchNormV33": "bn/FusedBatchNormV3:0"}


def test_additional_calls_around_a_node_do_not_matter() -> None:
    reference = [
        tensor("PartitionedCall/d/MatMul:0", 1, 8),
        tensor("PartitionedCall/d/PartitionedCall_1/MatMul:0", 1, 8),
    ]
    artifact = [
        tensor("StatefulPartitionedCall/PartitionedCall/d/MatMul:0", 1, 8),
        tensor("StatefulPartitionedCall/PartitionedCall/d/PartitionedCall_1/MatMul:0", 1, 8),
    ]
    assert list(match(artifact, reference, {}).values()) == [
        expected.name for expected in reference
    ]


def test_inputs_and_outputs_are_matched_as_given() -> None:
    reference = [tensor("x:0", 1, 8), tensor("Identity:0", 1, 8)]
    given = {"image": "x:0", "label": "Identity:0"}
    assert match([tensor("label", 1, 8)], reference, given) == given


@pytest.mark.parametrize(
    ("node", "layer"),
    [
        ("StatefulPartitionedCall/conv2d_2/StatefulPartitionedCall_1/Conv2D", "conv2d_2"),
        ("model/block/conv_3/Conv2D", "conv_3"),
        ("model/layer_norm/moments/mean", "layer_norm"),
        ("net/re_lu_1/PartitionedCall/Relu", "re_lu_1"),
        ("Identity_3", None),
        ("Func/StatefulPartitionedCall/input/_17", None),
    ],
)
def test_the_layer_is_the_last_scope_that_is_not_a_call(node: str, layer: str | None) -> None:
    assert layer_of(node) == layer
