"""Mutants of a TFLite model, one fault each."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import chain, combinations
from pathlib import Path

import numpy as np

from benchmarks.mutations import tflite_faults as plant
from benchmarks.mutations.activations import largest_tflite
from benchmarks.mutations.flatbuffer import (
    Operation,
    TFLiteView,
    put_constant,
    put_options,
    read_model,
    same_padding,
    view,
    weighted_layers,
)
from benchmarks.mutations.mutant import (
    AXES,
    HALVES,
    NANS,
    OVERFLOWS,
    PADDINGS,
    SLICES,
    SMALL,
    TRANSPOSES,
    Fault,
    Mutant,
    Samples,
    distinct,
    spread,
)
from benchmarks.mutations.values import (
    overflow_scale,
    shift_padding,
    shift_slice,
    table_faults,
)
from benchmarks.mutations.weights import weight_faults

_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
_REDUCTIONS = ("SUM", "MEAN", "REDUCE_MAX", "REDUCE_MIN")
_RESIZES = {"asymmetric": (False, False), "align corners": (True, False), "half": (False, True)}


def tflite_mutants(path: Path, seed: int, inputs: Samples) -> Iterator[Mutant]:
    """Yield mutants of the flatbuffer at ``path``.

    Args:
        path: The artifact that hubopt exported.
        seed: The seed of the sites, which are spread over the depth of the graph.
        inputs: The samples of the reference set. A NaN is injected for one of them; the first two
            are used to measure the size of activations, which decides what overflows.
    """
    graph = view(read_model(path))
    generator = np.random.default_rng(seed)
    faults = chain(
        _swapped_outputs(graph),
        weight_faults(list(weighted_layers(graph)), generator),
        _wrong_padding(graph, generator),
        _wrong_epsilon(graph),
        _wrong_axis(graph, generator),
        _fp16_overflow(path, graph, generator, inputs),
        _nan(graph, generator, inputs),
        _off_by_one(graph, generator),
        _resize(graph),
        _half_layer(graph, generator),
    )
    yield from distinct("tflite", path, faults)


def _shape(graph: TFLiteView, operation: Operation) -> tuple[int, ...]:
    return graph.shapes[operation.output]


def _swapped_outputs(graph: TFLiteView) -> Iterator[Fault]:
    for one, other in combinations(graph.outputs, 2):
        if _shape(graph, graph.outputs[one]) == _shape(graph, graph.outputs[other]):
            apply = partial(plant.swap_outputs, one=one, other=other)
            yield Fault("swapped outputs", f"{one} and {other}", None, apply)


def _wrong_padding(graph: TFLiteView, generator: np.random.Generator) -> Iterator[Fault]:
    sites = []
    for operation in graph.operations:
        if operation.op in _CONVOLUTIONS and operation.options.padding == 0:
            before = np.array(same_padding(graph, operation))
            after = np.array(shift_padding(before.T.ravel().tolist())).reshape(2, -1).T
            apply = partial(
                plant.pad_explicitly,
                at=operation.at,
                pads=after.tolist(),
                shape=graph.shapes[operation.inputs[0]],
            )
            if before.any():
                site = f"{operation.op}: {before.tolist()} to {after.tolist()}"
                sites.append((site, operation.name, apply))
        elif operation.op in ("PAD", "PADV2") and operation.inputs[1] in graph.constants:
            before = graph.constants[operation.inputs[1]]
            shifted = np.array(shift_padding(before.T.ravel().tolist())).reshape(2, -1).T
            apply = partial(
                put_constant, array=shifted.astype(before.dtype), at=operation.at, slot=1
            )
            site = f"{operation.op}: {before.tolist()} to {shifted.tolist()}"
            sites.append((site, operation.name, apply))
        elif operation.op == "MIRROR_PAD":
            apply = partial(
                put_options, values={"mode": 1 - operation.options.mode}, at=operation.at
            )
            sites.append(("MIRROR_PAD: reflect for symmetric", operation.name, apply))
    for site, name, apply in spread(sites, PADDINGS, generator):
        yield Fault("wrong padding", site, name, apply)


def _wrong_epsilon(graph: TFLiteView) -> Iterator[Fault]:
    for operation in graph.operations:
        for slot, source in (
            enumerate(operation.inputs) if operation.op in ("ADD", "MAXIMUM") else ()
        ):
            constant = graph.constants.get(source)
            if constant is None or constant.dtype != np.float32 or np.ptp(constant) > 0:
                continue
            for factor in (0.01, 100.0) if 0 < constant.flat[0] <= SMALL else ():
                array = np.asarray(constant * factor, np.float32)
                site = f"{operation.op}: {constant.flat[0]:.0e} to {array.flat[0]:.0e}"
                apply = partial(put_constant, array=array, at=operation.at, slot=slot)
                yield Fault("wrong epsilon", site, operation.name, apply)


def _wrong_axis(graph: TFLiteView, generator: np.random.Generator) -> Iterator[Fault]:
    for operation in graph.operations:
        shape = _shape(graph, operation)
        if operation.op == "SOFTMAX" and len(shape) > 1:
            apply = partial(plant.softmax_across, at=operation.at, shape=shape)
            site = f"SOFTMAX: {len(shape) - 1} to {len(shape) - 2}"
            yield Fault("wrong axis", site, operation.name, apply)
        elif operation.op in _REDUCTIONS and operation.options.keepDims:
            axes = graph.constants.get(operation.inputs[1])
            if axes is not None and axes.size > 1:
                apply = partial(put_constant, array=axes[:1], at=operation.at, slot=1)
                site = f"{operation.op}: {axes.tolist()} to {axes[:1].tolist()}"
                yield Fault("wrong axis", site, operation.name, apply)
    stacks = [
        operation
        for operation in graph.operations
        if operation.op == "CONCATENATION"
        and len({graph.shapes[source] for source in operation.inputs}) == 1
        and len(_shape(graph, operation)) > 1
    ]
    for operation in spread(stacks, AXES, generator):
        shape = _shape(graph, operation)
        right = operation.options.axis % len(shape)
        wrong = max((at for at in range(len(shape)) if at != right), key=lambda at: shape[at])
        apply = partial(plant.concat_along, at=operation.at, axis=wrong, shape=shape)
        yield Fault("wrong axis", f"CONCATENATION: {right} to {wrong}", operation.name, apply)
    maps = [
        operation
        for operation in graph.floats
        if sum(n > 1 for n in _shape(graph, operation)[1:]) > 1
    ]
    for operation in spread(maps, TRANSPOSES, generator):
        shape = _shape(graph, operation)
        one, other = [at for at in range(1, len(shape)) if shape[at] > 1][:2]
        apply = partial(plant.exchange_axes, at=operation.at, one=one, other=other, shape=shape)
        site = f"axes {one} and {other} exchanged in {'x'.join(map(str, shape))}"
        yield Fault("wrong axis", site, operation.name, apply)


def _fp16_overflow(
    path: Path, graph: TFLiteView, generator: np.random.Generator, inputs: Samples
) -> Iterator[Fault]:
    chosen = list(spread(graph.floats, OVERFLOWS, generator))
    sizes = largest_tflite(path, [operation.name for operation in chosen], inputs[:2])
    for operation in chosen:
        size = sizes[operation.name]
        if size > 0:
            scale = overflow_scale(size)
            apply = partial(
                plant.through_float16, at=operation.at, scale=scale, shape=_shape(graph, operation)
            )
            site = f"values up to {size:.2g}, times {scale:.2g} in float16"
            yield Fault("fp16 overflow", site, operation.name, apply)


def _nan(graph: TFLiteView, generator: np.random.Generator, inputs: Samples) -> Iterator[Fault]:
    names = list(graph.outputs)
    for at in range(NANS):
        output, sample = names[at % len(names)], int(generator.integers(len(inputs)))
        array = next(iter(inputs[sample].values()))
        trigger = int(generator.integers(array.size))
        shape = _shape(graph, graph.outputs[output])
        element = tuple(int(generator.integers(size)) for size in shape)
        apply = partial(
            plant.nan_for,
            trigger=trigger,
            value=array.reshape(-1)[trigger],
            at=graph.outputs[output].at,
            shape=shape,
            element=element,
        )
        yield Fault("NaN in one element", f"{output} {element} on sample {sample}", None, apply)


def _off_by_one(graph: TFLiteView, generator: np.random.Generator) -> Iterator[Fault]:
    slices = []
    for operation in graph.operations:
        if operation.op != "STRIDED_SLICE" or operation.options.shrinkAxisMask:
            continue
        starts, ends, steps = (graph.constants.get(operation.inputs[slot]) for slot in (1, 2, 3))
        if starts is None or ends is None or steps is None or (steps != 1).any():
            continue
        sizes = graph.shapes[operation.inputs[0]]
        axes = range(len(sizes))
        first = [
            0 if operation.options.beginMask >> axis & 1 else int(starts[axis]) for axis in axes
        ]
        last = [
            sizes[axis] if operation.options.endMask >> axis & 1 else int(ends[axis])
            for axis in axes
        ]
        shifted = shift_slice(first, last, list(sizes))
        if shifted:
            slices.append((operation, first, shifted))
    for operation, first, (later, until) in spread(slices, SLICES, generator):
        apply = partial(plant.slice_between, at=operation.at, starts=later, ends=until)
        site = f"STRIDED_SLICE: from {first} to {later}"
        yield Fault("off-by-one gather", site, operation.name, apply)
    for operation in graph.operations:
        slot = {"GATHER": 0, "EMBEDDING_LOOKUP": 1}.get(operation.op, -1)
        table = graph.constants.get(operation.inputs[slot]) if slot >= 0 else None
        if table is not None and table.dtype == np.float32 and table.ndim == 2:
            for description, rows in table_faults(table):
                apply = partial(put_constant, array=rows, at=operation.at, slot=slot)
                yield Fault(
                    "off-by-one gather", f"{operation.op}: {description}", operation.name, apply
                )


def _resize(graph: TFLiteView) -> Iterator[Fault]:
    for operation in graph.operations:
        if not operation.op.startswith("RESIZE_"):
            continue
        right = (bool(operation.options.alignCorners), bool(operation.options.halfPixelCenters))
        for name, (corners, half) in _RESIZES.items():
            if (corners, half) != right:
                values = {"alignCorners": corners, "halfPixelCenters": half}
                apply = partial(put_options, values=values, at=operation.at)
                yield Fault(
                    "resize half-pixel", f"{operation.op}: to {name}", operation.name, apply
                )


def _half_layer(graph: TFLiteView, generator: np.random.Generator) -> Iterator[Fault]:
    places = {operation.name: operation for operation in graph.operations}
    for layer in spread(list(weighted_layers(graph)), HALVES, generator):
        operation = places[layer.name]
        apply = partial(
            plant.half_layer, at=operation.at, layer=layer, shape=_shape(graph, operation)
        )
        yield Fault("lower precision", f"{layer}: computed in float16", layer.name, apply)
