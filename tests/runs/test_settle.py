"""Noise is measured only as far as the verdicts need it, without running an artifact again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hubopt.exporter import Artifact, Tensors
from hubopt.latency.statistics import Latency, Timing
from hubopt.parity import TOLERANCES, ReferenceQuality, ToleranceOverrides
from hubopt.parity.metrics import compare
from hubopt.parity.reference import PERMUTED, REDRAWN, NoiseLevel
from hubopt.reference.reference_set import ReferenceSet
from hubopt.runs import settle as settling
from hubopt.runs.run import Run
from hubopt.runs.settle import are_clear, judge_run, judge_runs, settle
from hubopt.sampling.arrays import write_samples
from hubopt.spec import Dim, ModelSpec, TensorSpec

LEVELS: tuple[NoiseLevel, ...] = ("light", "float64", "full")
SPEC = ModelSpec(
    (TensorSpec("x", "float32", (Dim(1, "trace"),)),),
    (TensorSpec("y", "float32", (Dim(4, "trace"),)),),
    "x",
    "y",
)
LAYER = np.float32([1, 2, 3, 4])
COUNT = 3
NONE = ToleranceOverrides()


class Steps:
    """Measures the layer's noise in three steps; the first has been taken.

    Attributes:
        asked: The steps that were taken.
        known: The reference set at the start.
    """

    def __init__(self, folder: Path, found: Mapping[NoiseLevel, Mapping[str, Any]]) -> None:
        self.asked: list[NoiseLevel] = []
        self._found = found
        inputs, outputs = folder / "inputs.npz", folder / "reference.npz"
        write_samples(inputs, [{"x": np.float32([at])} for at in range(COUNT)])
        write_samples(outputs, [{"y": LAYER}] * COUNT)
        self.known = ReferenceSet(
            SPEC,
            inputs,
            outputs,
            tuple(range(COUNT)),
            quality=ReferenceQuality(level="light"),
            kinds=("normal",) * COUNT,
        )

    def next(self, known: ReferenceSet) -> ReferenceSet | None:
        at = LEVELS.index(known.quality.level) + 1
        if at == len(LEVELS):
            return None
        level = LEVELS[at]
        self.asked.append(level)
        quality = replace(known.quality, level=level)
        return replace(known, **{"quality": quality, **self._found.get(level, {})})

    def settle(self, *runs: Run) -> tuple[ReferenceSet, list[str]]:
        """Return the reference set and the status of each run."""
        known, verdicts = settle(self.known, runs, NONE, self)  # type: ignore[arg-type]
        return known, [verdict.status for verdict in verdicts]


@pytest.fixture
def steps(tmp_path: Path) -> Steps:
    return Steps(tmp_path, {})


def answers(off: float) -> NDArray[np.float32]:
    """Return an output whose last element is off by a share of the bound."""
    bound = TOLERANCES["fp32"]
    assert bound.rtol is not None
    assert bound.atol is not None
    rms = float(np.sqrt(np.mean(LAYER**2)))
    given = LAYER.astype("float64")
    given[3] += off * (bound.atol * rms + bound.rtol * 4)
    return given.astype("float32")


def ran(folder: Path, *off: float, name: str = "y") -> Run:
    """Return a run of an artifact, whose outputs are off by a share of the bound per sample."""
    path = folder / f"answers{len(list(folder.iterdir()))}.npz"
    samples: list[Tensors] = [{name: answers(share)} for share in (off or (0.0,))]
    write_samples(path, samples * (COUNT if len(samples) == 1 else 1))
    return Run(Artifact("onnx", folder / "model.onnx", SPEC), path, "CPU")


def test_an_artifact_near_the_layer_needs_no_further_step(steps: Steps, tmp_path: Path) -> None:
    assert steps.settle(ran(tmp_path, 0.3)) == (steps.known, ["verified"])
    assert steps.asked == []


def test_a_failing_artifact_needs_all_steps(steps: Steps, tmp_path: Path) -> None:
    known, statuses = steps.settle(ran(tmp_path, 50.0))
    assert statuses == ["failed"]
    assert steps.asked == ["float64", "full"]
    assert known.quality.level == "full"


def test_an_artifact_that_passes_narrowly_needs_float64(tmp_path: Path) -> None:
    """It passes here, but might fail with different rounding on another machine."""
    wide = tmp_path / "float64.npz"
    write_samples(wide, [{"y": LAYER.astype("float64")}] * COUNT)
    steps = Steps(tmp_path, {"float64": {"float64": wide}})
    assert steps.settle(ran(tmp_path, 0.8))[1] == ["verified"]
    assert steps.asked == ["float64"]


def test_a_vacuous_artifact_needs_all_steps(steps: Steps, tmp_path: Path) -> None:
    """All samples show better whether the outputs depend on inputs and weights."""
    same = {"y": compare(LAYER, LAYER)}
    quality = replace(steps.known.quality, probes={REDRAWN: same, PERMUTED: same})
    steps.known = replace(steps.known, quality=quality)
    assert steps.settle(ran(tmp_path))[1] == ["vacuous"]
    assert steps.asked == ["float64", "full"]


def test_wrong_output_names_need_no_noise_measurement(steps: Steps, tmp_path: Path) -> None:
    assert steps.settle(ran(tmp_path, name="z"))[1] == ["failed"]
    assert steps.asked == []


def test_the_missing_outputs_of_an_artifact_are_reported(steps: Steps, tmp_path: Path) -> None:
    silent = ran(tmp_path)
    assert silent.answers is not None
    write_samples(silent.answers, {at: {} for at in range(COUNT)})
    verdict = judge_run(steps.known, silent, NONE)
    assert (verdict.status, verdict.stage) == ("failed", "parity")
    assert "y" in str(verdict.reason)


def test_an_artifact_that_did_not_load_needs_no_step(steps: Steps) -> None:
    broken = Run(Artifact("onnx", Path("model.onnx"), SPEC), stage="load", reason="it is cut off")
    assert steps.settle(broken) == (steps.known, ["failed"])
    assert steps.asked == []


def test_an_artifact_that_cannot_run_here_needs_all_steps(steps: Steps, tmp_path: Path) -> None:
    """It is judged on another machine."""
    elsewhere = Run(Artifact("trt", Path("model.plan"), SPEC), reason="no GPU; take it to one")
    known, statuses = steps.settle(ran(tmp_path), elsewhere)
    assert statuses == ["verified", "unverified"]
    assert known.quality.level == "full"


def test_all_verdicts_use_the_final_reference_set(tmp_path: Path) -> None:
    """The first verdict was clear earlier, but the steps for the second apply to both."""
    steps = Steps(tmp_path, {"full": {"kept": (0, 2), "kinds": ("normal", "normal")}})
    runs = [ran(tmp_path, 0.1), ran(tmp_path, 50.0)]
    known, verdicts = settle(steps.known, runs, NONE, steps)  # type: ignore[arg-type]
    assert [verdict.status for verdict in verdicts] == ["verified", "failed"]
    assert [verdict.parity.samples for verdict in verdicts if verdict.parity] == [2, 2]
    assert verdicts == judge_runs(known, runs, NONE)


def test_dropped_samples_do_not_affect_the_verdict(tmp_path: Path) -> None:
    """The stored outputs do not change; they keep the numbers of their samples."""
    steps = Steps(tmp_path, {"full": {"kept": (0, 2), "kinds": ("normal", "normal")}})
    off = ran(tmp_path, 0.1, 50.0, 0.2)
    assert off.answers is not None
    before = off.answers.read_bytes()
    known, (verdict,) = settle(steps.known, [off], NONE, steps)  # type: ignore[arg-type]
    assert verdict.status == "verified"
    assert verdict.parity is not None
    assert verdict.parity.samples == 2
    assert off.answers.read_bytes() == before
    last = ran(tmp_path, 0.1, 0.2, 50.0)
    assert judge_run(known, last, NONE).status == "failed"


def test_judging_again_runs_nothing(
    steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By then the artifact is gone, and so are all processes that could run one."""
    judged: list[tuple[NoiseLevel, Path | None]] = []
    judge_files = settling.run_parity

    def count(reference: ReferenceSet, run: Run, *rest: Any) -> Any:
        judged.append((reference.quality.level, run.answers))
        return judge_files(reference, run, *rest)

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(settling, "run_parity", count)
    monkeypatch.setattr("subprocess.Popen", forbidden)
    monkeypatch.setattr("hubopt.workers.worker.Worker", forbidden)
    runs = [ran(tmp_path, 50.0), ran(tmp_path, 0.1)]
    assert not any(run.artifact.path.exists() for run in runs)
    known, statuses = steps.settle(*runs)
    assert statuses == ["failed", "verified"]
    assert judged == [(level, run.answers) for level in LEVELS for run in runs]
    judged.clear()
    judge_runs(known, runs, ToleranceOverrides.parse(rtol=["1"], atol=["1"]))
    assert judged == [("full", run.answers) for run in runs]


