"""Which TensorFlow tensor a tensor of an artifact is, by name and shape; and Keras layers."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from numpy.typing import NDArray

from hubopt.exporter import Program

Shape = tuple[int | None, ...]

_CALLS = re.compile(r"(Stateful)?PartitionedCall(_\d+)?$|Func$")
_INNER_SCOPES = re.compile(
    r"(batchnorm|moments|Tensordot|einsum|while|cond|normalize|dropout)(_\d+)?$"
)
"""Scopes that Keras and TensorFlow open inside of a layer."""
_FUNCTION_PORT = re.compile(r"(input|output)(_control_node)?/_\d+$")
_NUMBER = re.compile(r"\d+$")
_STACKED = re.compile(r"(.+)_Concat__\d+:0$")
"""How tf2onnx names the last of the nodes that it makes of a ``Pack``."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of a graph: TensorFlow's, or an artifact's.

    Attributes:
        name: Its name, one of a kind in its graph.
        shape: Its shape, None where open; None altogether if unknown.
        op: The operation that gives it, as its own format calls it; empty for an input.
        inputs: The tensors that the operation reads, constants left out or not.
    """

    name: str
    shape: Shape | None
    op: str
    inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Alignment:
    """How an artifact's array is laid out beside TensorFlow's.

    Attributes:
        shape: TensorFlow's shape without dimensions of size 1.
        axes: The artifact's axes, dimensions of size 1 left out, in TensorFlow's order.
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...]

    def to_reference(self, array: NDArray[Any]) -> NDArray[Any]:
        """Lay an artifact's array out as TensorFlow's, without dimensions of size 1."""
        laid_out: NDArray[Any] = array.squeeze().transpose(self.axes)
        return laid_out

    def to_artifact(self, array: NDArray[Any], shape: Sequence[int]) -> NDArray[Any]:
        """Lay TensorFlow's array out as the artifact's, which has ``shape``."""
        inverse = sorted(range(len(self.axes)), key=self.axes.__getitem__)
        laid_out: NDArray[Any] = array.squeeze().transpose(inverse).reshape(tuple(shape))
        return laid_out


def alignments(reference: Sequence[int], found: Sequence[int]) -> list[Alignment]:
    """Return the layouts in which ``found`` can be ``reference``; none if it cannot be.

    Dimensions of size 1 come and go (a 1-D convolution is a 2-D one elsewhere). Where the
    shapes agree as they are, channels may still have moved between first and last. Where they
    do not, axes of one size keep their order: a square image is not taken for its transpose.
    """
    want = tuple(size for size in reference if size != 1)
    have = tuple(size for size in found if size != 1)
    if sorted(want) != sorted(have):
        return []
    rank = len(want)
    same = tuple(range(rank))
    orders: Iterable[tuple[int, ...]]
    if want == have:
        moved = [same, same[1:] + same[:1], same[-1:] + same[:-1]]
        if rank > 2:  # the batch stays where it is
            moved += [(0, *same[2:], 1), (0, rank - 1, *same[1:-1])]
        orders = dict.fromkeys(moved)
    elif rank <= 5:
        orders = filter(partial(_keeps_order, have), itertools.permutations(same))
    else:
        orders = ()
    return [Alignment(want, axes) for axes in orders if tuple(have[axis] for axis in axes) == want]


def _keeps_order(sizes: Sequence[int], axes: Sequence[int]) -> bool:
    pairs = itertools.combinations(axes, 2)
    return all(one < other for one, other in pairs if sizes[one] == sizes[other])


def given_tensors(
    program: Program, inputs: Mapping[str, str], outputs: Mapping[str, str]
) -> dict[str, str]:
    """Return TensorFlow's tensor for each input and output of an artifact.

    Args:
        program: The layer's.
        inputs: The artifact's tensor for each input of the layer.
        outputs: The artifact's tensor for each output of the layer.
    """
    starts = zip(program.spec.inputs, program.input_tensors, strict=True)
    ends = zip(program.spec.outputs, program.output_tensors, strict=True)
    return {
        **{inputs[each.name]: tensor for each, tensor in starts},
        **{outputs[each.name]: tensor for each, tensor in ends},
    }


