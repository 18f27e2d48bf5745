"""How a callable wants its inputs: the traces it declares, and inputs brought into line.

A restored function that gets the wrong dtype or rank answers with a page of binding errors.
Here the same mistake is one line, and a float of another width is cast, as Keras users expect.
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
    """Keep AutoGraph from rewriting ``function``, whose errors would then be its own code's."""
    import tensorflow as tf

    kept: F = tf.autograph.experimental.do_not_convert(function)
    return kept


def takes_training(function: Any) -> bool:
    """Whether ``function`` has an argument ``training``.

    `hub.KerasLayer` looks at ``function.__call__`` only, and so never passes it to a plain
    Python function. A Keras model's own ``call`` counts too: its ``__call__`` takes anything.
    """
    candidates = (function, getattr(function, "__call__", None), getattr(function, "call", None))  # noqa: B004
    return any("training" in _parameters(each) for each in candidates if callable(each))


def _parameters(function: Callable[..., Any]) -> Sequence[str]:
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # built in, without a signature
        return []


def declared_inputs(function: Any, arguments: Mapping[str, Any] | None = None) -> list[Any]:
    """Return the nests of ``tf.TensorSpec`` that ``function`` takes; empty if it declares none.

    Args:
        function: A restored object, a signature, a ``tf.function`` or any callable.
        arguments: What is passed by keyword beside the inputs.
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
    """Return ``inputs`` as tensors that one of ``traces`` takes.

    Args:
        label: What the error is about, such as ``KerasLayer 'embed'``.
        traces: What `declared_inputs` returned.
        inputs: A tensor, array, Python value or a nest of them; Keras's symbolic tensors are
            checked and left as they are.
        float_dtype: What floats become where nothing is declared; None leaves them alone.

    Raises:
        ValueError: No trace takes them; one line that says what it takes and what came.
    """
    if not traces:
        return _cast_floats(inputs, float_dtype)
    fits = [fit for trace in traces if (fit := _Fit(trace, float_dtype).of(inputs)) is not None]
    if fits:
        return min(fits, key=lambda fit: fit.cost).value
    wanted = list(dict.fromkeys(_format_nest(trace) for trace in traces))
    told = " or ".join(wanted[:_SHOWN_TRACES])
    more = f" or {len(wanted) - _SHOWN_TRACES} more" if len(wanted) > _SHOWN_TRACES else ""
    raise ValueError(
        f"Could not find matching concrete function: {label} takes {told}{more}, "
        f"and was given {_format_nest(inputs)}"
    )


@dataclass(frozen=True, slots=True)
class _Fitted:
    """Inputs as a trace takes them.

    Attributes:
        value: The inputs.
        cost: What was done to floats: 0, they have the layer's own width; 1, nothing;
            2, widened; 3, narrowed. Of several traces the cheapest is called.
    """

    value: Any
    cost: int = 0


@dataclass(frozen=True, slots=True)
class _Fit:
    """Brings inputs into line with one trace; ``float_dtype`` is the layer's own."""

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
            fits = [_Fit(each, self.float_dtype).of(value) for each, value in pairs]
            return _collect(fits, lambda values: _like(trace, values))
        same = type(inputs) is type(trace) and inputs == trace  # a Python value, such as None
        return _Fitted(inputs) if same else None

    def _of_mapping(self, trace: Mapping[str, Any], inputs: Any) -> _Fitted | None:
        if not isinstance(inputs, Mapping):
            # A signature of one input takes it bare too, as hub.KerasLayer allows.
            only = next(iter(trace.values())) if len(trace) == 1 else None
            return None if only is None else _Fit(only, self.float_dtype).of(inputs)
        if set(inputs) != set(trace):
            return None
        fits = [_Fit(trace[key], self.float_dtype).of(inputs[key]) for key in inputs]
        return _collect(fits, lambda values: dict(zip(inputs, values, strict=True)))


def _collect(fits: Sequence[_Fitted | None], build: Callable[[list[Any]], Any]) -> _Fitted | None:
    found = [fit for fit in fits if fit is not None]
    if len(found) < len(fits):
        return None
    return _Fitted(build([fit.value for fit in found]), max((fit.cost for fit in found), default=0))


def _like(trace: Sequence[Any], values: list[Any]) -> Any:
    """Put ``values`` into a container as the trace has it: it takes no other."""
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

    value = getattr(value, "type_spec", value)  # of a symbolic tensor of Keras 2
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
    """Whether ``value`` is a symbolic tensor of either generation of Keras."""
    return type(value).__name__.endswith("KerasTensor")


def _to_tensor(value: Any, dtype: Any) -> Any:
    """Convert an array, a Python value or a list of them; None if that is impossible.

    Numbers written in Python have no dtype of their own and take the model's.
    """
    import numpy as np
    import tensorflow as tf

    try:
        array = np.asarray(value)
        written = not hasattr(value, "dtype") and array.dtype.kind in "iuf"
        whole = array.dtype.kind in "iu"
        if written and (dtype.is_floating or (whole and dtype.is_integer)):
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
    """Write a nest of specs or values in one short line."""
    import tensorflow as tf

    if isinstance(nest, Mapping):
        return "{" + _join(f"{key}: {_format_nest(nest[key])}" for key in sorted(nest)) + "}"
    if isinstance(nest, list | tuple):
        return "[" + _join(_format_nest(each) for each in nest) + "]"
    dtype = getattr(nest, "dtype", None)
    if dtype is None:
        return f"a {type(nest).__name__}"
    shape = tf.TensorShape(getattr(nest, "shape", None))
    told = "<unknown rank>" if shape.rank is None else str(shape)
    return f"{_kind(nest)}{tf.as_dtype(dtype).name} {told}"


def _join(parts: Iterator[str]) -> str:
    items = list(parts)
    more = [f"and {len(items) - _SHOWN_ITEMS} more"] if len(items) > _SHOWN_ITEMS else []
    return ", ".join(items[:_SHOWN_ITEMS] + more)
