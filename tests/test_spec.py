import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubopt.errors import UsageError
from hubopt.spec import Dim, Hints, ModelSpec, TensorSpec, format_shape, parse_shape


@given(st.lists(st.none() | st.integers(1, 10**6)).map(tuple))
def test_shapes_are_read_as_they_are_written(shape: tuple[int | None, ...]) -> None:
    assert parse_shape(format_shape(shape)) == shape


@pytest.mark.parametrize("text", ["", "x", "1x", "1x-2", "1,2", "axb", "1 x 2", "²", "0x4", "1x0"])
def test_what_is_no_shape_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no dimension"):
        parse_shape(text)


@pytest.mark.parametrize(
    ("hints", "told"),
    [
        ({"input_shapes": ["1xq"]}, "--input-shape 1xq: 'q' is no dimension"),
        ({"dtypes": ["x=float31"]}, "--dtype float31: no dtype has this name"),
        ({"input_shapes": ["a=1", "a=2"]}, "--input-shape: given twice for a"),
        ({"batch": 0}, "--batch: 0"),
    ],
)
def test_hints_that_cannot_be_meant_are_refused(hints: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError) as caught:
        Hints.parse(**hints)  # type: ignore[arg-type]
    assert str(caught.value).startswith(told)


@pytest.mark.parametrize(
    "hints",
    [
        {"batch": 0},
        {"input_shapes": (("x", (1, -1)),)},
        {"output_shapes": (("", (0,)),)},
        {"dtypes": (("x", "flt"),)},
    ],
)
def test_hints_made_in_python_are_checked_too(hints: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Hints(**hints)  # type: ignore[arg-type]


def test_a_name_may_hold_an_equals_sign() -> None:
    assert Hints.parse(["a=b=1x2"]).input_shapes == (("a=b", (1, 2)),)


def test_a_spec_refuses_a_structure_of_other_names() -> None:
    tensor = TensorSpec("x", "float32", (Dim(1, "flag"),))
    with pytest.raises(ValueError, match="do not match"):
        ModelSpec((tensor,), (tensor,), "x", "y")


def test_a_tensor_tells_name_dtype_and_shape() -> None:
    tensor = TensorSpec("image", "float32", tuple(Dim(size, "flag") for size in (1, 224, 3)))
    assert str(tensor) == "image: float32 1x224x3"
    assert tensor.size_bytes == 4 * 224 * 3
