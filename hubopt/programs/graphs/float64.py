"""`widen`: rewrite a frozen graph to compute the same function in float64.

The constants keep the model's values; only the arithmetic is more precise. The remaining
rounding errors are far smaller than the differences between float32 kernels. So the result is a
reference for two float32 answers, neither of which is exact to the last digit.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hubopt._platform import tf_private
from hubopt.errors import TraceError

_FLOAT64, _INT32 = 2, 3
_WIDE = {1: _FLOAT64, 14: _FLOAT64, 19: _FLOAT64, 8: 18}
"""The wide dtype for float32, bfloat16, float16 and complex64. The numbers are those of
TensorFlow's types.proto, which never change."""

_BATCH_NORMS = frozenset({"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"})
_DRAWS = re.compile("Random|TruncatedNormal|StandardNormal|StatefulUniform|Multinomial")
"""Operations that draw random numbers, which would differ in float64."""
_BYTES = re.compile(
    "^(Bitcast|Fingerprint|Decode.*|Parse.*|SerializeTensor|.*PyFunc.*|"
    "AsString|StringFormat|StringToNumber)$"
)
"""Operations whose result depends on how a number is stored or printed."""
_RESULT = {
    "Cast": "y",
    "IdentityN": "output",
    "Const": "output",
    "Reshape": "output",
    "Rsqrt": "y",
    "AddV2": "z",
    "Mul": "z",
    "Sub": "z",
}
"""The output name of each operation that the rewriting inserts; functions refer to it."""


@dataclass(frozen=True, slots=True)
class Widened:
    """A graph that computes in float64.

    Attributes:
        graph_def: The ``GraphDef``. A float tensor keeps its name and becomes float64, except
            for placeholders, which are fed as before.
        narrow: The nodes that still compute in their old dtype, by operation, because
            TensorFlow has no float64 kernel for them on the CPU.
    """

    graph_def: Any
    narrow: Mapping[str, tuple[str, ...]]


def widen(graph_def: Any) -> Widened:
    """Rewrite a frozen ``GraphDef`` so that it computes in float64 (complex128 for complex64).

    An operation without such a kernel on the CPU keeps its dtype and is placed between casts.
    Batch normalization in inference mode, which has no such kernel, becomes plain arithmetic.

    Args:
        graph_def: The graph and its functions; it is not changed.

    Raises:
        TraceError: The graph has operations that are not registered in this process.
    """
    import tensorflow as tf

    library = {function.signature.name: function for function in graph_def.library.function}
    unknown = sorted(
        {
            node.op
            for nodes in (graph_def.node, *(function.node_def for function in library.values()))
            for node in nodes
            if node.op not in library and tf_private.op_definition(node.op) is None
        }
    )
    if unknown:
        raise TraceError(
            "float64 reference",
            f"not available: TensorFlow does not know {', '.join(unknown)}",
            "operations that are registered in this process",
            "import the package that registers them",
        )
    narrow: dict[str, list[str]] = defaultdict(list)
    signatures = {name: function.signature for name, function in library.items()}
    wide = tf.compat.v1.GraphDef()
    wide.versions.CopyFrom(graph_def.versions)
    main = _Body("", signatures, narrow)
    wide.node.extend(main.rewrite(graph_def.node))
    for name, function in library.items():
        copy = wide.library.function.add()
        copy.CopyFrom(function)
        for argument in (*copy.signature.input_arg, *copy.signature.output_arg):
            argument.type = _WIDE.get(argument.type, argument.type)
            argument.ClearField("experimental_full_type")
        del copy.node_def[:]
        body = _Body(name, signatures, narrow)
        copy.node_def.extend(body.rewrite(function.node_def))
        for result, tensor in function.ret.items():
            copy.ret[result] = body.moved.get(tensor, tensor)
    return Widened(wide, {op: tuple(names) for op, names in sorted(narrow.items())})


