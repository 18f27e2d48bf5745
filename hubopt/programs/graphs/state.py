"""Operations that change a layer's state: its variables, or its generator of random numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from hubopt.errors import TraceError

GENERATORS = re.compile(
    "^(RngReadAndSkip|RngSkip|Stateful(StandardNormal(V2)?|TruncatedNormal|Uniform(Int|FullInt)?|"
    "RandomBinomial))$"
)
"""Operations that advance a generator whose state is a variable."""
_WRITES = re.compile(
    "^(Assign.*VariableOp|Resource(Scatter|Apply|SparseApply|StridedSliceAssign|CountUpTo).*)$"
)
_DRAWS = re.compile("Random(?!Get)|TruncatedNormal|StandardNormal|Multinomial")


def state_error(ops: Iterable[str]) -> TraceError | None:
    """Return the error for a layer that changes its state when it is called, or None.

    Args:
        ops: The names of its operations.
    """
    names = sorted(set(ops))
    writes = [op for op in names if _WRITES.search(op)]
    generators = [op for op in names if GENERATORS.search(op)]
    draws = [op for op in names if _DRAWS.search(op) and op not in generators]
    if not writes and not generators:
        return None
    found = [f"it changes its own variables when it is called ({', '.join(writes)})"]
    if generators:
        changed = f"whose state it changes when it is called ({', '.join(generators)})"
        found = [*(found if writes else []), f"it draws random numbers from a generator {changed}"]
    elif draws:
        found.append(f"it draws random numbers ({', '.join(draws)})")
    return TraceError(
        "layer",
        ", and ".join(found),
        "a layer that keeps no state between calls in inference mode",
        "save the model with its random layers, such as augmentation, left out or inactive; the "
        ".keras file of a Keras model is called in inference mode, in which they are inactive"
        if generators or draws
        else "export a function of the model that takes the state and returns it",
    )


def drop_unused_draws(graph_def: Any, outputs: Sequence[str]) -> None:
    """Let nothing wait for draws that no output depends on, in place.

    TensorFlow lets the outputs of a function wait for whatever changes a state, used or not.

    Args:
        graph_def: The graph.
        outputs: The names of its output tensors.
    """
    inputs = {node.name: node.input for node in graph_def.node}
    used: set[str] = set()
    waiting = list(outputs)
    while waiting:
        name = waiting.pop().partition(":")[0]
        if name not in used:
            used.add(name)
            waiting += [tensor for tensor in inputs[name] if not tensor.startswith("^")]
    unused = {
        f"^{node.name}"
        for node in graph_def.node
        if GENERATORS.search(node.op) and node.name not in used
    }
    for node in graph_def.node:
        if unused.intersection(node.input):
            node.input[:] = [tensor for tensor in node.input if tensor not in unused]
