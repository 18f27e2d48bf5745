"""`pair_names`: which tensor of a file from elsewhere is which tensor of the layer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from hubopt._util.escaping import printable
from hubopt.errors import UsageError
from hubopt.exporter import FileInterface, FileTensor
from hubopt.spec import ModelSpec, TensorSpec, format_shape


def pair_names(
    spec: ModelSpec, interface: FileInterface, names: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the file's name for every tensor that has another name in the layer.

    Tensors of one name belong together. Of the rest, a pair is formed only if nothing else fits:
    one tensor is left on both sides, or one of a dtype and shape. Parity then checks the pair
    like any other.

    Args:
        spec: The layer's inputs and outputs.
        interface: The file's.
        names: The pairs that the user names; they are not changed.

    Raises:
        UsageError: The tensors do not pair, or in more than one way; or the file's inputs have
            other shapes.
    """
    given = dict(names or {})
    _check_given(given, spec, interface)
    found = dict(given)
    for side, ours, theirs in (
        ("input", spec.inputs, interface.inputs),
        ("output", spec.outputs, interface.outputs),
    ):
        found |= _pair_side(side, ours, theirs, given)
    _check_shapes(spec, interface, found)
    return {ours: theirs for ours, theirs in found.items() if ours != theirs}


def _pair_side(
    side: str, ours: Sequence[TensorSpec], theirs: Sequence[FileTensor], given: Mapping[str, str]
) -> dict[str, str]:
    taken = set(given.values())
    free = {tensor.name: tensor for tensor in theirs if tensor.name not in taken}
    pairs = {
        tensor.name: tensor.name
        for tensor in ours
        if tensor.name in free and tensor.name not in given
    }
    open_ours = [tensor for tensor in ours if tensor.name not in given and tensor.name not in pairs]
    open_theirs = [tensor for name, tensor in free.items() if name not in pairs]
    if not open_ours and (side == "output" or not open_theirs):
        return pairs  # a file may have more outputs than are compared
    if len(open_ours) == len(open_theirs) == 1:
        return pairs | {open_ours[0].name: open_theirs[0].name}
    by_form = _by_form(open_ours, open_theirs)
    if len(open_ours) > len(open_theirs) or not by_form:
        raise _unpaired(side, open_ours, open_theirs)
    return pairs | by_form


def _by_form(ours: Sequence[TensorSpec], theirs: Sequence[FileTensor]) -> dict[str, str]:
    """Pair by dtype and shape; empty if that is possible in no way or in several."""
    fitting: dict[str, list[str]] = defaultdict(list)
    for tensor in ours:
        for other in theirs:
            if tensor.dtype == other.dtype and _fits(tensor, other):
                fitting[tensor.name].append(other.name)
    unique = {name: found[0] for name, found in fitting.items() if len(found) == 1}
    complete = len(unique) == len(ours) == len(set(unique.values()))
    return unique if complete else {}


def _fits(ours: TensorSpec, theirs: FileTensor) -> bool:
    if theirs.shape is None:
        return True
    return len(theirs.shape) == len(ours.dims) and all(
        size is None or dim.name is not None or size == dim.size
        for dim, size in zip(ours.dims, theirs.shape, strict=True)
    )


def _check_given(given: Mapping[str, str], spec: ModelSpec, interface: FileInterface) -> None:
    ours = {tensor.name for tensor in (*spec.inputs, *spec.outputs)}
    theirs = {tensor.name for tensor in (*interface.inputs, *interface.outputs)}
    wrong = [f"the layer has no {name!r}" for name in given if name not in ours]
    wrong += [f"the file has no {name!r}" for name in given.values() if name not in theirs]
    if wrong:
        raise UsageError(
            "names",
            "; ".join(wrong),
            f"LAYER=FILE; the layer has {_list(sorted(ours))}; the file has "
            f"{_list(sorted(theirs))}",
            "correct the names",
        )


def _check_shapes(spec: ModelSpec, interface: FileInterface, pairs: Mapping[str, str]) -> None:
    """Check the inputs' shapes, which the layer can be called with instead of its default."""
    theirs = {tensor.name: tensor for tensor in interface.inputs}
    wrong = [
        (tensor, found)
        for tensor in spec.inputs
        if (found := theirs.get(pairs.get(tensor.name, tensor.name))) and not _fits(tensor, found)
    ]
    if wrong:
        flags = [
            f"--input-shape {tensor.name}={format_shape(_called(tensor, found))}"
            for tensor, found in wrong
        ]
        raise UsageError(
            "artifact",
            "; ".join(
                f"it takes {found}, the layer is called with "
                f"{format_shape(tensor.named_shape)} for {tensor.name}"
                for tensor, found in wrong
            ),
            "inputs of one shape on both sides",
            f"call the layer as the file is: {' '.join(flags)}",
        )


def _called(ours: TensorSpec, theirs: FileTensor) -> Iterable[int | str | None]:
    if theirs.shape is None or len(theirs.shape) != len(ours.dims):
        return theirs.shape or ()
    return tuple(
        dim.size if size is None else size
        for dim, size in zip(ours.dims, theirs.shape, strict=True)
    )


def _unpaired(side: str, ours: Sequence[TensorSpec], theirs: Sequence[FileTensor]) -> UsageError:
    return UsageError(
        "artifact",
        f"its {side}s have other names than the layer's, and more than one pairing is possible or "
        f"none: the layer has {_list(map(str, ours))}; the file has {_list(map(str, theirs))}",
        f"one {side} of the file for every {side} of the layer",
        "name the pairs: --name LAYER=FILE (names={...}), as in "
        f"--name {ours[0].name if ours else 'x'}={theirs[0].name if theirs else 'y'}",
    )


def _list(names: Iterable[str]) -> str:
    return ", ".join(map(printable, names)) or "none"