def test_other_tolerances_give_another_verdict_on_the_same_outputs(
    steps: Steps, tmp_path: Path
) -> None:
    off = ran(tmp_path, 50.0)
    assert judge_run(steps.known, off, NONE).status == "failed"
    loose = ToleranceOverrides.parse(rtol=["0.1"], atol=["0.1"], sqnr=["off"])
    assert judge_run(steps.known, off, loose).status == "verified"


def test_only_an_artifact_that_agrees_with_the_layer_keeps_its_timing(
    steps: Steps, tmp_path: Path
) -> None:
    """The speed of a wrong artifact is of no use."""
    timing = Latency(Timing(1.0, 1.0, 1.0, ((1.0,),)), None, "why")
    good, bad = (replace(ran(tmp_path, off), latency=timing) for off in (0.1, 50.0))
    assert judge_run(steps.known, good, NONE).latency == timing
    assert judge_run(steps.known, bad, NONE).latency is None


def test_a_verdict_is_clear_if_no_step_would_change_it(steps: Steps, tmp_path: Path) -> None:
    runs = [ran(tmp_path, 0.1), ran(tmp_path, 0.95), ran(tmp_path, name="z")]
    clear = [are_clear([run], judge_runs(steps.known, [run], NONE)) for run in runs]
    assert clear == [True, False, True]
    assert not are_clear(runs, judge_runs(steps.known, runs, NONE))
