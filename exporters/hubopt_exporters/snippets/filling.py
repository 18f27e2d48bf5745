"""What every snippet is filled with: literals, types and sizes of an artifact's tensors."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping

from hubopt.errors import UsageError
from hubopt.exporter import Artifact
from hubopt.spec import TensorSpec, format_shape

Snippet = Callable[[Artifact], str]

_RESERVED = frozenset(
    {"as", "bool", "case", "class", "const", "double", "float", "for", "func", "if", "in", "inputs"}
    | {"int", "interpreter", "is", "let", "model", "new", "outputs", "results", "runner", "session"}
    | {"this", "val", "var", "void", "while", "environment", "bundle", "memory", "stream", "tf"}
)
"""Words of a language, and names that the programs use."""


def literal(text: object) -> str:
    """Return a string literal of Python, C++, Kotlin and JavaScript."""
    quoted = json.dumps(str(text), ensure_ascii=False).replace("$", "\\u0024")
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in quoted)


def swift_literal(text: object) -> str:
    """Return a string literal of Swift, whose escapes of characters have braces."""
    return re.sub(r"\\u([0-9a-f]{4})", r"\\u{\1}", literal(text))


def variables(tensors: Iterable[TensorSpec]) -> list[tuple[str, TensorSpec]]:
    """Return a name for a variable for each of ``tensors``."""
    taken = set(_RESERVED)
    named = []
    for tensor in tensors:
        name = re.sub(r"\W", "_", tensor.name, flags=re.ASCII).strip("_") or "tensor"
        name = name if name[0].isalpha() else f"t{name}"
        while name in taken:
            name += "_"
        taken.add(name)
        named.append((name, tensor))
    return named


def count(tensor: TensorSpec) -> int:
    """Return the number of elements."""
    return math.prod(tensor.shape)


def sizes(tensor: TensorSpec) -> str:
    """Return the shape as the elements of a list."""
    return ", ".join(map(str, tensor.shape))


def described(tensor: TensorSpec) -> str:
    """Return dtype and shape for a comment."""
    return f"{tensor.dtype} {format_shape(tensor.named_shape)}"


def type_of(tensor: TensorSpec, types: Mapping[str, str], language: str) -> str:
    """Return the type of an element.

    Raises:
        UsageError: The runtime's interface for this language has no such type.
    """
    if tensor.dtype in types:
        return types[tensor.dtype]
    raise UsageError(
        f"snippet in {language}",
        f"tensor {tensor.name} is {tensor.dtype}",
        f"one of: {', '.join(types)}",
        "pass --lang python",
    )


CPP = {
    "float32": "float",
    "float64": "double",
    "int8": "int8_t",
    "int16": "int16_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "uint8": "uint8_t",
    "uint16": "uint16_t",
    "uint32": "uint32_t",
    "uint64": "uint64_t",
    "bool": "bool",
}


def python_array(tensor: TensorSpec) -> str:
    """Return a Python expression for an array of zeros, or of empty texts."""
    shape = f"({sizes(tensor)}{',' if len(tensor.shape) == 1 else ''})"
    if tensor.dtype == "string":
        return f'np.full({shape}, "", object)'
    if tensor.dtype == "bfloat16":
        return f"np.zeros({shape}, ml_dtypes.bfloat16)"
    return f"np.zeros({shape}, np.{'bool_' if tensor.dtype == 'bool' else tensor.dtype})"


def python_inputs(tensors: Iterable[TensorSpec], key: Callable[[TensorSpec], str]) -> str:
    """Return a Python dictionary of arrays."""
    lines = [f"    {literal(key(each))}: {python_array(each)}," for each in tensors]
    return "\n".join(["inputs = {", *lines, "}"])


def python_imports(artifact: Artifact, *modules: str) -> str:
    """Return the imports of a Python program."""
    tensors = (*artifact.spec.inputs, *artifact.spec.outputs)
    extra = ["import ml_dtypes"] if any(each.dtype == "bfloat16" for each in tensors) else []
    return "\n".join([*extra, "import numpy as np", *modules])
