"""The traces that a callable declares, and the conversion of inputs to one of them.

A restored function that gets the wrong dtype or rank raises a page of binding errors. Here the
same mistake gives an error of one line. Floats of another width are cast, as Keras users expect.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from hubopt._platform.tf_private import restored_signatures

F = TypeVar("F", bound=Callable[..., Any])

_SHOWN_TRACES = 3
_SHOWN_ITEMS = 6


def plain_python(function: F) -> F:
    """Exclude ``function`` from AutoGraph, whose generated code would appear in its errors."""
    import tensorflow as tf

    unconverted: F = tf.autograph.experimental.do_not_convert(function)
    return unconverted


def takes_training(function: Any) -> bool:
    """Return whether ``function`` has an argument ``training``.

    `hub.KerasLayer` inspects ``function.__call__`` only, so it never passes ``training`` to a
    plain Python function. Here a Keras model's ``call`` is inspected too, because its
    ``__call__`` takes any argument.
    """
    candidates = (function, getattr(function, "__call__", None), getattr(function, "call", None))  # noqa: B004
    return any(
        "training" in _parameters(candidate) for candidate in candidates if callable(candidate)
    )


def _parameters(function: Callable[..., Any]) -> Sequence[str]:
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # a built-in function without a signature
        return []


def declared_inputs(function: Any, arguments: Mapping[str, Any] | None = None) -> list[Any]:
    """Return the nests of ``tf.TensorSpec`` that ``function`` takes; empty if it declares none.

    Args:
        function: A restored object, a signature, a ``tf.function`` or any callable.
        arguments: The keyword arguments that are passed in addition to the inputs.
    """
    traces = restored_signatures(function)
    if traces:
        return [args[0] for args, _ in traces if args]
    signature = getattr(function, "structured_input_signature", None)
    if signature is not None:
        positional, keywords = signature
        rest = {name: spec for name, spec in keywords.items() if name not in (arguments or {})}
        return [positional[0]] if positional else [rest]
    declared = getattr(function, "input_signature", None)
    return [declared[0]] if declared else []


def fit_inputs(label: str, traces: Sequence[Any], inputs: Any, float_dtype: str | None) -> Any:
    """Return ``inputs`` as tensors that one of ``traces`` accepts.

    Args:
        label: The subject of the error, such as ``KerasLayer 'embed'``.
        traces: The result of `declared_inputs`.
        inputs: A tensor, array, Python value or a nest of them. Symbolic tensors of Keras are
            checked and returned unchanged.
        float_dtype: The dtype that floats are cast to if ``traces`` is empty; None leaves them
            unchanged.

    Raises:
        ValueError: No trace accepts the inputs. The message is one line with the expected and
            the given inputs.
    """
    if not traces:
        return _cast_floats(inputs, float_dtype)
    fits = [fit for trace in traces if (fit := _Fit(trace, float_dtype).of(inputs)) is not None]
    if fits:
        return min(fits, key=lambda fit: fit.cost).value
    wanted = list(dict.fromkeys(_format_nest(trace) for trace in traces))
    shown = " or ".join(wanted[:_SHOWN_TRACES])
    more = f" or {len(wanted) - _SHOWN_TRACES} more" if len(wanted) > _SHOWN_TRACES else ""
    raise ValueError(
        f"Could not find matching concrete function: {label} takes {shown}{more}, "
        f"and was given {_format_nest(inputs)}"
    )


@dataclass(frozen=True, slots=True)
class _Fitted:
    """Inputs converted for one trace.

    Attributes:
        value: The inputs.
        cost: How the floats were converted: 0, the trace takes the layer's own width; 1, not at
            all; 2, widened; 3, narrowed. If several traces fit, the cheapest is called.
    """

    value: Any
    cost: int = 0


@dataclass(frozen=True, slots=True)
class _Fit:
    """Converts inputs for one trace; ``float_dtype`` is the layer's own."""

    trace: Any
    float_dtype: str | None

    def of(self, inputs: Any) -> _Fitted | None:
        trace = self.trace
        if _is_spec(trace):
            return _fit_tensor(trace, inputs, self.float_dtype)
        if isinstance(trace, Mapping):
            return self._of_mapping(trace, inputs)
        if isinstance(trace, Sequence) and not isinstance(trace, str):
            if not isinstance(inputs, Sequence) or len(inputs) != len(trace):
                return None
            pairs = zip(trace, inputs, strict=True)
            fits = [_Fit(child, self.float_dtype).of(value) for child, value in pairs]
            return _collect(fits, lambda values: _like(trace, values))
        same = type(inputs) is type(trace) and inputs == trace  # a Python value, such as None
        return _Fitted(inputs) if same else None

    def _of_mapping(self, trace: Mapping[str, Any], inputs: Any) -> _Fitted | None:
        if not isinstance(inputs, Mapping):
            # A signature with one input also takes it without a mapping, as in hub.KerasLayer.
            only = next(iter(trace.values())) if len(trace) == 1 else None
            return None if only is None else _Fit(only, self.float_dtype).of(inputs)
        if set(inputs) != set(trace):
            return None
        fits = [_Fit(trace[key], self.float_dtype).of(inputs[key]) for key in inputs]
        return _collect(fits, lambda values: dict(zip(inputs, values, strict=True)))


