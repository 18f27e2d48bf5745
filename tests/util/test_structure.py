import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubopt._util.structure import leaves, name_leaves, pack, unpack

NESTS = st.recursive(
    st.integers(),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, min_size=1, max_size=3)
    ),
    max_leaves=8,
)


@given(NESTS)
def test_packing_undoes_unpacking(nest: object) -> None:
    structure = name_leaves(nest, single="x", prefix="output")
    assert pack(structure, unpack(structure, nest)) == nest


def test_names_are_keys_and_positions() -> None:
    nest = {"note": 1, "pair": [2, 3]}
    structure = name_leaves(nest, single="x", prefix="output")
    assert leaves(structure) == ["note", "pair/output_0", "pair/output_1"]


def test_one_tensor_alone_gets_the_single_name() -> None:
    assert name_leaves(7, single="dense_1", prefix="output") == "dense_1"


@pytest.mark.parametrize(
    ("structure", "nest", "message"),
    [
        ("x", [1], "one tensor was expected for 'x', found list"),
        (["x", "y"], [1], "a sequence of 2 was expected, found 1"),
        ({"a": "a"}, {"b": 1}, r"a mapping with keys \['a'\] was expected, found \['b'\]"),
        ({"a": "a"}, 1, "found int"),
    ],
)
def test_a_different_structure_is_refused(structure: object, nest: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        unpack(structure, nest)
