"""How steady the eager layer itself is: its answers, computed in TensorFlow's other way.

TensorFlow on a CPU has two sets of kernels, its own and oneDNN's, and picks one by the
processor. On some real models the two differ by more than an artifact differs from either, so
an artifact is not blamed for what the layer does to itself.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hubopt.arrays import read_samples
from hubopt.examine import Kit
from hubopt.handles import Access, LayerOptions
from hubopt.session import open_layer_session
from hubopt.worker import Worker

_SWITCH = "TF_ENABLE_ONEDNN_OPTS"


def measure_noise(
    handle: str, options: LayerOptions, access: Access, kit: Kit, log: Path
) -> dict[str, float]:
    """Return the largest move of each floating-point output when oneDNN is switched.

    Which kernels gave the reference depends on the machine, so oneDNN is switched off first
    and on if that changed nothing.

    Args:
        handle: What the layer is loaded from.
        options: Which part of it.
        access: How it may be reached.
        kit: The samples and the reference.
        log: Gets what the child processes print.

    Raises:
        HuboptError: The layer cannot be loaded or run once more.
    """
    moves: dict[str, float] = {}
    for setting in ("0", "1"):
        answers = log.with_name(".noise.npz")
        try:
            with Worker(log, {_SWITCH: setting}) as worker:
                layer = worker.create(open_layer_session, handle, options, access)
                layer.answer(kit.spec, kit.inputs, answers)
            moves = _moves(kit, answers)
        finally:
            answers.unlink(missing_ok=True)
        if any(moves.values()):
            break
    return moves


def _moves(kit: Kit, answers: Path) -> dict[str, float]:
    pairs = list(
        zip(
            read_samples(answers, kit.spec.outputs),
            read_samples(kit.reference, kit.spec.outputs),
            strict=True,
        )
    )
    return {
        each.name: max(
            float(np.max(np.abs(np.subtract(new[each.name], old[each.name])), initial=0.0))
            for new, old in pairs
        )
        for each in kit.spec.outputs
        if each.dtype.startswith(("float", "complex"))
        and all(np.shape(new[each.name]) == np.shape(old[each.name]) for new, old in pairs)
    }
