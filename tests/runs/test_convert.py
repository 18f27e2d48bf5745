"""One child process converts for one target after the other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hubopt.runs.converting import Converter, needs

from hubopt import registry
from hubopt.errors import WorkerCrashError
from hubopt.exporter import Options, Program
from hubopt.runs import converting
from hubopt.workers import shared
from hubopt.workers.shared import SharedWorker
from hubopt.workers.worker import Worker

Tiny = tuple[Any, Program]


def crash(*_: object) -> None:
    os.write(2, b"native code says why\n")
    os.abort()


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> list[Worker]:
    made: list[Worker] = []

    class Counted(Worker):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            made.append(self)

    monkeypatch.setattr(shared, "Worker", Counted)
    return made


def test_targets_share_a_process_and_have_logs_of_their_own(
    tiny_program: Tiny, tmp_path: Path, workers: list[Worker]
) -> None:
    _, program = tiny_program
    exporters = [registry.get(name) for name in ("onnx", "tflite")]
    with SharedWorker(tmp_path / "log", imports=needs(exporters)) as child:
        converter = Converter(exporters, child, child.rest)
        for exporter in exporters:
            name = exporter.name
            (tmp_path / name).mkdir()
            path = tmp_path / name / f"model{exporter.suffix}"
            log = tmp_path / f"{name}.log"
            artifact, seconds = converter.convert(name, program, path, Options(), log)
            assert artifact.path.is_file()
            assert seconds > 0
            assert log.exists()
            assert workers[0].is_running == (exporter is not exporters[-1]), "done is called last"
    assert len(workers) == 1


def test_a_crash_costs_one_target_and_no_other(
    tiny_program: Tiny, tmp_path: Path, workers: list[Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, program = tiny_program
    (exporter,) = [registry.get("tflite")]
    path, log = tmp_path / "model.tflite", tmp_path / "tflite.log"
    with SharedWorker(tmp_path / "log") as child:
        converter = Converter([exporter], child, lambda: None)
        with monkeypatch.context() as patch:
            patch.setattr(converting, "convert", crash)
            with pytest.raises(WorkerCrashError, match="native code says why"):
                converter.convert("tflite", program, path, Options(), log)
        artifact, _ = converter.convert("tflite", program, path, Options(), log)
    assert artifact.path.is_file()
    assert len(workers) == 2


def test_what_conversions_need_is_told_once_each() -> None:
    both = needs([registry.get("tflite"), registry.get("savedmodel")])
    assert "tensorflow" in both
    assert len(set(both)) == len(both)
