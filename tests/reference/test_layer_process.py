"""A layer in a separate process, which can be restarted after a crash."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import hubopt
from hubopt.errors import HandleError, UsageError, WorkerCrashError
from hubopt.hints import Hints
from hubopt.models.handles import LayerOptions, LoadPolicy
from hubopt.progress import quiet
from hubopt.reference import layer_process
from hubopt.reference.layer_process import LayerProcess, find_here
from hubopt.sampling.arrays import read_samples, write_samples
from hubopt.sampling.samples import draw
from hubopt.workers.shared import SharedWorker
from hubopt.workers.worker import Worker
from tests.recorder import Recorder


def open_process(model: Any, folder: Path) -> LayerProcess:
    return LayerProcess(model, LayerOptions(), LoadPolicy(), folder / "log", quiet)


def leave(*_: object) -> None:
    os._exit(7)


def own_pid(*_: object) -> int:
    return os.getpid()


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> list[Worker]:
    made: list[Worker] = []

    class Counted(Worker):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            made.append(self)

    monkeypatch.setattr(layer_process, "Worker", Counted)
    return made


@pytest.fixture
def child(tmp_path: Path) -> Iterator[SharedWorker]:
    with SharedWorker(tmp_path / "child.log") as child:
        yield child


def answers(layer: LayerProcess, folder: Path) -> list[dict[str, Any]]:
    """Return the outputs of the layer for one sample."""
    spec = layer.session.resolve(hubopt.Hints(batch=1))
    write_samples(folder / "in.npz", [draw(spec.inputs)[0].tensors])
    assert layer.session.answer(spec, folder / "in.npz", folder / "out.npz") == {}
    return read_samples(folder / "out.npz", spec.outputs)


def test_a_crashed_layer_gives_the_same_outputs_after_a_restart(
    tiny: Path, tmp_path: Path, workers: list[Worker], child: SharedWorker
) -> None:
    recorder = Recorder()
    with LayerProcess(str(tiny), LayerOptions(), LoadPolicy(), tmp_path / "log", recorder) as layer:
        assert (layer.handle, len(layer.digest or "")) == (str(tiny), 64)
        before = answers(layer, tmp_path)
        with pytest.raises(WorkerCrashError, match="exited with code 7"):
            layer.run_beside(child, leave)
        layer.restart()
        (first,), (again,) = before, answers(layer, tmp_path)
        assert {name: tensor.tolist() for name, tensor in again.items()} == {
            name: tensor.tolist() for name, tensor in first.items()
        }
        assert [worker.is_running for worker in workers] == [False, True]
    assert [worker.is_running for worker in workers] == [False, False]
    assert recorder.labels == ["load the layer"]


def test_a_risky_step_runs_in_the_process_of_a_handles_layer(
    tiny: Path, tmp_path: Path, workers: list[Worker], child: SharedWorker
) -> None:
    """That process already has TensorFlow and the model's files in memory."""
    with open_process(tiny, tmp_path) as layer:
        (worker,) = workers
        assert layer.run_beside(child, own_pid) == worker.call(os.getpid)


def test_a_risky_step_for_a_layer_of_this_process_runs_in_a_child(
    tmp_path: Path, child: SharedWorker
) -> None:
    with open_process(lambda x: x, tmp_path) as layer:
        assert layer.run_beside(child, own_pid) == child.start().call(os.getpid) != os.getpid()
        with pytest.raises(WorkerCrashError, match="exited with code 7"):
            layer.run_beside(child, leave)
        session = layer.session
        layer.restart()
        assert layer.session is session, "the layer in this process has not crashed"
        assert layer.run_beside(child, own_pid) != os.getpid()


def test_a_closed_layer_is_not_loaded_again(
    tiny: Path, tmp_path: Path, workers: list[Worker]
) -> None:
    with open_process(tiny, tmp_path) as layer:
        layer.close()
        with pytest.raises(WorkerCrashError, match="its process was ended"):
            layer.restart()
    assert [worker.is_running for worker in workers] == [False]


def test_closing_the_layer_ends_a_call_in_another_thread(
    tiny: Path, tmp_path: Path, workers: list[Worker]
) -> None:
    with ThreadPoolExecutor(1) as pool:
        with open_process(tiny, tmp_path) as layer:
            waiting = pool.submit(workers[0].call, time.sleep, 600)
        with pytest.raises(WorkerCrashError):
            waiting.result()
        with pytest.raises(WorkerCrashError):
            layer.restart()


def test_a_model_that_does_not_load_leaves_no_process_behind(
    tmp_path: Path, workers: list[Worker]
) -> None:
    with pytest.raises(HandleError):
        open_process(tmp_path / "nothing", tmp_path)
    (worker,) = workers
    assert not worker.is_running


def test_options_for_handles_are_refused_for_a_callable(tmp_path: Path) -> None:
    for options, load_policy in (
        (LayerOptions(signature="x"), LoadPolicy()),
        (LayerOptions(), LoadPolicy(offline=True)),
    ):
        with pytest.raises(UsageError, match="for a handle only"):
            LayerProcess(lambda x: x, options, load_policy, tmp_path / "log", quiet)


def test_models_are_found_without_a_network_and_without_loading(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = find_here(tiny, LoadPolicy())
    assert found is not None
    assert found.digest
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    nothing_listens = "http://127.0.0.1:9/model.tar.gz"
    for model in (nothing_listens, tmp_path / "nothing", "json:loads", lambda x: x):
        assert find_here(model, LoadPolicy()) is None
    assert find_here(tiny, LoadPolicy(pin="0" * 64)) is None


def test_a_layer_that_dies_while_it_is_probed_is_resolved_without_probing() -> None:
    asked: list[bool] = []

    class Session:
        def resolve(self, hints: Hints, items: object, probe: bool = True) -> str:
            asked.append(probe)
            if probe:
                raise WorkerCrashError("layer", "it died", "an answer", "none")
            return "the spec"

    layer = LayerProcess.__new__(LayerProcess)
    layer.session = Session()  # type: ignore[assignment]
    restarts: list[int] = []
    layer.restart = lambda: restarts.append(1)  # type: ignore[method-assign]
    assert layer.resolve(Hints()) == "the spec"  # type: ignore[comparison-overlap]
    assert (asked, len(restarts)) == ([True, False], 1)
