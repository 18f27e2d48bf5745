"""An artifact runs once in a separate process, where its faults affect nothing else."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hubopt.errors import NotRunnableHereError, TraceError
from hubopt.exporter import Artifact, Tensors
from hubopt.latency.session import Session
from hubopt.progress import done
from hubopt.reference.reference_set import ReferenceSet
from hubopt.runs.artifact_session import ArtifactSession
from hubopt.runs.run import Baseline, Run, run
from hubopt.sampling.arrays import sample_numbers, write_samples
from hubopt.spec import Dim, ModelSpec, TensorSpec
from hubopt.workers.worker import Worker

SPEC = ModelSpec(
    (TensorSpec("x", "float32", (Dim(2, "trace"),)),),
    (TensorSpec("y", "float32", (Dim(2, "trace"),)),),
    "x",
    "y",
)


class Doubling:
    """The computation of the artifacts in these tests."""

    device = "CPU"

    def run(self, inputs: Tensors) -> dict[str, Any]:
        return {"y": 2 * np.asarray(inputs["x"])}


class Planted(ArtifactSession):
    """An artifact with the fault that its details name."""

    def __init__(self, artifact: Artifact, names: Any, allow_ops: Any) -> None:
        Session.__init__(self, 1.0, 2.0)
        self._fault = artifact.details.get("fault")
        self._runner = Doubling()
        artifact.path.write_text(f"{os.getpid()}")
        if self._fault == "elsewhere":
            raise NotRunnableHereError("runtime", "no GPU here", "a GPU", "take it to one")
        self._fail_at("load")

    def _fail_at(self, stage: str) -> None:
        if self._fault == stage:
            raise RuntimeError(f"it fails to {stage}")
        if self._fault == f"crash: {stage}":
            os.kill(os.getpid(), signal.SIGKILL)

    def answer(self, *arguments: Any) -> None:
        self._fail_at("run")
        super().answer(*arguments)

    def time_calls(self, count: int) -> tuple[float, ...]:
        self._fail_at("time")
        return super().time_calls(count)


class Layer(Session):
    """A layer that has computed its samples and dies after some turns of timing."""

    def __init__(self, turns: int) -> None:
        super().__init__(3.0, 4.0)
        self._turns = turns
        self._runner = Doubling()
        self._samples = [{"x": np.zeros(2, np.float32)}]

    def time_calls(self, count: int) -> tuple[float, ...]:
        self._turns -= 1
        if self._turns < 0:
            os._exit(7)
        return super().time_calls(count)


@pytest.fixture
def known(tmp_path: Path) -> ReferenceSet:
    """Three samples. The second is not kept."""
    inputs, outputs = tmp_path / "inputs.npz", tmp_path / "reference.npz"
    samples = [{"x": np.full(2, at, np.float32)} for at in range(3)]
    write_samples(inputs, samples)
    write_samples(outputs, {at: {"y": 2 * samples[at]["x"]} for at in (0, 2)})
    return ReferenceSet(SPEC, inputs, outputs, kept=(0, 2), kinds=("normal", "normal"))


Runs = Callable[..., Run]


@pytest.fixture
def run_with(known: ReferenceSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """Return a function that runs an artifact with the given fault."""
    monkeypatch.setattr("hubopt.runs.run.ArtifactSession", Planted)

    def start(fault: str = "", baseline: Baseline | None = None, **other: Any) -> Run:
        artifact = Artifact("onnx", tmp_path / "model", SPEC, details={"fault": fault})
        reference = other.get("reference", done(known))
        return run(artifact, reference, tmp_path / "answers.npz", tmp_path / "log", baseline)

    return start


@pytest.fixture
def layer(tmp_path: Path) -> Iterator[Callable[[int], Any]]:
    """Return a function that makes a layer in a separate process, which dies after some turns."""
    with Worker(tmp_path / "layer.log") as worker:
        yield lambda turns: worker.create(Layer, turns)


def has_ended(pid_file: Path) -> bool:
    try:
        os.kill(int(pid_file.read_text()), 0)
    except ProcessLookupError:
        return True
    return False


def test_the_outputs_are_stored_by_the_numbers_of_the_samples(
    run_with: Runs, known: ReferenceSet, tmp_path: Path
) -> None:
    ran = run_with()
    assert ran.answers is not None
    assert (ran.device, ran.stage, ran.reason, ran.error) == ("CPU", None, None, None)
    assert not ran.is_unrunnable
    assert ran.latency is None
    assert sample_numbers(ran.answers) == (0, 2)
    for sample, answer in zip(known.read_inputs(), known.read_outputs(ran.answers), strict=True):
        np.testing.assert_array_equal(answer["y"], 2 * sample["x"])
    assert has_ended(tmp_path / "model")


@pytest.mark.parametrize(
    ("fault", "stage", "message"),
    [
        ("load", "load", "RuntimeError: it fails to load"),
        ("crash: load", "load", "the process was ended by SIGKILL"),
        ("run", "run", "RuntimeError: it fails to run"),
        ("crash: run", "run", "the process was ended by SIGKILL"),
        ("time", "run", "RuntimeError: it fails to time"),
        ("crash: time", "run", "the process was ended by SIGKILL"),
    ],
)
def test_a_failed_artifact_has_its_stage_and_reason(
    run_with: Runs, tmp_path: Path, fault: str, stage: str, message: str
) -> None:
    ran = run_with(fault, Baseline(None, "there is no layer", 1))
    assert ran.stage == stage
    assert message in str(ran.reason)
    assert ran.error is not None
    assert ran.error.found in str(ran.reason)
    assert (ran.answers, ran.latency) == (None, None)
    assert not ran.is_unrunnable, "it would fail on any machine"
    assert has_ended(tmp_path / "model")


def test_an_artifact_that_this_machine_cannot_run_has_not_failed(run_with: Runs) -> None:
    ran = run_with("elsewhere")
    assert ran.is_unrunnable
    assert ran.reason == "no GPU here; take it to one"
    assert (ran.stage, ran.answers) == (None, None)


def test_a_file_that_is_not_an_artifact_does_not_load(known: ReferenceSet, tmp_path: Path) -> None:
    """This uses the real runtime."""
    path = tmp_path / "model.onnx"
    path.write_bytes(b"this is no model")
    artifact = Artifact("onnx", path, SPEC)
    ran = run(artifact, done(known), tmp_path / "answers.npz", tmp_path / "log")
    assert ran.stage == "load"
    assert ran.reason


def test_a_missing_exporter_makes_an_artifact_unrunnable_not_failed(
    known: ReferenceSet, tmp_path: Path
) -> None:
    artifact = Artifact("nobodys", tmp_path / "model", SPEC)
    ran = run(artifact, done(known), tmp_path / "answers.npz", tmp_path / "log")
    assert ran.is_unrunnable
    assert "nobodys" in f"{ran.error}"


def test_an_artifact_is_loaded_while_the_layer_is_still_running(
    run_with: Runs, known: ReferenceSet, tmp_path: Path
) -> None:
    answered: Future[ReferenceSet] = Future()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run_with, reference=answered)
        deadline = time.monotonic() + 60
        while not (tmp_path / "model").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert not running.done()
        answered.set_result(known)
        assert running.result().answers is not None


def test_an_error_of_the_layer_is_raised_when_its_outputs_are_needed(
    run_with: Runs, tmp_path: Path
) -> None:
    """It does not count as a failure of the artifact."""
    answered: Future[ReferenceSet] = Future()
    answered.set_exception(TraceError("layer", "it refuses sample 0", "an answer", "wrap it"))
    with pytest.raises(TraceError, match="it refuses sample 0"):
        run_with(reference=answered)
    assert has_ended(tmp_path / "model")


def test_an_artifact_is_timed_beside_the_layer(run_with: Runs, layer: Any) -> None:
    latency = run_with(baseline=Baseline(layer(100), None, 2)).latency
    assert latency is not None
    assert latency.layer is not None
    assert latency.no_layer is None
    assert len(latency.artifact.rounds_ms) == len(latency.layer.rounds_ms) == 2
    assert (latency.artifact.load_ms, latency.layer.load_ms) == (2.0, 4.0)
    assert latency.artifact.first_ms > 0
    assert latency.ratio is not None


@pytest.mark.parametrize("turns", [0, 2], ids=["before the first round", "in a round"])
def test_if_the_layer_crashes_while_timed_the_artifact_is_timed_alone(
    run_with: Runs, layer: Any, turns: int
) -> None:
    ran = run_with(baseline=Baseline(layer(turns), None, 2))
    assert (ran.stage, ran.device) == (None, "CPU")
    assert ran.answers is not None, "the earlier outputs must be kept"
    latency = ran.latency
    assert latency is not None
    assert latency.layer is None
    assert latency.ratio is None
    assert len(latency.artifact.rounds_ms) == 2
    assert str(latency.no_layer).startswith("it crashed while it was timed: ")
    assert "exited with code 7" in str(latency.no_layer)


def test_the_next_artifact_is_timed_alone_as_well(run_with: Runs, layer: Any) -> None:
    baseline = Baseline(layer(0), None, 1)
    for _ in range(2):
        latency = run_with(baseline=baseline).latency
        assert latency is not None
        assert "it crashed while it was timed" in str(latency.no_layer)


def test_without_a_layer_an_artifact_is_timed_alone_with_the_reason(run_with: Runs) -> None:
    latency = run_with(baseline=Baseline(None, "there is no layer", 1)).latency
    assert latency is not None
    assert (latency.layer, latency.no_layer) == (None, "there is no layer")
    assert len(latency.artifact.rounds_ms) == 1
