"""Mutants of an ONNX model, one fault each."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.mutations import onnx_faults as plant
from benchmarks.mutations.activations import largest_onnx
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
from benchmarks.mutations.onnx_model import (
    OnnxView,
    attribute,
    put_attribute,
    put_constant,
    view,
    weighted_layers,
)
from benchmarks.mutations.values import overflow_scale, shift_padding, shift_slice, table_faults
from benchmarks.mutations.weights import weight_faults

_RESIZES = ("half_pixel", "asymmetric", "align_corners")


def onnx_mutants(path: Path, seed: int, inputs: Samples) -> Iterator[Mutant]:
    """Yield mutants of the model at ``path``.

    Args:
        path: The artifact that hubopt exported, with static shapes.
        seed: The seed of the sites, which are spread over the depth of the graph.
        inputs: The samples of the reference set. A NaN is injected for one of them; the first two
            are used to measure the size of activations, which decides what overflows.
    """
    import onnx

    model = onnx.load(path)
    graph = view(model)
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
    yield from distinct("onnx", path, faults)


def _swapped_outputs(graph: OnnxView) -> Iterator[Fault]:
    for one, other in combinations(graph.outputs, 2):
        if graph.outputs[one] == graph.outputs[other]:
            yield Fault(
                "swapped outputs",
                f"{one} and {other}",
                None,
                partial(plant.swap_outputs, one=one, other=other),
            )


def _wrong_padding(graph: OnnxView, generator: np.random.Generator) -> Iterator[Fault]:
    sites = []
    for node in graph.nodes:
        name = node.output[0]
        if node.op_type in ("Conv", "MaxPool", "AveragePool"):
            before = list(attribute(node, "pads", []))
            if any(before):
                after = shift_padding(before)
                apply = partial(put_attribute, name="pads", value=after, output=name)
                sites.append((f"{node.op_type}: {before} to {after}", name, apply))
        elif node.op_type == "Pad" and node.input[1] in graph.constants:
            before = graph.constants[node.input[1]].tolist()
            if attribute(node, "mode", b"constant") != b"constant":
                apply = partial(put_attribute, name="mode", value="edge", output=name)
                sites.append((f"Pad: {attribute(node, 'mode').decode()} to edge", name, apply))
            elif any(before):
                after = shift_padding(before)
                array = np.array(after, np.int64)
                apply = partial(put_constant, array=array, output=name, slot=1)
                sites.append((f"Pad: {before} to {after}", name, apply))
    for site, name, apply in spread(sites, PADDINGS, generator):
        yield Fault("wrong padding", site, name, apply)


def _wrong_epsilon(graph: OnnxView) -> Iterator[Fault]:
    for node in graph.nodes:
        name = node.output[0]
        for factor in (0.01, 100.0):
            if node.op_type in ("BatchNormalization", "LayerNormalization"):
                before = attribute(node, "epsilon", 1e-5)
                apply = partial(put_attribute, name="epsilon", value=before * factor, output=name)
                site = f"{node.op_type}: {before:.0e} to {before * factor:.0e}"
                yield Fault("wrong epsilon", site, name, apply)
            elif node.op_type in ("Add", "Max"):
                for slot, source in enumerate(node.input):
                    constant = graph.constants.get(source)
                    if constant is None or constant.dtype != np.float32:
                        continue
                    if np.ptp(constant) == 0 and 0 < constant.flat[0] <= SMALL:
                        array = np.asarray(constant * factor, np.float32)
                        site = f"{node.op_type}: {constant.flat[0]:.0e} to {array.flat[0]:.0e}"
                        apply = partial(put_constant, array=array, output=name, slot=slot)
                        yield Fault("wrong epsilon", site, name, apply)


def _wrong_axis(graph: OnnxView, generator: np.random.Generator) -> Iterator[Fault]:
    for node in spread([n for n in graph.nodes if n.op_type == "Softmax"], AXES, generator):
        rank = len(graph.shapes[node.output[0]])
        right = attribute(node, "axis", -1) % rank
        wrong = (right - 1) % rank
        apply = partial(put_attribute, name="axis", value=wrong, output=node.output[0])
        yield Fault("wrong axis", f"Softmax: {right} to {wrong}", node.output[0], apply)
    stacks = [
        node
        for node in graph.nodes
        if node.op_type == "Concat"
        and len({graph.shapes.get(source) for source in node.input}) == 1
        and len(graph.shapes.get(node.output[0], ())) > 1
    ]
    for node in spread(stacks, AXES, generator):
        shape = graph.shapes[node.output[0]]
        right = attribute(node, "axis") % len(shape)
        wrong = max((at for at in range(len(shape)) if at != right), key=lambda at: shape[at])
        apply = partial(plant.concat_along, output=node.output[0], axis=wrong, shape=shape)
        yield Fault("wrong axis", f"Concat: {right} to {wrong}", node.output[0], apply)
    maps = [name for name, shape in graph.shapes.items() if sum(size > 1 for size in shape[1:]) > 1]
    for name in spread(maps, TRANSPOSES, generator):
        shape = graph.shapes[name]
        one, other = [at for at in range(1, len(shape)) if shape[at] > 1][-2:]
        apply = partial(plant.exchange_axes, output=name, one=one, other=other, shape=shape)
        site = f"axes {one} and {other} exchanged in {'x'.join(map(str, shape))}"
        yield Fault("wrong axis", site, name, apply)


def _fp16_overflow(
    path: Path, graph: OnnxView, generator: np.random.Generator, inputs: Samples
) -> Iterator[Fault]:
    names = list(spread(list(graph.shapes), OVERFLOWS, generator))
    for name, size in largest_onnx(path, names, inputs[:2]).items():
        if size > 0:
            scale = overflow_scale(size)
            apply = partial(plant.through_float16, output=name, scale=scale)
            site = f"values up to {size:.2g}, times {scale:.2g} in float16"
            yield Fault("fp16 overflow", site, name, apply)


def _nan(graph: OnnxView, generator: np.random.Generator, inputs: Samples) -> Iterator[Fault]:
    names = list(graph.outputs)
    for at in range(NANS):
        output, sample = names[at % len(names)], int(generator.integers(len(inputs)))
        source = graph.inputs[0]
        array = inputs[sample][source]
        trigger = int(generator.integers(array.size))
        element = tuple(int(generator.integers(size)) for size in graph.outputs[output])
        apply = partial(
            plant.nan_for,
            source=source,
            trigger=trigger,
            value=array.reshape(-1)[trigger],
            output=output,
            shape=graph.outputs[output],
            element=element,
        )
        yield Fault("NaN in one element", f"{output} {element} on sample {sample}", None, apply)


def _off_by_one(graph: OnnxView, generator: np.random.Generator) -> Iterator[Fault]:
    slices = []
    for node in graph.nodes:
        if node.op_type != "Slice" or node.input[0] not in graph.shapes:
            continue
        starts, ends, axes = (graph.constants.get(node.input[slot]) for slot in (1, 2, 3))
        if starts is None or ends is None or axes is None:
            continue
        sizes = [graph.shapes[node.input[0]][axis] for axis in axes]
        shifted = shift_slice(starts.tolist(), ends.tolist(), sizes)
        if shifted:
            slices.append((node.output[0], starts, np.array(shifted)))
    for name, starts, bounds in spread(slices, SLICES, generator):
        site = f"Slice: from {starts.tolist()} to {bounds[0].tolist()}"
        apply = partial(plant.slice_between, output=name, bounds=bounds)
        yield Fault("off-by-one gather", site, name, apply)
    for node in graph.nodes:
        table = graph.constants.get(node.input[0]) if node.op_type == "Gather" else None
        if table is None or table.dtype != np.float32 or attribute(node, "axis", 0) != 0:
            continue
        for description, rows in table_faults(table):
            apply = partial(put_constant, array=rows, output=node.output[0], slot=0)
            yield Fault("off-by-one gather", f"Gather: {description}", node.output[0], apply)


def _resize(graph: OnnxView) -> Iterator[Fault]:
    for node in graph.nodes:
        if node.op_type != "Resize":
            continue
        name = "coordinate_transformation_mode"
        right = attribute(node, name, b"half_pixel").decode()
        for wrong in _RESIZES:
            if wrong != right:
                apply = partial(put_attribute, name=name, value=wrong, output=node.output[0])
                yield Fault("resize half-pixel", f"{right} to {wrong}", node.output[0], apply)


def _half_layer(graph: OnnxView, generator: np.random.Generator) -> Iterator[Fault]:
    for layer in spread(list(weighted_layers(graph)), HALVES, generator):
        apply: Any = partial(plant.half_layer, layer=layer)
        yield Fault("lower precision", f"{layer}: computed in float16", layer.name, apply)
