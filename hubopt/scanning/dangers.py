"""Operations that can do more than compute, as data.

Sources: the operations that the model scanner ``modelscan`` 0.8.8 refuses (``ReadFile``,
``WriteFile``), then TensorFlow 2.21's own registry, read for every operation with a file, a
path or an address among its arguments. ``tests/scanning/test_scan.py`` repeats that reading, so a
TensorFlow that brings a new one fails a test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Danger:
    """Operations that have one ability in common.

    Attributes:
        ability: What they can do, as a predicate.
        ops: Their names.
        prefixes: How the names of whole families begin.
        only_if_run: Whether they matter only where a call or the loading reaches them.
    """

    ability: str
    ops: frozenset[str]
    prefixes: tuple[str, ...] = ()
    only_if_run: bool = False


DANGERS = (
    Danger(
        "can read any file of this machine",
        frozenset(
            [
                "InitializeTableFromTextFile",
                "InitializeTableFromTextFileV2",
                "CSVDataset",
                "CSVDatasetV2",
                "ExperimentalCSVDataset",
                "ExperimentalLMDBDataset",
                "ExperimentalMatchingFilesDataset",
                "FixedLengthRecordDataset",
                "FixedLengthRecordDatasetV2",
                "FixedLengthRecordReader",
                "FixedLengthRecordReaderV2",
                "FixedUnigramCandidateSampler",
                "GenerateVocabRemapping",
                "ImmutableConst",
                "LMDBDataset",
                "LMDBReader",
                "ListSnapshotChunksDataset",
                "LoadAndRemapMatrix",
                "LoadDataset",
                "MatchingFiles",
                "MatchingFilesDataset",
                "ReadFile",
                "RecordInput",
                "Skipgram",
                "SnapshotChunkDataset",
                "SnapshotDatasetReader",
                "TFRecordDataset",
                "TFRecordDatasetV2",
                "TFRecordReader",
                "TFRecordReaderV2",
                "TextLineDataset",
                "TextLineReader",
                "TextLineReaderV2",
                "WholeFileReader",
                "WholeFileReaderV2",
                "DecodeProtoV2",
                "EncodeProto",
            ]
        ),
    ),
    Danger(
        "can write files anywhere on this machine",
        frozenset(
            [
                "CacheDataset",
                "CacheDatasetV2",
                "CalibrationStatisticsSaver",
                "CreateSummaryDbWriter",
                "CreateSummaryFileWriter",
                "DatasetToTFRecord",
                "DumpTensor",
                "ExperimentalDatasetToTFRecord",
                "PrintV2",
                "SaveDataset",
                "SaveDatasetV2",
                "SnapshotDataset",
                "SnapshotDatasetV2",
                "WriteFile",
            ]
        ),
    ),
    Danger(
        "can read or write files under a path of its choice",
        frozenset(
            [
                "DTensorRestoreV2",
                "MergeV2Checkpoints",
                "Restore",
                "RestoreSlice",
                "RestoreV2",
                "Save",
                "SaveSlices",
                "SaveV2",
            ]
        ),
        only_if_run=True,  # every SavedModel holds some: they save and restore its variables
    ),
    Danger("runs Python code", frozenset(["EagerPyFunc", "PyFunc", "PyFuncStateless"])),
    Danger(
        "can send data to other machines or take data from them",
        frozenset(
            [
                "DebugIdentity",
                "DebugIdentityV2",
                "DebugIdentityV3",
                "DebugNanCount",
                "DebugNumericSummary",
                "DeleteRpcFutureResource",
                "DistributedSave",
                "FileSystemSetConfiguration",
                "RegisterDataset",
                "RegisterDatasetV2",
                "RemoteCall",
            ]
        ),
        prefixes=(
            "BigQuery",
            "Bigtable",
            "DataServiceDataset",
            "GcsConfigure",
            "IO>",
            "Reverb",
            "Rpc",
            "TFRA>Redis",
        ),
    ),
    Danger(
        "runs a program packed inside a value, which cannot be looked into here",
        frozenset(
            [
                "DatasetFromGraph",
                "DeserializeIterator",
                "MlirPassthroughOp",
                "RemoteFusedGraphExecute",
                "_TPUCompileMlir",
                "_XlaHostComputeMlir",
            ]
        ),
    ),
    Danger("calls native code by its name", frozenset(["XlaCustomCall", "XlaCustomCallV2"])),
)


def _prints_to_file(node: Any) -> bool:
    return bool(node.attr["output_stream"].s.startswith(b"file://"))


def _has_debug_urls(node: Any) -> bool:
    return bool(node.attr["debug_urls"].list.s)


def _has_vocabulary_file(node: Any) -> bool:
    return bool(node.attr["vocab_file"].s)


def _reads_descriptors(node: Any) -> bool:
    source = node.attr["descriptor_source"].s
    return bool(source) and not source.startswith((b"local://", b"bytes://"))


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
}
"""Operations that are dangerous with certain attributes only: a test of the node."""

FILE_INPUT = {"CacheDataset": 1, "CacheDatasetV2": 1}
"""Operations that touch a file only if this input is not the constant empty string."""


VOCABULARY_INPUT = {"InitializeTableFromTextFile": 1, "InitializeTableFromTextFileV2": 1}
"""Operations that are harmless if this input is the path of a file of the model's own."""

CHECKPOINT_INPUT = {"Restore": 0, "RestoreSlice": 0, "RestoreV2": 0}
"""Operations that restore variables, harmless if this input is the path the loader feeds."""


def danger_of(op: str) -> Danger | None:
    """Return what ``op`` can do beside computing, or None."""
    for danger in DANGERS:
        if op in danger.ops or op.startswith(danger.prefixes):
            return danger
    return None
