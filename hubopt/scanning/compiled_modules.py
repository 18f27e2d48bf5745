"""Judges the StableHLO program inside an ``XlaCallModule``, as jax2tf writes it.

Most operations of such a program only compute. But ``custom_call`` calls native code by a name,
which XLA looks up among everything that this process has registered, and a few operations
exchange data with the host or another device.
"""

from __future__ import annotations

import re
from typing import Any

from hubopt.scanning.attributes import literal
from hubopt.scanning.program_text import program_text

_HARMLESS_CALLS = frozenset(
    [
        # Annotations for partitioning and placement, which XLA removes.
        "Sharding",
        "SPMDFullToShardShape",
        "SPMDShardToFullShape",
        "annotate_device_placement",
        "xla.sdy.FuncResultSharding",
        "xla.sdy.GlobalToLocalShape",
        "xla.sdy.LocalToGlobalShape",
        # Lowered by TensorFlow before XLA sees them: a check and operations with dynamic shapes
        # (tensorflow/compiler/tf2xla/kernels/xla_call_module_loader.cc), and calls of functions
        # in ``function_list``, which belong to the model.
        "shape_assertion",
        "stablehlo.dynamic_approx_top_k",
        "stablehlo.dynamic_reduce_window",
        "stablehlo.dynamic_rng_bit_generator",
        "stablehlo.dynamic_top_k",
        "tf.call_tf_function",
        # Expanded by XLA's own compilers, on the CPU or on a TPU.
        "ApproxTopK",
        "Eigh",
        "LuDecomposition",
        "PartialReduce",
        "ProductOfElementaryHouseholderReflectors",
        "Qr",
        "TopK",
        "mhlo.erf",
        "mhlo.topk",
    ]
)
"""Targets that jax keeps stable (``_CUSTOM_CALL_TARGETS_GUARANTEED_STABLE`` in its
``jax/_src/export/_export.py``) or that XLA handles itself. Library functions are left out:
LAPACK, cuSOLVER and the like use sizes and descriptors from the program without a check."""

_CALL = re.compile(r'custom_call(?:\s*@(?:"(?P<quoted>[^"]*)"|(?P<plain>[\w.$-]+))\()?')
_EXCHANGES = re.compile(r"stablehlo\.(?:send|recv|infeed|outfeed)\b")
_BYTECODE = b"ML\xefR"
_NAMES = re.compile(rb"custom_call|send|recv|infeed|outfeed")
"""Parts of the names of all these operations. Bytecode contains operation names in plain text, so a
program without these parts is harmless."""


def calls_native_code(node: Any) -> bool:
    """Whether an ``XlaCallModule`` may do more than compute.

    True if its program cannot be read, calls code by a name that is not known to be
    harmless, or exchanges data with the host.
    """
    module = literal(node, "module", "s")
    if module is None or not module.startswith(_BYTECODE):
        return True
    if not _NAMES.search(module):
        return False
    text = program_text(module)
    if text is None or _EXCHANGES.search(text):
        return True
    targets = (call["plain"] or call["quoted"] for call in _CALL.finditer(text))
    return any(target not in _HARMLESS_CALLS for target in targets)