class _Body:
    """Rewrites the nodes of the graph or of one of its functions.

    A tensor is written ``node:1`` in the graph, but ``node:output:0`` in a function. So the
    tensors of a rewritten node have other names in a function. ``moved`` maps old names to new.
    """

    def __init__(
        self, function: str, signatures: Mapping[str, Any], narrow: dict[str, list[str]]
    ) -> None:
        self.moved: dict[str, str] = {}
        self._function = function
        self._signatures = signatures
        self._narrow = narrow

    def rewrite(self, nodes: Any) -> list[Any]:
        entries: list[Any] = []
        rewritten: list[Any] = []
        for node in nodes:
            if node.op == "Placeholder":
                entries.extend(self._enter(node))
            else:
                rewritten.extend(self._rewrite(node))
        for node in rewritten:
            node.input[:] = [self.moved.get(tensor, tensor) for tensor in node.input]
        return entries + rewritten

    def _enter(self, node: Any) -> Iterator[Any]:
        """Keep the placeholder, and add a cast for the nodes that read it."""
        yield _copy(node)
        dtype = node.attr["dtype"].type
        if dtype in _WIDE:
            yield _cast(f"{node.name}/wide", node, f"{node.name}:0", dtype, _WIDE[dtype])
            for name in (node.name, f"{node.name}:0"):
                self.moved[name] = self._tensor(f"{node.name}/wide", "Cast")

    def _rewrite(self, node: Any) -> Iterator[Any]:
        definition = self._signatures.get(node.op) or tf_private.op_definition(node.op)
        inputs = [dtype for _, dtype in _arguments(node, definition, definition.input_arg)]
        outputs = _arguments(node, definition, definition.output_arg)
        # A list of tensors has dtype variant; only an attribute says which dtype it holds.
        named = (dtype for value in node.attr.values() for dtype in (value.type, *value.list.type))
        if _WIDE.keys().isdisjoint((*inputs, *(dtype for _, dtype in outputs), *named)):
            yield _copy(node)
        elif node.op in _BATCH_NORMS and not _attribute(node, definition, "is_training").b:
            yield from self._normalize(node, definition, outputs)
        elif node.op in self._signatures or _computes_wide(node, definition):
            yield _widened(node)
        else:
            if node.op != "Const":
                self._narrow[node.op].append(f"{self._function}/{node.name}".lstrip("/"))
            yield from self._between_casts(node, inputs, outputs)

    def _between_casts(self, node: Any, inputs: list[int], outputs: Any) -> Iterator[Any]:
        inner = _copy(node)
        for at, dtype in enumerate(inputs):
            if dtype in _WIDE:
                name = f"{node.name}/narrow/{at}"
                yield _cast(name, node, node.input[at], _WIDE[dtype], dtype)
                inner.input[at] = self._tensor(name, "Cast")
        if any(dtype in _WIDE for _, dtype in outputs):
            inner.name = f"{node.name}/narrow"
            tensors, dtypes = [], []
            for at, (place, dtype) in enumerate(outputs):
                tensor = f"{inner.name}:{place if self._function else at}"
                if dtype in _WIDE:
                    name = f"{node.name}/wide/{at}"
                    yield _cast(name, node, tensor, dtype, _WIDE[dtype])
                    tensor = self._tensor(name, "Cast")
                tensors.append(tensor)
                dtypes.append(_WIDE.get(dtype, dtype))
            yield self._replacement(node, outputs, tensors, dtypes)
        yield inner

    def _normalize(self, node: Any, definition: Any, outputs: Any) -> Iterator[Any]:
        """Compute ``(x - mean) * scale / sqrt(variance + epsilon) + offset`` with plain nodes."""
        x, scale, offset, mean, variance = node.input[:5]
        after = list(node.input[5:])
        # In a while loop of TensorFlow 1, a constant must depend on a node inside the loop.
        if not self._function:
            after.append("^" + variance.lstrip("^").partition(":")[0])
        made: list[Any] = []

        def constant(name: str, value: Any, dtype: int) -> str:
            made.append(_constant(f"{node.name}/wide/{name}", node, value, dtype, after))
            return self._tensor(made[-1].name, "Const")

        def compute(op: str, name: str, *tensors: str) -> str:
            made.append(_node(f"{node.name}/wide/{name}", op, node, tensors))
            made[-1].attr["T"].type = _FLOAT64
            return self._tensor(made[-1].name, op)

        epsilon = constant("epsilon", _attribute(node, definition, "epsilon").f, _FLOAT64)
        root = compute("Rsqrt", "rsqrt", compute("AddV2", "variance", variance, epsilon))
        factors = [mean, compute("Mul", "factor", root, scale), offset]
        layout = _attribute(node, definition, "data_format").s.decode()
        if layout.startswith("NC"):
            shape = constant("shape", [1, -1] + [1] * (len(layout) - 2), _INT32)
            factors = [
                compute("Reshape", f"reshape_{at}", factor, shape)
                for at, factor in enumerate(factors)
            ]
        centred = compute("Sub", "centred", x, factors[0])
        y = compute("AddV2", "y", compute("Mul", "scaled", centred, factors[1]), factors[2])
        yield from made
        tensors = [y, mean, variance, mean, variance, variance][: len(outputs)]
        yield self._replacement(node, outputs, tensors, [_FLOAT64] * len(tensors))

    def _replacement(self, node: Any, outputs: Any, tensors: list[str], dtypes: list[int]) -> Any:
        """Return a node with the old node's name that has ``tensors`` as its outputs."""
        identity = _node(node.name, "IdentityN", node, tensors)
        identity.attr["T"].list.type.extend(dtypes)
        if self._function:
            for at, (place, _) in enumerate(outputs):
                self.moved[f"{node.name}:{place}"] = f"{node.name}:output:{at}"
        return identity

    def _tensor(self, name: str, op: str) -> str:
        return f"{name}:{_RESULT[op]}:0" if self._function else f"{name}:0"


