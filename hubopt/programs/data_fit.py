"""`fit_data`: data of the user's own becomes samples of the shapes and dtypes of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hubopt._util.structure import Structure, leaves, pack, unpack
from hubopt.hints import Hints
from hubopt.layers.interface import Interface
from hubopt.sampling.data_values import convert, kind_problem
from hubopt.sampling.user_data import DataError, Item
from hubopt.spec import ModelSpec, TensorSpec, ValueRange, format_shape

_MOST_PROBLEMS = 20
"""How many problems are listed; the rest are counted."""

Arrays = dict[str, NDArray[Any]]


def fit_data(
    items: Sequence[Item],
    spec: ModelSpec,
    limit: int,
    domains: Mapping[str, ValueRange] | None = None,
) -> list[Arrays]:
    """Return the samples in ``items``, at most ``limit``.

    An array is one sample of its input's shape, one without the batch axis if the batch may be
    1, a stack of samples along a new first axis, or several batches along the batch axis. The
    width of numbers may change where each value survives; their kind may not.

    Args:
        items: What `hubopt.sampling.user_data.read_data` returned.
        spec: The inputs.
        limit: How many samples to take, at least 1; what is beyond is not looked at.
        domains: What is known of the inputs' values, by name; strict ones must hold.

    Raises:
        DataError: All problems, each with its file or item, its input, what was found and what
            was expected.
    """
    problems: list[str] = []
    samples: list[Arrays] = []
    for item in items:
        if len(samples) >= limit:
            break
        samples += _fit_item(item, spec, limit - len(samples), domains or {}, problems)
    _raise(problems)
    return samples


def first_sample(items: Sequence[Item], interface: Interface, hints: Hints) -> Any:
    """Return the first sample of ``items`` as `hubopt.resolve` takes it for ``data``.

    It settles what the model leaves open, such as sides of a picture; the batch is the one in
    ``hints``, or 1, however many samples are stacked.

    Args:
        items: What `hubopt.sampling.user_data.read_data` returned.
        interface: What the layer declares, by `hubopt.layers.interface.read_interface`.
        hints: What the user said.

    Raises:
        DataError: The inputs are not those of the layer.
    """
    problems: list[str] = []
    arrays = _by_name(items[0], interface.structure, problems)
    _raise(problems)
    hinted = dict(hints.input_shapes)
    only = hinted.get("") if len(interface.inputs) == 1 else None
    for declared in interface.inputs:
        shape = hinted.get(declared.name, only) or declared.shape
        if shape:
            array = _as_lines(arrays[declared.name], len(shape), items[0])
            if array.shape[:1] == (0,) and shape[0] != 0:
                problems.append(f"{items[0].origin}, input {declared.name}: found no samples in it")
            batch = shape[0] if isinstance(shape[0], int) else hints.batch or 1
            arrays[declared.name] = _first(array, len(shape), batch)
    _raise(problems)
    return pack(interface.structure, arrays)


def _first(array: NDArray[Any], rank: int, batch: int) -> NDArray[Any]:
    if array.ndim == rank + 1 and len(array):
        return np.asarray(array[0])
    if array.ndim == rank - 1 and batch == 1:
        return array[None]
    return array[:batch] if array.ndim == rank else array


def _raise(problems: Sequence[str]) -> None:
    if not problems:
        return
    told = tuple(problems[:_MOST_PROBLEMS])
    if len(problems) > len(told):
        told += (f"and {len(problems) - len(told)} more of this sort",)
    raise DataError(
        "data",
        told,
        "arrays by input name, each a sample of its input, a stack of samples or whole batches, "
        "with values of the input's kind",
        "see `hubopt inspect HANDLE` for the inputs, and convert the data",
    )


def _fit_item(
    item: Item, spec: ModelSpec, limit: int, domains: Mapping[str, ValueRange], problems: list[str]
) -> list[Arrays]:
    before = len(problems)
    arrays = _by_name(item, spec.input_structure, problems)
    pieces: dict[str, list[NDArray[Any]]] = {}
    for each in spec.inputs if arrays else ():
        label = f"{item.origin}, input {each.name}"
        array = _as_lines(arrays[each.name], len(each.dims), item)
        problem = kind_problem(array, each)
        if problem:
            problems.append(f"{label}: {problem}")
        else:
            pieces[each.name] = _split(array, each, spec, limit, label, problems)
    counts = {name: len(found) for name, found in pieces.items()}
    if len(problems) == before and len(set(counts.values())) > 1:
        told = ", ".join(f"{count} of {name}" for name, count in counts.items())
        problems.append(f"{item.origin}: found {told}; expected as many samples of each input")
    if len(problems) > before:
        return []
    count = min(*counts.values(), limit)
    samples = []
    for at in range(count):
        origin = item.origin if set(counts.values()) == {1} else f"{item.origin}, sample {at}"
        sample = {
            each.name: convert(
                pieces[each.name][at],
                each,
                domains.get(each.name),
                f"{origin}, input {each.name}",
                problems,
            )
            for each in spec.inputs
        }
        _check_sizes(sample, spec, origin, problems)
        samples.append(sample)
    return samples


def _by_name(item: Item, structure: Structure, problems: list[str]) -> Arrays:
    """Return the arrays of an item by input name; empty if they are not the inputs'."""
    names = leaves(structure)
    value = item.value
    try:
        if isinstance(value, Mapping) and set(map(str, value)) == set(names):
            found = {str(name): each for name, each in value.items()}
        elif isinstance(value, Mapping) and len(value) == len(names) == 1:
            found = {names[0]: next(iter(value.values()))}
        elif isinstance(structure, str) and not isinstance(value, Mapping):
            found = {structure: value}
        else:
            found = unpack(structure, value)
        return {name: np.asarray(each) for name, each in found.items()}
    except ValueError as error:  # another packing, or lists of different lengths in an array
        found_names = (
            f"arrays {', '.join(map(str, value))}" if isinstance(value, Mapping) else str(error)
        )
        problems.append(f"{item.origin}: found {found_names}; expected {', '.join(names)}")
        return {}


