"""Match an artifact's tensors with TensorFlow's by name and shape; find Keras layers."""

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
"""Name scopes that Keras and TensorFlow open inside a layer."""
_FUNCTION_PORT = re.compile(r"(input|output)(_control_node)?/_\d+$")
_NUMBER = re.compile(r"\d+$")
_STACKED = re.compile(r"(.+)_Concat__\d+:0$")
"""The name that tf2onnx gives to the last of the nodes that replace a ``Pack``."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of TensorFlow's graph or of an artifact's.

    Attributes:
        name: Its name, unique in its graph.
        shape: Its shape, with None for open dimensions; None if the shape is unknown.
        op: The type of the operation that computes it, as its own format names it; empty for an
            input.
        inputs: The tensors that the operation reads, with or without constants.
    """

    name: str
    shape: Shape | None
    op: str
    inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Alignment:
    """The layout of an artifact's array relative to TensorFlow's.

    Attributes:
        shape: TensorFlow's shape without dimensions of size 1.
        axes: The artifact's axes in TensorFlow's order, without dimensions of size 1.
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...]

    def to_reference(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return an artifact's array in TensorFlow's layout, without dimensions of size 1."""
        laid_out: NDArray[Any] = array.squeeze().transpose(self.axes)
        return laid_out

    def to_artifact(self, array: NDArray[Any], shape: Sequence[int]) -> NDArray[Any]:
        """Return TensorFlow's array in the artifact's layout, which has ``shape``."""
        inverse = sorted(range(len(self.axes)), key=self.axes.__getitem__)
        laid_out: NDArray[Any] = array.squeeze().transpose(inverse).reshape(tuple(shape))
        return laid_out


def alignments(reference: Sequence[int], found: Sequence[int]) -> list[Alignment]:
    """Return the layouts in which shape ``found`` can match ``reference``; empty if it cannot.

    Dimensions of size 1 are ignored, because a converter may add or remove them (a 1-D
    convolution becomes a 2-D one). If the shapes are equal, the channels may still have been
    transposed between first and last. If they are not equal, axes of the same size keep their
    order, so that a square image is not matched with its transpose.
    """
    want = tuple(size for size in reference if size != 1)
    have = tuple(size for size in found if size != 1)
    if sorted(want) != sorted(have):
        return []
    rank = len(want)
    same = tuple(range(rank))
    orders: Iterable[tuple[int, ...]]
    if want == have:
        transposed = [same, same[1:] + same[:1], same[-1:] + same[:-1]]
        if rank > 2:  # these keep the batch axis first
            transposed += [(0, *same[2:], 1), (0, rank - 1, *same[1:-1])]
        orders = dict.fromkeys(transposed)
    elif rank <= 5:
        orders = filter(partial(_keeps_order, have), itertools.permutations(same))
    else:
        orders = ()
    return [Alignment(want, axes) for axes in orders if tuple(have[axis] for axis in axes) == want]


def _keeps_order(sizes: Sequence[int], axes: Sequence[int]) -> bool:
    pairs = itertools.combinations(axes, 2)
    return all(first < second for first, second in pairs if sizes[first] == sizes[second])


def given_tensors(
    program: Program, inputs: Mapping[str, str], outputs: Mapping[str, str]
) -> dict[str, str]:
    """Return TensorFlow's tensor for each input and output tensor of an artifact.

    Args:
        program: The layer's program.
        inputs: The artifact's tensor for each input of the layer.
        outputs: The artifact's tensor for each output of the layer.
    """
    starts = zip(program.spec.inputs, program.input_tensors, strict=True)
    ends = zip(program.spec.outputs, program.output_tensors, strict=True)
    return {
        **{inputs[spec.name]: tensor for spec, tensor in starts},
        **{outputs[spec.name]: tensor for spec, tensor in ends},
    }


def match(
    artifact: Sequence[Tensor], reference: Sequence[Tensor], given: Mapping[str, str]
) -> dict[str, str]:
    """Return the matching TensorFlow tensor by the name of the artifact's tensor.

    An artifact's tensor has the name of a TensorFlow node, or the names of several nodes
    separated by semicolons, as TFLite names fused operations. A number may follow. Of the named
    tensors whose shape fits, the last one in TensorFlow's graph is the match. If several tensors
    of the artifact match one TensorFlow tensor, the last of them is kept, because the others are
    intermediate results.

    Args:
        artifact: The artifact's tensors in topological order.
        reference: TensorFlow's tensors in topological order.
        given: The known matches: the inputs and outputs.
    """
    places = {tensor.name: at for at, tensor in enumerate(reference) if tensor.op != "Const"}
    twins = _twins(artifact, reference)
    stacks = {tensor.name for tensor in reference if tensor.op == "Pack"}
    claims: dict[str, str] = {}
    taken = set(given.values())
    for tensor in artifact:
        if tensor.name in given or not tensor.op:
            continue
        candidates = [
            places[name]
            for name in (
                *_candidates(tensor.name, places),
                *twins.get(tensor.name, ()),
                *_stacked(tensor.name, stacks),
            )
            if _shapes_fit(reference[places[name]].shape, tensor.shape)
        ]
        if candidates and reference[max(candidates)].name not in taken:
            claims[reference[max(candidates)].name] = tensor.name
    return {**given, **{name: original for original, name in claims.items()}}


def _twins(artifact: Sequence[Tensor], reference: Sequence[Tensor]) -> dict[str, list[str]]:
    """Return TensorFlow's tensors whose names are equal except for the calls around them.

    Freezing a SavedModel again changes the number of calls around the same nodes. If a name
    occurs several times, as for a layer that is called twice, tensors are paired in order.
    """
    theirs, ours = _by_plain_name(artifact), _by_plain_name(reference)
    return {
        name: [twin]
        for plain, names in theirs.items()
        if len(names) == len(ours.get(plain, ()))
        for name, twin in zip(names, ours[plain], strict=True)
    }


def _by_plain_name(tensors: Sequence[Tensor]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for tensor in tensors:
        if tensor.op not in ("Const", "Identity", ""):
            scopes = tensor.name.split("/")
            plain = "/".join(scope for scope in scopes if not _CALLS.match(scope))
            names.setdefault(plain, []).append(tensor.name)
    return names


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
    """Yield ``name`` with ever fewer trailing digits, because converters number duplicates."""
    digits = _NUMBER.search(name)
    for count in range(1, len(digits.group()) + 1) if digits else ():
        yield name[:-count].removesuffix(";")


def _shapes_fit(reference: Shape | None, found: Shape | None) -> bool:
    if reference is None or found is None or None in (*reference, *found):
        return True
    return bool(alignments(reference, found))  # type: ignore[arg-type]  # no None in them


def layer_of(node: str) -> str | None:
    """Return the Keras layer in a node's name scope; None if there is none.

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