def _computes_wide(node: Any, definition: Any) -> bool:
    """Whether the CPU has a kernel for ``node`` with every dtype widened."""
    if node.op == "Const" or _DRAWS.search(node.op) or _BYTES.match(node.op):
        return False
    if not _WIDE.keys().isdisjoint(tf_private.fixed_dtypes(node.op)):
        return False
    dtypes = {}
    for attr in definition.attr:
        value = _attribute(node, definition, attr.name)
        dtypes[attr.name] = {_WIDE.get(dtype, dtype) for dtype in (value.type, *value.list.type)}
        dtypes[attr.name].discard(0)
        allowed = set(attr.allowed_values.list.type)
        if allowed and not dtypes[attr.name] <= allowed:
            return False
    return any(
        all(dtypes[name] <= set(limits) for name, limits in kernel.items())
        for kernel in tf_private.cpu_kernel_constraints(node.op)
    )


def _widened(node: Any) -> Any:
    copy = _copy(node)
    for value in copy.attr.values():
        if value.type in _WIDE:
            value.type = _WIDE[value.type]
        elif value.list.type:
            value.list.type[:] = [_WIDE.get(dtype, dtype) for dtype in value.list.type]
    return copy


def _arguments(node: Any, definition: Any, arguments: Any) -> list[tuple[str, int]]:
    """Return the name of each tensor in a function, such as ``y:0``, and its dtype."""
    tensors: list[tuple[str, int]] = []
    for arg in arguments:
        if arg.type_list_attr:
            dtypes = list(_attribute(node, definition, arg.type_list_attr).list.type)
        else:
            dtype = arg.type or _attribute(node, definition, arg.type_attr).type
            count = _attribute(node, definition, arg.number_attr).i if arg.number_attr else 1
            dtypes = [dtype] * count
        tensors.extend((f"{arg.name}:{at}", dtype) for at, dtype in enumerate(dtypes))
    return tensors


def _attribute(node: Any, definition: Any, name: str) -> Any:
    """Return an attribute's value; a stored model may omit attributes with default values."""
    if name in node.attr:
        return node.attr[name]
    (default,) = (attr.default_value for attr in definition.attr if attr.name == name)
    return default


def _copy(node: Any) -> Any:
    copy = type(node)()
    copy.CopyFrom(node)
    copy.ClearField("experimental_type")  # it repeats the old dtypes
    return copy


def _node(name: str, op: str, beside: Any, tensors: Iterable[str]) -> Any:
    return type(beside)(name=name, op=op, device=beside.device, input=tensors)


def _cast(name: str, beside: Any, tensor: str, source: int, target: int) -> Any:
    node = _node(name, "Cast", beside, [tensor])
    node.attr["SrcT"].type = source
    node.attr["DstT"].type = target
    return node


def _constant(name: str, beside: Any, value: Any, dtype: int, after: Iterable[str]) -> Any:
    import tensorflow as tf

    node = _node(name, "Const", beside, after)
    node.attr["dtype"].type = dtype
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, tf.as_dtype(dtype)))
    return node