def _as_lines(array: NDArray[Any], rank: int, item: Item) -> NDArray[Any]:
    """Give lines of text the rank of their input: each is the whole of a row."""
    return array.reshape(-1, *[1] * (rank - 1)) if item.texts and rank > 1 else array


def _split(
    array: NDArray[Any],
    spec: TensorSpec,
    model: ModelSpec,
    limit: int,
    label: str,
    problems: list[str],
) -> list[NDArray[Any]]:
    """Return the samples in ``array``, as views."""
    if _admits(spec, array.shape, model):
        return [array]
    if array.ndim and len(array) and _admits(spec, array.shape[1:], model):
        return [array[at, ...] for at in range(len(array))]
    if spec.dims and _admits(spec, (1, *array.shape), model):
        return [array[None]]
    if not (
        spec.dims
        and array.ndim == len(spec.dims)
        and len(array)
        and _admits(spec, (spec.dims[0].size, *array.shape[1:]), model)
    ):
        problems.append(
            f"{label}: found {format_shape(array.shape)}; expected "
            f"{format_shape(spec.named_shape)}, or several of it{_format_bounds(spec, model)}"
        )
        return []
    batch = spec.dims[0].size
    rest = len(array) % batch
    if rest and len(array) < limit * batch and not _admits(spec, (rest, *array.shape[1:]), model):
        problems.append(
            f"{label}: found {len(array)} along the batch axis; expected a multiple of {batch}, "
            f"the batch; say --batch 1, or leave out the last {rest}"
        )
    return [array[at : at + batch] for at in range(0, len(array), batch)]


def _admits(spec: TensorSpec, shape: tuple[int, ...], model: ModelSpec) -> bool:
    return spec.admits(shape) and all(
        dim.name is None or model.bounds[dim.name].min <= size <= model.bounds[dim.name].max
        for dim, size in zip(spec.dims, shape, strict=True)
    )


def _format_bounds(spec: TensorSpec, model: ModelSpec) -> str:
    names = [dim.name for dim in spec.dims if dim.name]
    return "".join(f"; {name} is {model.bounds[name]}" for name in names)


def _check_sizes(sample: Arrays, spec: ModelSpec, origin: str, problems: list[str]) -> None:
    """Check that each dynamic dimension has one size in all inputs of a sample."""
    sizes: dict[str, set[int]] = {}
    for each in spec.inputs:
        for dim, size in zip(each.dims, sample[each.name].shape, strict=True):
            sizes.setdefault(dim.name or "", set()).add(size)
    problems.extend(
        f"{origin}: found sizes {', '.join(map(str, sorted(found)))} of dimension {name}; "
        "expected one in all inputs"
        for name, found in sizes.items()
        if name and len(found) > 1
    )
