"""What every known operation can do besides computing, and what that depends on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hubopt.scanning.attributes import literal
from hubopt.scanning.compiled_modules import calls_native_code
from hubopt.scanning.computing_operations import COMPUTING
from hubopt.scanning.dangerous_operations import DANGERS
from hubopt.scanning.harmless_operations import HARMLESS
from hubopt.scanning.operation_groups import Danger
from hubopt.scanning.package_operations import PACKAGED

UNKNOWN = Danger("is an operation that hubopt does not know: it may do anything", frozenset())

_HARMLESS = COMPUTING.union(*(group.ops for group in (*HARMLESS, *PACKAGED)))
_DANGERS = {op: danger for danger in DANGERS for op in danger.ops}
_STREAMS = (b"stdout", b"stderr", b"log(info)", b"log(warning)", b"log(error)")


def _prints_to_file(node: Any) -> bool:
    return literal(node, "output_stream", "s", b"stderr") not in _STREAMS


def _has_debug_urls(node: Any) -> bool:
    if "debug_urls" not in node.attr:
        return False
    urls = literal(node, "debug_urls", "list")
    return urls is None or bool(urls.s)


def _has_vocabulary_file(node: Any) -> bool:
    return bool(literal(node, "vocab_file", "s", b"") != b"")


def _reads_descriptors(node: Any) -> bool:
    source = literal(node, "descriptor_source", "s", b"local://")
    return source is None or not (not source or source.startswith((b"local://", b"bytes://")))


DANGEROUS_IF: dict[str, Callable[[Any], bool]] = {
    "DebugIdentity": _has_debug_urls,
    "DebugIdentityV2": _has_debug_urls,
    "DebugIdentityV3": _has_debug_urls,
    "DebugNanCount": _has_debug_urls,
    "DebugNumericSummary": _has_debug_urls,
    "DecodeProtoV2": _reads_descriptors,
    "EncodeProto": _reads_descriptors,
    "FixedUnigramCandidateSampler": _has_vocabulary_file,
    "PrintV2": _prints_to_file,
    "XlaCallModule": calls_native_code,
}
"""Operations that are dangerous only with certain attributes; the value tests a node for them."""

FILE_INPUT = {"CacheDataset": 1, "CacheDatasetV2": 1}
"""Operations that use a file only if this input is not the constant empty string."""


VOCABULARY_INPUT = {"InitializeTableFromTextFile": 1, "InitializeTableFromTextFileV2": 1}
"""Operations that are harmless if this input is the path of one of the model's own files."""

FOREST_INPUT = {"SimpleMLLoadModelFromPath": 0, "SimpleMLLoadModelFromPathWithHandle": 1}
"""Operations that are harmless if this input is the path of the folder of the model's files."""

CHECKPOINT_INPUT = {"Restore": 0, "RestoreSlice": 0, "RestoreV2": 0}
"""Operations that restore variables; harmless if this input is the path that the loader feeds."""


def danger_of(op: str) -> Danger | None:
    """Return what ``op`` can do besides computing, or None if it only computes.

    Args:
        op: The name of an operation, not of one of the model's functions.

    Returns:
        `UNKNOWN` for an operation that is not in the tables.
    """
    if op in _HARMLESS:
        return None
    if op in _DANGERS:
        return _DANGERS[op]
    return next((danger for danger in DANGERS if op.startswith(danger.prefixes)), UNKNOWN)
