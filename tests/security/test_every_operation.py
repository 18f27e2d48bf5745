"""Every operation that reaches outside the model is known; unknown operations are refused."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from hubopt._platform.tf_private import is_registered, operation_arguments, stateful_operations
from hubopt.errors import LoadError
from hubopt.scanning.computing_operations import COMPUTING
from hubopt.scanning.dangerous_operations import DANGERS
from hubopt.scanning.dangers import (
    CHECKPOINT_INPUT,
    DANGEROUS_IF,
    FILE_INPUT,
    FOREST_INPUT,
    UNKNOWN,
    VOCABULARY_INPUT,
    danger_of,
)
from hubopt.scanning.harmless_operations import HARMLESS
from hubopt.scanning.op_packages import PACKAGES, missing_ops, package_of, provide_ops
from hubopt.scanning.package_operations import PACKAGED
from hubopt.scanning.scan import scan
from tests.security.models import FLOATS, STRING, edit, members, refuse, save

REGISTERED = operation_arguments()
OWN = {op for op in REGISTERED if package_of(op) is None}
REASONS = {op: group.reason for group in (*HARMLESS, *PACKAGED) for op in group.ops}


def test_the_table_knows_every_operation_of_this_tensorflow() -> None:
    assert len(OWN) > 1500, "the registry can no longer be read like this"
    unknown = sorted(op for op in OWN if danger_of(op) is UNKNOWN)
    assert not unknown, "new operations: judge every one, and add it to the table of its group"


def test_every_operation_is_in_exactly_one_group() -> None:
    groups = [
        COMPUTING, *(group.ops for group in (*HARMLESS, *PACKAGED)),
        *(danger.ops for danger in DANGERS),
    ]  # fmt: skip
    names = [name for group in groups for name in group]
    assert len(names) == len(set(names))
    assert all(group for group in groups[:-1]), "only the last group may be empty, it has a prefix"


def test_no_computing_operation_is_registered_as_stateful() -> None:
    assert not COMPUTING & stateful_operations()


REACHES_OUT = re.compile(
    r"file(?!d)|path$|_path|address|_?url|uri$|dir$|directory|basename|^prefix$|memory_region|"
    r"descriptor_source|output_stream|graph_def|mlir|^module$|debug_ops|program|host|port$|"
    r"server|^target$|device_name|data_source|driver|config_proto|pointer$|token$|key_name"
)
FAMILIES = re.compile(
    r"Abort|Checkpoint|Collective|Custom|Debug|Dump|Embedding|File|Heartbeat|Host|Infeed|LMDB|"
    r"Launch|Load|Mlir|Module|Nccl|Outfeed|PyFunc|Read|Recv|Record|Remote|Restore|Rpc|Save|Send|"
    r"Serialize|Server|Service|Sleep|SnapshotD|Spawn|Sql|Summary|TPU|TRT|Tpu|Write"
)


def test_an_operation_that_seems_to_reach_outside_is_dangerous_or_has_a_reason() -> None:
    by_argument = {op for op, names in REGISTERED.items() if any(map(REACHES_OUT.search, names))}
    by_name = {op for op in REGISTERED if FAMILIES.search(op)}
    assert len(by_argument) > 70
    assert len(by_name) > 200
    unjudged = sorted((by_argument | by_name) & COMPUTING - MISLEADING)
    assert not unjudged, (
        "they seem to reach outside: give a reason why they do not, or list them as dangerous"
    )


MISLEADING = {"DeserializeManySparse", "DeserializeSparse"}
"""Operations whose names match by accident: these turn a tensor of bytes into a sparse one."""

NAMED_BY_OTHERS = """
ReadFile WriteFile
PyFunc PyFuncStateless EagerPyFunc
MatchingFiles WholeFileReader WholeFileReaderV2 TextLineReader TFRecordReader
FixedLengthRecordReader
Save SaveSlices SaveV2 Restore RestoreSlice RestoreV2 MergeV2Checkpoints
RpcClient RpcServer RpcServerStart RpcCall DataServiceDatasetV4 RegisterDatasetV2
SqlDataset ExperimentalSqlDataset LMDBDataset LMDBReader
CollectiveReduceV2 CollectiveGatherV2 NcclAllReduce
ConfigureDistributedTPU TPUCompile TPUExecute InfeedEnqueue OutfeedDequeue XlaSendToHost
_TPUCompileMlir _XlaHostComputeMlir _Send _Recv _HostSend _HostRecv _XlaCompile _XlaRun _Arg
Send Recv RemoteCall WorkerHeartbeat FileSystemSetConfiguration
CreateSummaryFileWriter CreateSummaryDbWriter SaveDatasetV2 LoadDataset SnapshotDatasetV2
DebugIdentityV2 DebugIdentityV3 DumpTensor Copy CopyHost
SleepDataset SleepOp Abort
IfrtCall TRTEngineOp XlaCallModule XlaCustomCall XlaCustomCallV2 DatasetFromGraph
IO>FileRead TFRA>RedisTableFind SimpleMLLoadModelFromPathWithHandle ParquetDataset
"""
"""Operations that the model scanner modelscan refuses (the first two), that TensorFlow's security
notes warn of (files, Python, the network), and one or more of every family that reaches outside."""


def test_operations_that_other_tools_name_are_dangerous() -> None:
    for op in NAMED_BY_OTHERS.split():
        danger = danger_of(op)
        assert danger is not None, op
        assert danger is not UNKNOWN, op


def test_operations_that_other_tools_name_are_refused_in_a_function(tmp_path: Path) -> None:
    ops = NAMED_BY_OTHERS.split()

    def add(meta_graph: Any) -> None:
        ((function, _),) = members(meta_graph, "Sin")
        for number, op in enumerate(ops):
            node = function.node_def.add(name=f"a{number}", op=op)
            node.attr["debug_urls"].list.s.append(b"grpc://elsewhere")

    text = refuse(edit(save(tmp_path, tf.sin), add))
    assert not [op for op in ops if f"  - {op} (x1, node a" not in text]


ORDINARY = """
AssertCardinalityDataset HashTableV2 LookupTableFindV2 MapDataset RandomUniform Stage
StatefulPartitionedCall TensorArrayV3 VarHandleOp While WriteScalarSummary XlaLaunch
"""


def test_operations_of_ordinary_models_are_harmless() -> None:
    for op in ORDINARY.split():
        assert danger_of(op) is None, op
        assert REASONS[op]


def test_every_operation_with_a_condition_is_dangerous() -> None:
    ours = {*DANGEROUS_IF, *FILE_INPUT, *VOCABULARY_INPUT, *CHECKPOINT_INPUT}
    for op in {*ours, *FOREST_INPUT}:
        assert danger_of(op) not in (None, UNKNOWN), op
    assert all(map(is_registered, ours))


def query(x: Any) -> Any:
    dataset = tf.data.experimental.SqlDataset("sqlite", x, "SELECT 1", tf.int32)
    return dataset.reduce(0, lambda count, _: count + 1)


def abort(x: Any) -> Any:
    tf.raw_ops.Abort(error_msg="", exit_without_error=True)
    return x


def beat(x: Any) -> Any:
    return tf.raw_ops.WorkerHeartbeat(request=x)


def gather(x: Any) -> Any:
    return tf.raw_ops.CollectiveGatherV2(
        input=x, group_size=2, group_key=1, instance_key=1, ordering_token=[]
    )


def sleep(x: Any) -> Any:
    dataset = tf.data.Dataset.from_tensors(x).apply(
        lambda element: tf.data.experimental.from_variant(
            tf.raw_ops.SleepDataset(
                input_dataset=tf.data.experimental.to_variant(element),
                sleep_microseconds=tf.constant(10**12, tf.int64),
                output_types=[tf.float32], output_shapes=[[None]],
            ),
            FLOATS,
        )
    )  # fmt: skip
    return dataset.reduce(0, lambda count, _: count + 1)


@pytest.mark.parametrize(
    ("op", "function", "spec"),
    [
        ("SqlDataset", query, STRING),
        ("Abort", abort, FLOATS),
        ("WorkerHeartbeat", beat, STRING),
        ("CollectiveGatherV2", gather, FLOATS),
        ("SleepDataset", sleep, FLOATS),
    ],
)
def test_an_operation_that_reaches_outside_is_refused(
    op: str, function: Callable[..., Any], spec: tf.TensorSpec, tmp_path: Path
) -> None:
    folder = save(tmp_path, function, spec)
    assert re.search(rf"  - (Experimental)?{op} \(x1, node ", refuse(folder))


def test_an_operation_that_the_table_does_not_know_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save(tmp_path, tf.sin)
    scan(folder)
    monkeypatch.setattr("hubopt.scanning.dangers._HARMLESS", COMPUTING - {"Sin"})
    text = refuse(folder)
    assert "Sin (x1" in text
    assert "an operation that hubopt does not know: it may do anything" in text
    assert "--allow-op" in text
    scan(folder, allow=["Sin", "NoOp", "StatefulPartitionedCall", *REASONS])


def with_op(folder: Path, *ops: str) -> Path:
    def add(meta_graph: Any) -> None:
        for op in ops:
            meta_graph.graph_def.node.add(name=re.sub(r"\W", "_", f"a{op}"), op=op)

    return edit(save(folder, tf.sin), add)


@pytest.mark.parametrize("op", ["Addons>New", "TFText>New", "SimpleMLNew", "EquiJoinNew"])
def test_an_unjudged_operation_of_a_package_is_refused(op: str, tmp_path: Path) -> None:
    assert package_of(op) in PACKAGES
    assert f"{op} (x1, node " in refuse(with_op(tmp_path, op))


@pytest.mark.parametrize("op", ["Addons>Resampler", "CaseFoldUTF8", "TFText>Utf8Binarize"])
def test_a_computing_operation_of_a_package_is_harmless(op: str, tmp_path: Path) -> None:
    scan(with_op(tmp_path, op))


def test_an_operation_of_no_known_package_stays_missing_after_the_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = with_op(tmp_path, "Mine", "Addons>Resampler")
    scan(folder)  # the missing operation is reported by provide_ops, below
    calls = iter([{None: ("Mine",), package_of("Addons>Resampler"): ("Addons>Resampler",)}, {}])
    monkeypatch.setattr("hubopt.scanning.op_packages.missing_ops", lambda graphs: next(calls))
    with pytest.raises(LoadError, match=r"Mine \(of no package known here\)"):
        provide_ops(folder)


def test_a_node_whose_op_is_a_function_of_the_model_is_a_call(tmp_path: Path) -> None:
    inner = tf.function(tf.sin, input_signature=[FLOATS])
    folder = save(tmp_path, lambda x: inner(x))

    def call(meta_graph: Any) -> None:
        ((function, _),) = members(meta_graph, "Sin")
        for _, node in members(meta_graph, "PartitionedCall"):
            if node.attr["f"].func.name == function.signature.name:
                node.op = "_my_function"
        function.signature.name = "_my_function"

    scan(edit(folder, call))
    assert not missing_ops(())


@pytest.mark.parametrize("name", ["Identity", "WriteFile", "Addons>Resampler"])
def test_a_function_with_the_name_of_an_operation_is_refused(name: str, tmp_path: Path) -> None:
    def name_it(meta_graph: Any) -> None:
        meta_graph.graph_def.library.function.add().signature.name = name

    text = refuse(edit(with_op(tmp_path, "WriteFile"), name_it))
    assert f"FunctionDef (x1, {name!r}): has the name of an operation" in text
    assert "WriteFile (x1" in text


def forest(folder: Path, pattern: str, prefix: str = "a1_", name: str = "a1_done") -> Path:
    """Save a model like tensorflow_decision_forests, which finds its folder by one of its files."""
    mark = folder.parent / "a1_done"
    mark.write_text("")
    root = tf.Module()
    root.mark = tf.saved_model.Asset(str(mark))
    root.f = tf.function(
        lambda x: tf.strings.regex_replace(root.mark.asset_path, pattern, ""),
        input_signature=[FLOATS],
    )
    tf.saved_model.save(root, str(folder))

    def load(meta_graph: Any) -> None:
        ((function, cut),) = members(meta_graph, "StaticRegexReplace")
        node = function.node_def.add(name="load", op="SimpleMLLoadModelFromPathWithHandle")
        node.input[:] = ["x", f"{cut.name}:output:0"]
        node.attr["file_prefix"].s = prefix.encode()
        meta_graph.asset_file_def[0].filename = name

    return edit(folder, load)


def test_a_forest_in_the_models_folder_is_harmless(tmp_path: Path) -> None:
    scan(forest(tmp_path / "model", "a1_done"))


@pytest.mark.parametrize(
    ("pattern", "prefix", "name"),
    [
        ("model.*", "a1_", "a1_done"),
        ("assets", "a1_", "a1_done"),
        ("done", "../a1_", "a1_done"),
        ("done", "/a1_", "a1_done"),
        ("done", "a1_", ".done./.done./a1_done"),
    ],
)
def test_a_forest_elsewhere_is_refused(
    pattern: str, prefix: str, name: str, tmp_path: Path
) -> None:
    folder = forest(tmp_path / "model", pattern, prefix, name)
    assert "SimpleMLLoadModelFromPathWithHandle (x1" in refuse(folder)
