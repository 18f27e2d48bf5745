"""What to pass for inputs that nothing settles: flags that were tried before they are printed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from hubopt._util.structure import pack
from hubopt.hints import flag
from hubopt.layers.interface import Interface
from hubopt.programs.shaping.input_shapes import Partial
from hubopt.programs.shaping.outputs import call_as_is
from hubopt.sampling.samples import draw
from hubopt.spec import Dim, MaybeShape, TensorSpec, format_shape

_DTYPE = "float32"
"""The dtype to try for an input of which nothing declares it."""
_SIDES = (224, 128, 256, 64, 32, 512)
_LENGTHS = (16000, 1024, 128, 8)
_SIZES = (128, 64, 32, 16, 8, 4, 3, 2, 1, 256, 512, 768, 1024)
_BATCHES = (2, 4, 8, 16, 32, 64)
_CHANNELS, _FRAMES = 3, 16
_LONGEST_S = 10.0
"""How long examples are tried for; a size that fails does so at once."""


def open_problems(
    layer: Any, interface: Interface, inputs: Sequence[TensorSpec | Partial], probe: bool
) -> list[str]:
    """Return a sentence for each input that only lacks sizes, its rank or its dtype.

    Each names flags that parse, with sizes on which the layer answers. If none of those that were
    tried is such, ``?`` stands for the sizes.

    Args:
        layer: A `hubopt.KerasLayer`.
        interface: The layer's declared interface.
        inputs: The inputs as far as they are settled.
        probe: Whether to try the sizes, on the layer.
    """
    if not any(isinstance(tensor, Partial) and tensor.is_open for tensor in inputs):
        return []
    examples = _example(layer, interface, inputs) if probe else None
    if examples is None and any(isinstance(each, Partial) and each.conflicts for each in inputs):
        examples = next(_candidates(inputs))  # what is wrong elsewhere keeps it from being tried
    problems: list[str] = []
    for tensor in inputs:
        if isinstance(tensor, Partial) and tensor.is_open:
            shape = examples[tensor.name].named_shape if examples else tensor.shape or (None, None)
            problems += _sentences(tensor, shape)
    return problems


def batch_that_works(layer: Any, interface: Interface, inputs: Sequence[TensorSpec]) -> int | None:
    """Return a batch size on which the layer answers, in place of the default; None if none does.

    Args:
        layer: A `hubopt.KerasLayer`.
        interface: The layer's declared interface.
        inputs: The settled inputs.
    """
    for batch in _BATCHES:
        specs = {spec.name: _with_batch(spec, batch) for spec in inputs}
        if _answers(layer, interface, specs):
            return batch
    return None


def _with_batch(spec: TensorSpec, batch: int) -> TensorSpec:
    dims = (Dim(batch, "flag") if dim.origin == "default" else dim for dim in spec.dims)
    return replace(spec, dims=tuple(dims))


def _sentences(tensor: Partial, shape: MaybeShape) -> Iterator[str]:
    label, example = f"input {tensor.name}:", flag("--input-shape", tensor.name, shape)
    others = "with a size for each ?" if None in shape else "or other sizes"
    known = tensor.shape
    if known is None:
        yield f"{label} nothing declares its rank; say {example}, {others}"
    elif tensor.is_length:
        yield (
            f"{label} its only dimension is open and seems to be a length, as it holds floats; say "
            f"{example}, {others}; if it is a batch of numbers, say --batch 1"
        )
    elif None in known:
        axes = [str(at) for at, size in enumerate(known) if size is None]
        several = len(axes) > 1
        yield (
            f"{label} dimension{'s' * several} {' and '.join(axes)} of {format_shape(known)} "
            f"{'are' if several else 'is'} unknown; say {example}, {others}"
        )
    if tensor.dtype is None and not tensor.conflicts:
        example = flag("--dtype", tensor.name, _DTYPE)
        yield f"{label} nothing declares its dtype; say {example}, or another dtype"


def _example(
    layer: Any, interface: Interface, inputs: Sequence[TensorSpec | Partial]
) -> dict[str, TensorSpec] | None:
    """Return inputs on which the layer answers; None if there is none among the candidates."""
    if any(isinstance(tensor, Partial) and tensor.conflicts for tensor in inputs):
        return None
    start = time.monotonic()
    for specs in _candidates(inputs):
        if time.monotonic() - start > _LONGEST_S:
            break
        if _answers(layer, interface, specs):
            return specs
    return None


def _answers(layer: Any, interface: Interface, specs: dict[str, TensorSpec]) -> bool:
    import tensorflow as tf

    try:
        sample = draw(list(specs.values()), 1)[0].tensors
        tensors = {name: tf.constant(sample[name], spec.dtype) for name, spec in specs.items()}
        call_as_is(layer, pack(interface.structure, tensors))
    except Exception:  # whatever the layer's own Python code raises
        return False
    return True


def _candidates(inputs: Sequence[TensorSpec | Partial]) -> Iterator[dict[str, TensorSpec]]:
    """Yield examples of all inputs, with sizes that are usual for tensors of their ranks first."""
    guesses = {each.name: _sizes(each) for each in inputs if isinstance(each, Partial)}
    for at in range(max(map(len, guesses.values()))):
        yield {
            each.name: each
            if isinstance(each, TensorSpec)
            else _filled(each, guesses[each.name][min(at, len(guesses[each.name]) - 1)])
            for each in inputs
        }


def _sizes(tensor: Partial) -> tuple[int, ...]:
    rank = 2 if tensor.shape is None else len(tensor.shape)
    return _LENGTHS if tensor.is_length else _SIDES if rank > 3 else _SIZES


def _filled(tensor: Partial, size: int) -> TensorSpec:
    """Return an example of an input: an image has channels, a video has frames, too."""
    shape = tensor.shape
    if shape is None:
        shape = (1,) if tensor.dtype == "string" else (1, None)
    usual = dict.fromkeys(range(len(shape)), size)
    if len(shape) in (4, 5):
        usual[len(shape) - 1] = _CHANNELS
    if len(shape) == 5:
        usual[1] = _FRAMES
    dims = [
        Dim(1, "default", known) if isinstance(known, str) else Dim(known or usual[at], "default")
        for at, known in enumerate(shape)
    ]
    return TensorSpec(tensor.name, tensor.dtype or _DTYPE, tuple(dims))