def _collect(fits: Sequence[_Fitted | None], build: Callable[[list[Any]], Any]) -> _Fitted | None:
    valid = [fit for fit in fits if fit is not None]
    if len(valid) < len(fits):
        return None
    return _Fitted(build([fit.value for fit in valid]), max((fit.cost for fit in valid), default=0))


def _like(trace: Sequence[Any], values: list[Any]) -> Any:
    """Return ``values`` in a container of the type in ``trace``, which takes no other type."""
    if hasattr(trace, "_fields"):  # a named tuple
        return type(trace)(*values)
    return tuple(values) if isinstance(trace, tuple) else values


def _is_spec(trace: Any) -> bool:
    import tensorflow as tf

    return isinstance(trace, tf.TypeSpec)


def _fit_tensor(spec: Any, value: Any, float_dtype: str | None) -> _Fitted | None:
    import tensorflow as tf

    if isinstance(value, Mapping) or _kind(spec) != _kind(value):
        return None
    if not (tf.is_tensor(value) or is_symbolic(value)):
        value = _to_tensor(value, spec.dtype)
    if value is None or not spec.shape.is_compatible_with(tf.TensorShape(value.shape)):
        return None
    dtype = tf.as_dtype(value.dtype)
    if dtype != spec.dtype and not (dtype.is_floating and spec.dtype.is_floating):
        return None
    if dtype != spec.dtype and not is_symbolic(value):
        value = tf.cast(value, spec.dtype)
    return _Fitted(value, _cost(dtype, spec.dtype, float_dtype))


def _cost(dtype: Any, wanted: Any, float_dtype: str | None) -> int:
    if not wanted.is_floating or wanted.name == float_dtype:
        return 0
    if wanted == dtype:
        return 1
    return 2 if wanted.size > dtype.size else 3


def _kind(value: Any) -> str:
    """Return ``ragged `` or ``sparse `` for specs, tensors and symbolic tensors of that kind."""
    import tensorflow as tf

    value = getattr(value, "type_spec", value)  # a symbolic tensor of Keras 2 has a type_spec
    if isinstance(value, tf.RaggedTensor | tf.RaggedTensorSpec) or (
        is_symbolic(value) and getattr(value, "ragged", False)
    ):
        return "ragged "
    if isinstance(value, tf.SparseTensor | tf.SparseTensorSpec) or (
        is_symbolic(value) and getattr(value, "sparse", False)
    ):
        return "sparse "
    return ""


def is_symbolic(value: Any) -> bool:
    """Return whether ``value`` is a symbolic tensor of Keras 2 or Keras 3."""
    return type(value).__name__.endswith("KerasTensor")


def _to_tensor(value: Any, dtype: Any) -> Any:
    """Convert an array, a Python value or a list of them; None if that is impossible.

    Python numbers have no dtype of their own and get the dtype of the model.
    """
    import numpy as np
    import tensorflow as tf

    try:
        array = np.asarray(value)
        is_python = not hasattr(value, "dtype") and array.dtype.kind in "iuf"
        is_integer = array.dtype.kind in "iu"
        if is_python and (dtype.is_floating or (is_integer and dtype.is_integer)):
            return tf.convert_to_tensor(value, dtype)
        return tf.convert_to_tensor(value)
    except (TypeError, ValueError, tf.errors.OpError):
        return None


def _cast_floats(inputs: Any, float_dtype: str | None) -> Any:
    import tensorflow as tf

    if float_dtype is None or not tf.as_dtype(float_dtype).is_floating:
        return inputs

    def cast(value: Any) -> Any:
        dtype = getattr(value, "dtype", None)
        if dtype is None or is_symbolic(value) or not tf.as_dtype(dtype).is_floating:
            return value
        return value if tf.as_dtype(dtype).name == float_dtype else tf.cast(value, float_dtype)

    return tf.nest.map_structure(cast, inputs)


def _format_nest(nest: Any) -> str:
    """Return a nest of specs or values as one short line of text."""
    import tensorflow as tf

    if isinstance(nest, Mapping):
        return "{" + _join(f"{key}: {_format_nest(nest[key])}" for key in sorted(nest)) + "}"
    if isinstance(nest, list | tuple):
        return "[" + _join(_format_nest(child) for child in nest) + "]"
    dtype = getattr(nest, "dtype", None)
    if dtype is None:
        return f"a {type(nest).__name__}"
    shape = tf.TensorShape(getattr(nest, "shape", None))
    shape_text = "<unknown rank>" if shape.rank is None else str(shape)
    return f"{_kind(nest)}{tf.as_dtype(dtype).name} {shape_text}"


def _join(parts: Iterator[str]) -> str:
    items = list(parts)
    more = [f"and {len(items) - _SHOWN_ITEMS} more"] if len(items) > _SHOWN_ITEMS else []
    return ", ".join(items[:_SHOWN_ITEMS] + more)
