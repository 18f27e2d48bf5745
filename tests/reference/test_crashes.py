"""An optional step may crash its process: it is skipped and named, and nothing else is lost."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import hubopt
from hubopt.errors import TraceError, WorkerCrashError
from hubopt.exporter import Program
from hubopt.models.handles import LayerOptions, LoadPolicy
from hubopt.progress import Background, quiet
from hubopt.reference.coverage import Coverage
from hubopt.reference.layer_process import LayerProcess
from hubopt.reference.layer_session import LayerSession, open_layer_session
from hubopt.reference.measuring import ask_layer
from hubopt.reference.noise import NoiseMeter
from hubopt.reference.noise_level import Noise, NoiseEscalation
from hubopt.reference.reference_set import ReferenceSet
from hubopt.reference.sample_plan import SamplePlan, cover_in_child
from hubopt.reference.variants import VariantRunner
from hubopt.spec import ModelSpec
from hubopt.workers.shared import SharedWorker

FAULTS = "HUBOPT_TEST_FAULTS"
"""The environment variable that names the steps at which a child dies."""
REACH, PERMUTED, AGAIN = "what samples reach", "permuted inputs", "a second call"
EXITED, KILLED = "the process exited with code 7", "the process was ended by SIGKILL"


def leave(*_: object) -> None:
    os._exit(7)


def be_killed(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(step: str) -> None:
    if step in os.environ.get(FAULTS, "").split(","):
        leave()


def damage(*arguments: Any) -> Coverage:
    """Choose samples, but damage the process, which the next request notices."""
    os.environ[FAULTS] = "inputs"
    return cover_in_child(*arguments)


def fail(*_: object) -> Coverage:
    raise TraceError("graph", "TensorFlow cannot read it", "another graph", "none")


class Frail(LayerSession):
    """A layer for which some requests end the process."""

    def answer(
        self,
        spec: ModelSpec,
        inputs: Path,
        outputs: Path,
        edges: Collection[int] = (),
        numbers: Sequence[int] | None = None,
    ) -> dict[int, str]:
        die_at(inputs.name.partition(".")[0].replace("_", " "))
        return super().answer(spec, inputs, outputs, edges, numbers)


def open_frail(
    handle: str, options: LayerOptions, load_policy: LoadPolicy, *rest: Any
) -> LayerSession:
    found = open_layer_session(handle, options, load_policy, *rest)
    return Frail(found._layer, found._handle, found._import_ms, found._load_ms)


class FrailVariants(VariantRunner):
    """A program of which some variants end the process."""

    def take(
        self, way: str, inputs: Path, path: Path, numbers: Sequence[int] | None = None
    ) -> str | None:
        die_at(way)
        return super().take(way, inputs, path, numbers)


@pytest.fixture
def frail(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that makes child processes die at the given steps."""
    monkeypatch.setattr("hubopt.reference.layer_process.open_layer_session", open_frail)
    monkeypatch.setattr("hubopt.reference.noise.VariantRunner", FrailVariants)
    return lambda *places: monkeypatch.setenv(FAULTS, ",".join(places))


@contextmanager
def asked(
    model: Any, folder: Path, noise: Noise = "off", samples: int | None = None
) -> Iterator[tuple[ReferenceSet, LayerProcess, Program]]:
    """Yield the reference set of a model, its layer, which is still open, and its program."""
    log = folder / "log"
    with ExitStack() as stack:
        layer = stack.enter_context(LayerProcess(model, LayerOptions(), LoadPolicy(), log, quiet))
        spec = layer.session.resolve(hubopt.Hints(batch=1))
        program = layer.session.trace(spec, folder / "program", "auto")
        background = stack.enter_context(Background(quiet))
        child = stack.enter_context(SharedWorker(log))
        meter = stack.enter_context(NoiseMeter(log))
        escalation = NoiseEscalation(noise, program, meter, folder / "noise", quiet)
        known, first = ask_layer(
            SamplePlan.read(None, samples, noise=noise),
            layer,
            program,
            folder / "reference",
            folder / "work",
            escalation,
            child,
            background,
        )
        yield escalation.begin(known, first), layer, program


def check_complete(known: ReferenceSet, layer: LayerProcess, folder: Path) -> None:
    """Check that every sample has outputs, and that the layer reproduces them."""
    reference = known.read_outputs()
    assert len(known.read_inputs()) == len(reference) == len(known.kinds) == len(known.kept)
    again = folder / "again.npz"
    assert layer.session.answer(known.spec, known.inputs, again, (), known.kept) == {}
    for one, other in zip(known.read_outputs(again), reference, strict=True):
        for name in known.spec.output_names:
            np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize(("death", "message"), [(leave, EXITED), (be_killed, KILLED)])
def test_the_first_samples_are_used_if_choosing_samples_crashes(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, death: Any, message: str
) -> None:
    monkeypatch.setattr("hubopt.reference.sample_plan.cover_in_child", death)
    with asked(str(tiny), tmp_path) as (known, layer, _):
        assert list(known.quality.skipped) == [REACH]
        assert known.quality.skipped[REACH].startswith(message)
        assert known.kept == tuple(range(8))
        assert (known.quality.weights, known.quality.undetected) == (0, 0)
        assert set(known.quality.probes) == {"redrawn", "permuted"}
        assert "repeated" in known.quality.deviations
        check_complete(known, layer, tmp_path)