def match(
    artifact: Sequence[Tensor], reference: Sequence[Tensor], given: Mapping[str, str]
) -> dict[str, str]:
    """Return TensorFlow's tensor for each tensor of an artifact that has one.

    A name is TensorFlow's own, or several nodes' with semicolons between, as TFLite names what
    it fused, perhaps with a number behind; of those whose shape fits, the last one in
    TensorFlow's graph is what was computed. Where several tensors claim one of TensorFlow's,
    the last has it: the others are steps on the way.

    Args:
        artifact: Its tensors in topological order.
        reference: TensorFlow's in topological order.
        given: What is known beforehand: the inputs and outputs.
    """
    places = {each.name: at for at, each in enumerate(reference) if each.op != "Const"}
    twins = _twins(artifact, reference)
    stacks = {each.name for each in reference if each.op == "Pack"}
    claims: dict[str, str] = {}
    taken = set(given.values())
    for tensor in artifact:
        if tensor.name in given or not tensor.op:
            continue
        found = [
            places[name]
            for name in (
                *_candidates(tensor.name, places),
                *twins.get(tensor.name, ()),
                *_stacked(tensor.name, stacks),
            )
            if _may_be(reference[places[name]].shape, tensor.shape)
        ]
        if found and reference[max(found)].name not in taken:
            claims[reference[max(found)].name] = tensor.name
    return {**given, **{found: name for name, found in claims.items()}}


def _twins(artifact: Sequence[Tensor], reference: Sequence[Tensor]) -> dict[str, list[str]]:
    """Return TensorFlow's tensors of the same name but for the calls around them.

    A SavedModel that is frozen anew has more calls or fewer around the same nodes. Where a
    name comes several times, as of a layer called twice, the first goes with the first.
    """
    theirs, ours = _by_plain_name(artifact), _by_plain_name(reference)
    return {
        name: [twin]
        for plain, names in theirs.items()
        if len(names) == len(ours.get(plain, ()))
        for name, twin in zip(names, ours[plain], strict=True)
    }


def _by_plain_name(tensors: Sequence[Tensor]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for each in tensors:
        if each.op not in ("Const", "Identity", ""):
            scopes = each.name.split("/")
            plain = "/".join(scope for scope in scopes if not _CALLS.match(scope))
            found.setdefault(plain, []).append(each.name)
    return found


def _candidates(name: str, places: Mapping[str, int]) -> Iterator[str]:
    for part in name.partition("#")[0].split(";"):
        for text in (part, *_shorter(part)):
            full = text if ":" in text else f"{text}:0"
            if full in places:
                yield full
                break


def _stacked(name: str, stacks: set[str]) -> Iterator[str]:
    made = _STACKED.match(name)
    if made and f"{made[1]}:0" in stacks:
        yield f"{made[1]}:0"


def _shorter(name: str) -> Iterator[str]:
    """Yield ``name`` with ever fewer of the digits behind it: a converter numbers duplicates."""
    digits = _NUMBER.search(name)
    for count in range(1, len(digits.group()) + 1) if digits else ():
        yield name[:-count].removesuffix(";")


def _may_be(reference: Shape | None, found: Shape | None) -> bool:
    if reference is None or found is None or None in (*reference, *found):
        return True
    return bool(alignments(reference, found))  # type: ignore[arg-type]  # no None in them


def layer_of(node: str) -> str | None:
    """Return the Keras layer that a node's name scope names; None if it names none.

    >>> layer_of("StatefulPartitionedCall/model/block_1_expand/StatefulPartitionedCall/Conv2D")
    'block_1_expand'
    >>> layer_of("model/layer_normalization/batchnorm/mul_1")
    'layer_normalization'
    """
    if _FUNCTION_PORT.search(node):
        return None
    scopes = [scope for scope in node.split("/")[:-1] if not _CALLS.match(scope)]
    while scopes and _INNER_SCOPES.match(scopes[-1]):
        scopes.pop()
    return scopes[-1] if scopes else None
