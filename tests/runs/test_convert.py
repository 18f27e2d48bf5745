"""One child process converts all targets one after the other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from hubopt import registry
from hubopt._util.digest import sha256, size_bytes
from hubopt.errors import ExportError
from hubopt.exporter import Artifact, ExportTask, Program, Target
from hubopt.registry.targets import make_targets
from hubopt.runs.convert import convert, export, needs
from hubopt.testing import make_task
from hubopt.workers import shared
from hubopt.workers.shared import SharedWorker
from hubopt.workers.worker import Worker

Tiny = tuple[Any, Program]


def crash(task: ExportTask) -> None:
    task.path.write_bytes(b"half an artifact")
    os.write(2, b"native code says why\n")
    os.abort()


def fail(task: ExportTask) -> None:
    task.path.write_bytes(b"half an artifact")
    raise ExportError("artifact", "it went wrong half-way", "an artifact", "try again")


def target(name: str) -> Target:
    (made,) = make_targets([name], None)
    return made


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> list[Worker]:
    made: list[Worker] = []

    class Counted(Worker):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            made.append(self)

    monkeypatch.setattr(shared, "Worker", Counted)
    return made


def test_targets_share_a_process_and_have_their_own_logs(
    tiny_program: Tiny, tmp_path: Path, workers: list[Worker]
) -> None:
    _, program = tiny_program
    exporters = [registry.get(name) for name in ("onnx", "tflite")]
    with SharedWorker(tmp_path / "log", imports=needs(exporters)) as child:
        for exporter in exporters:
            folder, log = tmp_path / exporter.name, tmp_path / f"{exporter.name}.log"
            requested = target(exporter.name)
            built = convert(requested, program, folder, child, log)
            assert built.target == requested
            assert built.artifact is not None
            path = built.artifact.path
            assert path == folder / f"model{exporter.suffix}"
            assert built.export_s is not None
            assert built.export_s > 0
            assert (built.sha256, built.size_bytes) == (sha256(path), size_bytes(path))
            assert (built.stage, built.reason) == (None, None)
            assert log.exists()
    assert len(workers) == 1


def test_a_target_without_a_suffix_is_a_folder(tiny_program: Tiny, tmp_path: Path) -> None:
    _, program = tiny_program
    with SharedWorker(tmp_path / "log") as child:
        built = convert(
            target("savedmodel"), program, tmp_path / "savedmodel", child, tmp_path / "own.log"
        )
    assert built.artifact is not None
    assert built.artifact.path == tmp_path / "savedmodel"
    assert built.size_bytes == size_bytes(tmp_path / "savedmodel")


@pytest.mark.parametrize(
    ("fault", "message"),
    [(crash, "native code says why"), (fail, "it went wrong half-way; try again")],
)
def test_a_failure_affects_only_one_target(
    tiny_program: Tiny,
    tmp_path: Path,
    workers: list[Worker],
    monkeypatch: pytest.MonkeyPatch,
    fault: Any,
    message: str,
) -> None:
    _, program = tiny_program
    folder, log = tmp_path / "tflite", tmp_path / "tflite.log"
    with SharedWorker(tmp_path / "log") as child:
        with monkeypatch.context() as patch:
            patch.setattr("hubopt.runs.convert.export", fault)
            failed = convert(target("tflite"), program, folder, child, log)
        assert (failed.artifact, failed.stage) == (None, "export")
        assert message in str(failed.reason)
        assert not folder.exists(), "nothing may be left behind"
        built = convert(target("tflite"), program, folder, child, log)
    assert built.artifact is not None
    assert built.artifact.path.is_file()
    assert len(workers) == (2 if fault is crash else 1)


def test_an_exporter_that_does_not_conform_is_reported(
    tiny_program: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It writes a file beside its artifact without declaring it."""
    exporter, (_, program) = registry.get("onnx"), tiny_program
    write = type(exporter).export

    def litter(self: Any, task: ExportTask) -> Artifact:
        task.path.with_name("stray.bin").touch()
        return write(self, task)

    monkeypatch.setattr(type(exporter), "export", litter)
    with pytest.raises(ExportError, match=r"it also wrote stray\.bin"):
        export(make_task(exporter, program, tmp_path / "model.onnx"))


def test_the_packages_for_conversions_are_listed_once_each() -> None:
    both = needs([registry.get("tflite"), registry.get("savedmodel")])
    assert "tensorflow" in both
    assert len(set(both)) == len(both)
