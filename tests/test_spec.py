import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubopt.errors import UsageError
from hubopt.hints import Hints, parse_shape
from hubopt.spec import Bounds, Dim, ModelSpec, TensorSpec, format_shape


@given(
    st.lists(st.none() | st.integers(1, 10**6) | st.from_regex("[A-W][a-w_0-9]*", fullmatch=True))
)
def test_parsing_a_formatted_shape_returns_the_shape(sizes: list[int | str | None]) -> None:
    shape = tuple(sizes)
    assert parse_shape(format_shape(shape)) == shape


@pytest.mark.parametrize("text", ["", "x", "1x", "1x-2", "1,2", "a-b", "1 x 2", "²", "0x4", "1x0"])
def test_an_invalid_shape_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a dimension"):
        parse_shape(text)


@pytest.mark.parametrize(
    ("hints", "message"),
    [
        ({"input_shapes": ["1xq!"]}, "--input-shape 1xq!: 'q!' is not a dimension"),
        ({"dtypes": ["x=float31"]}, "--dtype float31: no dtype has this name"),
        ({"input_shapes": ["a=1", "a=2"]}, "--input-shape: given twice for a"),
        ({"batch": 0}, "--batch: 0"),
        ({"dims": ["B=8"]}, "--dim B=8: these are not bounds"),
        ({"dims": ["B=8:1:32"]}, "--dim B: 8:1:32"),
        ({"dims": ["B=1:8:32", "B=1:2:3"]}, "--dim: given twice for B"),
        ({"dims": ["max=1:8:32"]}, "--dim max: 1:8:32"),
    ],
)
def test_invalid_hints_are_refused(hints: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Hints.parse(**hints)  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "hints",
    [
        {"batch": 0},
        {"input_shapes": (("x", (1, -1)),)},
        {"output_shapes": (("", (0,)),)},
        {"dtypes": (("x", "flt"),)},
        {"input_shapes": (("x", ("a b", 1)),)},
        {"bounds": (("B", Bounds(0, 1, 2)),)},
    ],
)
def test_hints_made_in_python_are_checked_too(hints: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Hints(**hints)  # type: ignore[arg-type]


def test_a_name_may_hold_an_equals_sign() -> None:
    assert Hints.parse(["a=b=1x2"]).input_shapes == (("a=b", (1, 2)),)


def test_a_spec_refuses_a_structure_with_other_names() -> None:
    tensor = TensorSpec("x", "float32", (Dim(1, "flag"),))
    with pytest.raises(ValueError, match="do not match"):
        ModelSpec((tensor,), (tensor,), "x", "y")


def test_a_spec_needs_bounds_for_its_dynamic_dimensions() -> None:
    tensor = TensorSpec("x", "float32", (Dim(8, "flag", "B"),))
    with pytest.raises(ValueError, match="do not match the bounds"):
        ModelSpec((tensor,), (tensor,), "x", "x")
    spec = ModelSpec((tensor,), (tensor,), "x", "x", {"B": Bounds(1, 8, 32)})
    assert str(spec) == "in  x: float32 B\nout x: float32 B\ndim B: 1:8:32"
    assert not spec.is_static


def test_a_dynamic_tensor_has_its_shapes() -> None:
    tensor = TensorSpec("x", "int32", (Dim(8, "flag", "B"), Dim(3, "signature")))
    assert tensor.shape == (8, 3)
    assert tensor.open_shape == (None, 3)
    assert tensor.named_shape == ("B", 3)
    assert tensor.shape_at({"B": 2}) == (2, 3)
    assert tensor.size_bytes_at({"B": 2}) == 24
    assert tensor.admits((5, 3))
    assert not tensor.admits((5, 4))
    assert not tensor.admits((5,))


def test_a_tensor_shows_name_dtype_and_shape() -> None:
    tensor = TensorSpec("image", "float32", tuple(Dim(size, "flag") for size in (1, 224, 3)))
    assert str(tensor) == "image: float32 1x224x3"
    assert tensor.size_bytes == 4 * 224 * 3
