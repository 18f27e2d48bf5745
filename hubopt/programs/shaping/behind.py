"""What XLA and the graph say of output sizes that TensorFlow's shape inference leaves open.

Shape inference gives up behind loops and branches. XLA does not: it computes every size while it
translates the graph, and says of a size that depends on values how large it is at most.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from hubopt._platform.causes import first_line
from hubopt._util.structure import pack, unpack
from hubopt.layers.interface import Interface
from hubopt.programs.graphs.freezing import freeze
from hubopt.programs.graphs.operations import SELECTING, uses
from hubopt.programs.graphs.reach import unreached
from hubopt.programs.shaping.outputs import call_as_is
from hubopt.spec import TensorSpec

_log = logging.getLogger(__name__)


class XlaDim(NamedTuple):
    """One dimension as XLA sees it.

    Attributes:
        size: Its size, or the largest that it can have.
        is_bound: Whether it depends on values, so that ``size`` is only a bound.
    """

    size: int
    is_bound: bool = False


XlaShape = tuple[XlaDim, ...]


@dataclass(frozen=True, slots=True)
class Behind:
    """What is known of the outputs besides the trace.

    Attributes:
        compiled: The outputs' shapes in XLA by name, for each of the sizes that were asked for;
            empty if XLA does not compile the layer.
        selected: Outputs behind an operation that picks elements by their values.
    """

    compiled: tuple[Mapping[str, XlaShape], ...] = ()
    selected: frozenset[str] = frozenset()


def look_behind(
    layer: Any,
    interface: Interface,
    inputs: Sequence[TensorSpec],
    outputs: Mapping[str, Any],
    sizes: Sequence[Mapping[str, int]],
    structure: Any,
    xla: bool,
) -> Behind:
    """Return what XLA and the graph say of the outputs; nothing where they cannot say it.

    Args:
        layer: A `hubopt.KerasLayer`.
        interface: The layer's declared interface.
        inputs: Its settled inputs.
        outputs: The outputs as traced, by name.
        sizes: The sizes of the inputs' dynamic dimensions to translate the graph at.
        structure: The structure of the outputs.
        xla: Whether to ask XLA.
    """
    import tensorflow as tf

    names = [spec.name for spec in inputs]

    def call(*tensors: Any) -> list[Any]:
        packed = pack(interface.structure, dict(zip(names, tensors, strict=True)))
        found = unpack(structure, call_as_is(layer, packed))
        return [tf.identity(found[name]) for name in outputs]

    compiled_call = tf.function(call, autograph=False, jit_compile=True)
    specs = [[tf.TensorSpec(spec.shape_at(size), spec.dtype) for spec in inputs] for size in sizes]
    try:
        frozen = freeze(tf.function(call, autograph=False).get_concrete_function(*specs[0]))
        graph_def = frozen.graph.as_graph_def()
        places = dict(zip(outputs, (tensor.name for tensor in frozen.outputs), strict=True))
        selected = frozenset(outputs) - set(unreached(graph_def, places, _selecting(graph_def)))
        # Without a kernel for an operation, XLA may end the process.
        if not xla or not all(use.xla and not use.string for use in uses(graph_def)):
            return Behind(selected=selected)
        compiled = [_xla_shapes(compiled_call, each, outputs) for each in specs]
    except Exception as error:  # TensorFlow raises nearly every type there is
        _log.info("XLA says nothing of the outputs: %s", first_line(error))
        return Behind()
    known = tuple(shapes for shapes in compiled if shapes is not None)
    return Behind(known if len(known) == len(specs) else (), selected)


def _selecting(graph_def: Any) -> list[str]:
    """Return the nodes that pick elements by values, themselves or in a function they call."""
    picking: set[str] = set()
    while True:
        more = {
            function.signature.name
            for function in graph_def.library.function
            if any(_picks(node, picking) for node in function.node_def)
        }
        if more == picking:
            return [node.name for node in graph_def.node if _picks(node, picking)]
        picking = more


def _picks(node: Any, functions: set[str]) -> bool:
    return node.op in SELECTING or node.op in functions or bool(_calls(node) & functions)


def _calls(node: Any) -> set[str]:
    return {
        name
        for value in node.attr.values()
        for name in (value.func.name, *(function.name for function in value.list.func))
        if name
    }


_DTYPES = {"pred": "bool", "s": "int", "u": "uint", "f": "float", "c": "complex", "bf": "bfloat"}
_SHAPE = re.compile(r"\b(pred|(?:s|u|f|c|bf)(?=\d))(\d*)\[([^\]]*)\]")


def _xla_shapes(
    function: Any, specs: Sequence[Any], outputs: Mapping[str, Any]
) -> dict[str, XlaShape] | None:
    """Return the shapes that XLA computes; None if they are not plainly those of ``outputs``."""
    found = result_shapes(function.experimental_get_compiler_ir(*specs)(stage="hlo"))
    if len(found) != len(outputs):  # a model that assigns to variables returns them, too
        return None
    shapes = {}
    for (name, traced), (dtype, shape) in zip(outputs.items(), found, strict=True):
        known = traced.shape.as_list() if traced.shape.rank is not None else [None] * len(shape)
        fits = len(known) == len(shape) and all(
            size in (None, dim.size) for size, dim in zip(known, shape, strict=True)
        )
        if dtype != traced.dtype.name or not fits:
            return None
        shapes[name] = shape
    return shapes


def result_shapes(hlo: str) -> list[tuple[str, XlaShape]]:
    """Return dtype and shape of each result of a module in XLA's text form.

    >>> result_shapes("HloModule f, entry_computation_layout={(f32[2]{0})->(s64[<=8,2]{1,0})}")
    [('int64', (XlaDim(size=8, is_bound=True), XlaDim(size=2, is_bound=False)))]
    """
    _, _, results = hlo.partition("\n")[0].partition("->")
    return [
        (
            f"{_DTYPES[kind]}{bits}",
            tuple(
                XlaDim(int(size.lstrip("<=")), size.startswith("<="))
                for size in dims.split(",")
                if size
            ),
        )
        for kind, bits, dims in _SHAPE.findall(results)
    ]
