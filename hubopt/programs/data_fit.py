"""`fit_data`: turn the user's own data into samples of a model's shapes and dtypes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hubopt._util.structure import Structure, leaves, pack, unpack
from hubopt.hints import Hints
from hubopt.layers.claims import spread
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

    An array may be one sample of its input's shape; one sample without the batch axis, if the
    batch may be 1; a stack of samples along a new first axis; or several batches along the batch
    axis. The width of a dtype may change if every value is preserved. Its kind may not change.

    Args:
        items: What `hubopt.sampling.user_data.read_data` returned.
        spec: The inputs.
        limit: The largest number of samples to take, at least 1; the rest are not checked.
        domains: The known ranges of the inputs' values, by name; values must be within the
            strict ones.

    Raises:
        DataError: All problems. Each names its file or item, its input, the value found and the
            value expected.
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
    """Return the first sample of ``items``, packed for the ``data`` argument of `hubopt.resolve`.

    The sample settles dimensions that the model leaves open, such as the sides of an image. Its
    batch is the one in ``hints``, or 1, however many samples are stacked.

    Args:
        items: What `hubopt.sampling.user_data.read_data` returned.
        interface: The layer's declared interface, from
            `hubopt.layers.interface.read_interface`.
        hints: What the user specified.

    Raises:
        DataError: The inputs in the data are not those of the layer.
    """
    problems: list[str] = []
    arrays = _by_name(items[0], interface.structure, problems)
    _raise(problems)
    hinted = spread(dict(hints.input_shapes), {each.name: each.shape for each in interface.inputs})
    only = hinted.get("") if len(interface.inputs) == 1 else None
    for declared in interface.inputs:
        shape = hinted.get(declared.name, only) or declared.shape
        if shape:
            array = _as_lines(arrays[declared.name], len(shape), items[0])
            if array.shape[:1] == (0,) and shape[0] != 0:
                problems.append(f"{items[0].origin}, input {declared.name}: found no samples in it")
            batch = shape[0] if isinstance(shape[0], int) else hints.batch or 1
            if shape == (None,) and declared.may_be_length and hints.batch is None:
                batch = array.size  # a whole waveform, not a batch of numbers
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
    shown = tuple(problems[:_MOST_PROBLEMS])
    if len(problems) > len(shown):
        shown += (f"and {len(problems) - len(shown)} more of this sort",)
    raise DataError(
        "data",
        shown,
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
    for tensor in spec.inputs if arrays else ():
        label = f"{item.origin}, input {tensor.name}"
        array = _as_lines(arrays[tensor.name], len(tensor.dims), item)
        problem = kind_problem(array, tensor)
        if problem:
            problems.append(f"{label}: {problem}")
        else:
            pieces[tensor.name] = _split(array, tensor, spec, limit, label, problems)
    counts = {name: len(parts) for name, parts in pieces.items()}
    if len(problems) == before and len(set(counts.values())) > 1:
        summary = ", ".join(f"{count} of {name}" for name, count in counts.items())
        problems.append(
            f"{item.origin}: found {summary}; expected the same number of samples of each input"
        )
    if len(problems) > before:
        return []
    count = min(*counts.values(), limit)
    samples = []
    for at in range(count):
        origin = item.origin if set(counts.values()) == {1} else f"{item.origin}, sample {at}"
        sample = {
            tensor.name: convert(
                pieces[tensor.name][at],
                tensor,
                domains.get(tensor.name),
                f"{origin}, input {tensor.name}",
                problems,
            )
            for tensor in spec.inputs
        }
        _check_sizes(sample, spec, origin, problems)
        samples.append(sample)
    return samples


def _by_name(item: Item, structure: Structure, problems: list[str]) -> Arrays:
    """Return the arrays of an item by input name; empty if they do not match the inputs."""
    names = leaves(structure)
    value = item.value
    try:
        if isinstance(value, Mapping) and set(map(str, value)) == set(names):
            arrays = {str(name): array for name, array in value.items()}
        elif isinstance(value, Mapping) and len(value) == len(names) == 1:
            arrays = {names[0]: next(iter(value.values()))}
        elif isinstance(structure, str) and not isinstance(value, Mapping):
            arrays = {structure: value}
        else:
            arrays = unpack(structure, value)
        return {name: np.asarray(array) for name, array in arrays.items()}
    except ValueError as error:  # another packing, or lists of different lengths in an array
        found_names = (
            f"arrays {', '.join(map(str, value))}" if isinstance(value, Mapping) else str(error)
        )
        problems.append(f"{item.origin}: found {found_names}; expected {', '.join(names)}")
        return {}


def _as_lines(array: NDArray[Any], rank: int, item: Item) -> NDArray[Any]:
    """Give lines of text the rank of their input; each line is one whole row."""
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
            f"{label}: found {len(array)} along the batch axis; expected a multiple of the batch, "
            f"{batch}; say --batch 1, or leave out the last {rest}"
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
    for tensor in spec.inputs:
        for dim, size in zip(tensor.dims, sample[tensor.name].shape, strict=True):
            sizes.setdefault(dim.name or "", set()).add(size)
    problems.extend(
        f"{origin}: found sizes {', '.join(map(str, sorted(seen)))} of dimension {name}; "
        "expected one size in all inputs"
        for name, seen in sizes.items()
        if name and len(seen) > 1
    )