def test_the_first_samples_are_used_if_they_cannot_be_chosen(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubopt.reference.sample_plan.cover_in_child", fail)
    with asked(str(tiny), tmp_path) as (known, layer, _):
        assert known.quality.skipped == {REACH: "TensorFlow cannot read it"}
        assert known.kept == tuple(range(8))
        check_complete(known, layer, tmp_path)


def test_a_layer_whose_process_was_damaged_before_is_loaded_again(
    tiny: Path, tmp_path: Path, frail: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gradient that corrupts memory may end the process later, when the layer runs."""
    monkeypatch.setattr("hubopt.reference.sample_plan.cover_in_child", damage)
    with asked(str(tiny), tmp_path) as (known, layer, _):
        assert not known.quality.skipped
        assert known.quality.weights > 0, "the coverage was measured before the crash"
        check_complete(known, layer, tmp_path)


def test_samples_for_a_layer_in_this_process_are_chosen_in_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubopt.reference.sample_plan.cover_in_child", leave)
    kernel = tf.Variable(np.random.default_rng(0).standard_normal((4, 8)), dtype=tf.float32)
    signature = [tf.TensorSpec([1, 4], tf.float32, name="x")]
    model = tf.function(lambda x: tf.nn.relu(x @ kernel), input_signature=signature)
    with asked(model, tmp_path, samples=3) as (known, layer, _):
        assert known.quality.skipped[REACH].startswith(EXITED)
        assert known.kept == (0, 1, 2)
        check_complete(known, layer, tmp_path)


@pytest.mark.parametrize(
    ("places", "probes", "variants"),
    [
        ([PERMUTED], {"redrawn"}, {"repeated"}),
        ([AGAIN], {"redrawn", "permuted"}, set()),
        ([PERMUTED, AGAIN], {"redrawn"}, set()),
    ],
)
def test_a_request_that_crashes_the_layer_is_skipped(
    tiny: Path, tmp_path: Path, frail: Any, places: list[str], probes: set[str], variants: set[str]
) -> None:
    frail(*places)
    with asked(str(tiny), tmp_path) as (known, layer, _):
        assert list(known.quality.skipped) == places
        assert all(reason.startswith(EXITED) for reason in known.quality.skipped.values())
        assert set(known.quality.probes) == probes
        assert set(known.quality.deviations) == variants
        assert known.quality.weights > 0, "the coverage was measured before the crash"
        check_complete(known, layer, tmp_path)


def test_a_single_sample_is_not_redrawn_if_that_crashes(
    tiny: Path, tmp_path: Path, frail: Any
) -> None:
    frail("other samples")
    with asked(str(tiny), tmp_path, samples=1) as (known, layer, _):
        assert known.quality.skipped["other samples"].startswith(EXITED)
        assert set(known.quality.probes) == {"permuted"}
        assert known.kept == (0,)
        check_complete(known, layer, tmp_path)


def test_a_request_that_runs_out_of_memory_is_skipped(
    tiny: Path, tmp_path: Path, frail: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel kills the process, but no samples are lost."""
    monkeypatch.setattr("hubopt.reference.sample_plan.cover_in_child", be_killed)
    counts = itertools.count()
    monkeypatch.setattr("hubopt.workers.worker.killed_for_memory", lambda: next(counts))
    with asked(str(tiny), tmp_path) as (known, layer, _):
        assert "memory" in known.quality.skipped[REACH]
        check_complete(known, layer, tmp_path)


def test_a_variant_that_crashes_costs_no_other_variant(
    tiny: Path, tmp_path: Path, frail: Any
) -> None:
    frail("weights", "rounded2", "xla")
    with asked(str(tiny), tmp_path, "full") as (known, layer, _):
        skipped = {
            variant: reason
            for variant, reason in known.quality.skipped.items()
            if variant != "onednn"
        }
        assert set(skipped) == {"weights", "rounded2", "xla"}
        assert all(reason.startswith(EXITED) for reason in skipped.values())
        assert {"repeated", "float64", "rounded1", "rounded3"} <= set(known.quality.deviations)
        assert "weights" not in known.quality.probes
        assert known.float64 is not None
        assert known.quality.level == "full"
        check_complete(known, layer, tmp_path)


def test_the_noise_level_escalates_if_the_first_look_crashes(
    tiny: Path, tmp_path: Path, frail: Any
) -> None:
    """Without a noise measurement, the layer is computed in float64 immediately."""
    frail("onednn", "weights")
    with asked(str(tiny), tmp_path, "auto") as (known, layer, _):
        assert set(known.quality.skipped) == {"onednn", "weights"}
        assert known.quality.level == "float64"
        assert known.float64 is not None
        check_complete(known, layer, tmp_path)


def test_an_export_survives_all_optional_crashes(
    tiny: Path, tmp_path: Path, frail: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubopt.reference.sample_plan.cover_in_child", be_killed)
    frail(PERMUTED, AGAIN, "onednn", "weights", "float64")
    bundle = hubopt.export(tiny, ["tflite"], tmp_path / "out", rounds=1, cache=False)
    (result,) = bundle.results
    assert result.status == "verified"
    assert result.latency is not None
    assert result.latency.layer is not None, "the layer must be loaded again"
    skipped = bundle.manifest.reference.skipped
    assert {REACH, PERMUTED, AGAIN, "onednn", "weights", "float64"} <= set(skipped)
    assert hubopt.verify_bundle(bundle)[0].status == "verified"


def test_a_layer_that_crashes_on_its_samples_is_not_a_reference(
    tiny: Path, tmp_path: Path, frail: Any
) -> None:
    frail("inputs")
    with pytest.raises(WorkerCrashError, match=EXITED), asked(str(tiny), tmp_path):
        raise AssertionError("the layer should have crashed")
