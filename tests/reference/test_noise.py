"""Outputs of the variants of a layer, and their deviations from the reference."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from hubopt._platform import tf_private
from hubopt.errors import WorkerCrashError
from hubopt.exporter import Program
from hubopt.hints import Hints
from hubopt.models.handles import LayerOptions, LoadPolicy
from hubopt.parity.reference import measure_deviations
from hubopt.programs.graphs.freezing import freeze
from hubopt.programs.graphs.frozen_graph import write_frozen_graph
from hubopt.reference import noise, variants
from hubopt.reference.layer_session import open_layer_session
from hubopt.reference.noise import Answers, NoiseMeter
from hubopt.reference.variants import VARIANTS, VariantRunner
from hubopt.sampling.arrays import read_samples, sample_numbers, write_samples
from hubopt.sampling.samples import draw
from hubopt.spec import ModelSpec
from hubopt.workers.shared import SharedWorker
from hubopt.workers.worker import Worker
from tests.layers.models import save

WEIGHTS = np.random.default_rng(0).standard_normal((4, 4)).astype("float32")
FLOATS = tf.TensorSpec([2, 4], tf.float32)


class Measured:
    """A model's program with its samples, its reference and the outputs of its variants."""

    def __init__(self, model: Path, folder: Path) -> None:
        self.layer = open_layer_session(str(model), LayerOptions(), LoadPolicy())
        spec = self.layer.resolve(Hints(batch=2))
        self.program: Program = self.layer.trace(spec, folder / "program", "auto")
        self.inputs, self.reference = folder / "inputs.npz", folder / "reference.npz"
        samples = [sample.tensors for sample in draw(spec.inputs) if not sample.edge]
        write_samples(self.inputs, samples)
        self.layer.answer(spec, self.inputs, self.reference)
        self._folder = folder

    def measure(
        self,
        program: Program | None = None,
        variants: Sequence[str] = VARIANTS,
        numbers: Sequence[int] | None = None,
    ) -> Answers:
        with NoiseMeter(self._folder / "log") as meter:
            return meter.measure(
                program or self.program,
                self.inputs,
                self._folder / "noise",
                tf_private.onednn_is_on(),
                variants,
                numbers,
            )

    def deviations(self, answers: Answers, variant: str) -> dict[str, float]:
        return largest_deviations(answers.answers[variant], self.reference, self.program.spec)


def largest_deviations(answers: Path, reference: Path, spec: ModelSpec) -> dict[str, float]:
    new, old = read_samples(answers, spec.outputs), read_samples(reference, spec.outputs)
    deviations = measure_deviations(spec, new, old)
    return {name: max(sample.largest for sample in samples) for name, samples in deviations.items()}


@pytest.fixture
def measured(tmp_path: Path) -> Callable[..., Measured]:
    def make(call: Any, *specs: Any, **attributes: Any) -> Measured:
        function = tf.function(call, input_signature=specs or [FLOATS], autograph=False)
        return Measured(save(function, tmp_path / "model", **attributes), tmp_path)

    return make


@pytest.fixture(scope="module")
def tiny_measured(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Measured, Answers]:
    model = Measured(tiny, tmp_path_factory.mktemp("measured"))
    return model, model.measure()


def test_every_variant_computes_every_output(tiny_measured: tuple[Measured, Answers]) -> None:
    model, answers = tiny_measured
    assert answers.problems == {}
    assert tuple(answers.answers) == VARIANTS
    for variant, path in answers.answers.items():
        assert path.name == f"{variant}.npz"
        samples = read_samples(path, model.program.spec.outputs)
        assert len(samples) == len(read_samples(model.inputs, model.program.spec.inputs))
        for sample in samples:
            assert sorted(sample) == ["difference", "sum"]
            expected = "float64" if variant == "float64" else "float32"
            assert {tensor.dtype.name for tensor in sample.values()} == {expected}


def test_selected_variants_compute_selected_samples(tiny: Path, tmp_path: Path) -> None:
    model = Measured(tiny, tmp_path)
    answers = model.measure(variants=("weights", "float64"), numbers=(1, 4))
    assert tuple(answers.answers) == ("weights", "float64")
    reference = read_samples(model.reference, model.program.spec.outputs)
    assert sample_numbers(answers.answers["float64"]) == (1, 4)
    double = read_samples(answers.answers["float64"], model.program.spec.outputs)
    for mine, theirs in zip(double, (reference[1], reference[4]), strict=True):
        np.testing.assert_allclose(mine["sum"], theirs["sum"], rtol=1e-5, atol=1e-6)


def test_closing_the_meter_ends_a_measurement_in_another_thread(tiny: Path, tmp_path: Path) -> None:
    """The measurement raises an error; it does not report a failed variant."""
    model = Measured(tiny, tmp_path)
    with ThreadPoolExecutor(1) as pool:
        with NoiseMeter(tmp_path / "log") as meter:
            arguments = (model.program, model.inputs, tmp_path / "noise", tf_private.onednn_is_on())
            measuring = pool.submit(meter.measure, *arguments)
        with pytest.raises(WorkerCrashError):
            measuring.result()


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_a_resting_meter_releases_its_memory(
    measured: Callable[..., Measured], tmp_path: Path
) -> None:
    """The weights are held twice: by TensorFlow and in the arrays that were fed to it."""
    table = tf.Variable(np.ones((50, 10**6), "float32"))
    model = measured(lambda x: x @ table[:4, :4], FLOATS, table=table)
    on, log = tf_private.onednn_is_on(), tmp_path / "log"
    with (
        SharedWorker(log, {"TF_ENABLE_ONEDNN_OPTS": "0"}, noise.IMPORTS) as child,
        NoiseMeter(log, child) as meter,
    ):
        worker = meter._child(on).start()
        before = anonymous_mb(worker)
        found = meter.measure(model.program, model.inputs, tmp_path, on, ["onednn"])
        if not found.answers:
            pytest.skip(found.problems["onednn"])
        assert anonymous_mb(worker) > before + 190
        meter.rest()
        assert anonymous_mb(worker) < before + 100


def anonymous_mb(worker: Worker) -> float:
    status = Path(f"/proc/{worker.call(os.getpid)}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+)", status)[1]) / 1e3  # type: ignore[index]


@pytest.mark.parametrize("onednn_on", [True, False])
def test_a_shared_child_is_used_if_onednn_is_switched_in_it(
    onednn_on: bool, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {"TF_ENABLE_ONEDNN_OPTS": "0"}
    monkeypatch.setattr(noise, "SHARED_ENVIRONMENT", environment)
    model = Measured(tiny, tmp_path)
    with (
        SharedWorker(tmp_path / "shared.log", environment) as shared,
        NoiseMeter(tmp_path / "log", shared) as meter,
    ):
        pid = shared.start().call(os.getpid)
        meter.measure(model.program, model.inputs, tmp_path / "noise", onednn_on, ["weights"])
        assert meter._ready is not None
        used = meter._ready[0].call(os.getpid)
        meter.rest()
        assert shared.start().call(os.getpid) == pid, "others use the shared child too"
    assert (used == pid) is onednn_on


def test_the_deviation_of_a_steady_layer_is_rounding(
    tiny_measured: tuple[Measured, Answers],
) -> None:
    model, answers = tiny_measured
    for variant in ("onednn", "xla"):
        assert all(deviation < 1e-5 for deviation in model.deviations(answers, variant).values())
    assert all(0 < deviation < 1e-5 for deviation in model.deviations(answers, "float64").values())


def test_perturbed_weights_change_the_outputs(tiny_measured: tuple[Measured, Answers]) -> None:
    model, answers = tiny_measured
    assert all(deviation > 0.01 for deviation in model.deviations(answers, "weights").values())


def test_an_error_in_the_reference_is_measured(
    tiny_measured: tuple[Measured, Answers], tmp_path: Path
) -> None:
    """The reference is changed on purpose, to show that deviations are not always zero."""
    model, answers = tiny_measured
    spec = model.program.spec
    off = [
        {"sum": sample["sum"] + 0.25, "difference": sample["difference"]}
        for sample in read_samples(model.reference, spec.outputs)
    ]
    write_samples(tmp_path / "off.npz", off)
    deviations = largest_deviations(answers.answers["float64"], tmp_path / "off.npz", spec)
    assert deviations["sum"] == pytest.approx(0.25, rel=1e-3)
    assert deviations["difference"] < 1e-5


def test_weights_without_effect_change_nothing(measured: Callable[..., Measured]) -> None:
    model = measured(lambda x: x + tf.minimum(tf.reduce_sum(tf.constant(WEIGHTS) ** 2), 0.0))
    (deviation,) = model.deviations(model.measure(), "weights").values()
    assert deviation == 0


def test_with_a_lookup_table_only_onednn_is_switched(measured: Callable[..., Measured]) -> None:
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(tf.constant(["no"]), tf.constant([2], tf.int64)), 0
    )
    model = measured(
        lambda texts: tf.gather(WEIGHTS, table.lookup(texts)) @ WEIGHTS,
        tf.TensorSpec([2], tf.string),
        table=table,
    )
    answers = model.measure()
    assert set(answers.answers) == {"onednn"}
    assert all(deviation < 1e-5 for deviation in model.deviations(answers, "onednn").values())
    assert set(answers.problems) == set(VARIANTS) - {"onednn"}
    for problem in answers.problems.values():
        assert problem == (
            "not available: the program reads lookup tables, so there is no frozen graph"
        )


def test_operations_that_xla_cannot_compile_are_reported(measured: Callable[..., Measured]) -> None:
    model = measured(lambda x: tf.strings.to_number(tf.strings.as_string(x)) @ WEIGHTS)
    answers = model.measure()
    assert set(answers.answers) == set(VARIANTS) - {"xla"}
    (problem,) = answers.problems.values()
    assert problem == "not available: XLA has no kernel for AsString, StringToNumber"


def test_an_error_of_tensorflow_is_reported(measured: Callable[..., Measured]) -> None:
    """The program wrongly declares its operations as supported, so XLA runs and fails."""
    model = measured(lambda x: tf.strings.to_number(tf.strings.as_string(x)) @ WEIGHTS)
    ops = tuple(replace(use, xla=True) for use in model.program.ops)
    answers = model.measure(replace(model.program, ops=ops))
    assert set(answers.answers) == set(VARIANTS) - {"xla"}
    assert answers.problems["xla"].startswith("TensorFlow cannot compute it: ")


def test_a_child_that_dies_costs_one_variant(measured: Callable[..., Measured]) -> None:
    """The graph ends the process in float32, where ``1 + 1e8`` is ``1e8``."""

    def call(x: Any) -> Any:
        def end() -> Any:
            with tf.control_dependencies([tf.raw_ops.Abort(error_msg="planted by the test")]):
                return tf.identity(x)

        one = tf.reduce_max(tf.ones_like(x))
        return tf.cond(tf.equal((one + 1e8) - 1e8, 1.0), lambda: x, end)

    model = measured(lambda x: x @ WEIGHTS)
    frozen = freeze(tf.function(call, input_signature=[FLOATS]).get_concrete_function())
    program = replace(model.program, folder=model.program.folder / "changed")
    program.folder.mkdir()
    write_frozen_graph(program, frozen.graph.as_graph_def(), [])
    inputs, outputs = ((side[0].name,) for side in (frozen.inputs, frozen.outputs))
    answers = model.measure(replace(program, input_tensors=inputs, output_tensors=outputs))
    assert set(answers.answers) == {"float64"}
    for variant in ("onednn", "weights"):
        assert answers.problems[variant].startswith("the process was ended by SIGABRT")


def test_a_damaged_program_is_reported(tiny_measured: tuple[Measured, Answers]) -> None:
    model, _ = tiny_measured
    answers = model.measure(replace(model.program, output_tensors=("no:0", "such:0")))
    assert answers.answers == {}
    assert set(answers.problems) == set(VARIANTS)
    assert "no" in answers.problems["onednn"]
    assert not list((model.inputs.parent / "noise").iterdir())


def test_oneDNN_that_cannot_be_switched_is_reported(  # noqa: N802
    tiny_measured: tuple[Measured, Answers], tmp_path: Path
) -> None:
    """It runs in this process, where oneDNN was not switched."""
    model, _ = tiny_measured
    here = VariantRunner(model.program, tf_private.onednn_is_on())
    problem = here.take("onednn", model.inputs, tmp_path / "onednn.npz")
    assert problem == "TensorFlow has one set of kernels on this machine"


def test_a_model_too_large_for_float64_is_reported(
    tiny_measured: tuple[Measured, Answers], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = tiny_measured
    monkeypatch.setattr(variants, "MOST_COPIED_BYTES", 100)
    here = VariantRunner(model.program, tf_private.onednn_is_on())
    problem = here.take("float64", model.inputs, tmp_path / "float64.npz")
    assert problem is not None
    assert problem.startswith("not available: 0.0 GB of constants")


def test_samples_of_a_first_look_are_not_computed_again(
    tiny_measured: tuple[Measured, Answers], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = tiny_measured
    here = VariantRunner(model.program, tf_private.onednn_is_on())
    asked = []
    answer = VariantRunner._answer

    def counted(self: VariantRunner, variant: str, samples: Sequence[Any]) -> Any:
        asked.append(len(samples))
        return answer(self, variant, samples)

    monkeypatch.setattr(VariantRunner, "_answer", counted)
    outputs = tmp_path / "float64.npz"
    samples = read_samples(model.inputs, model.program.spec.inputs)
    assert here.take("float64", model.inputs, outputs, (0, 1)) is None
    write_samples(tmp_path / "turned.npz", samples[::-1])  # other samples come first now
    assert here.take("float64", tmp_path / "turned.npz", outputs) is None
    assert asked == [2, len(samples) - 2]
    found = read_samples(outputs, model.program.spec.outputs)
    once = VariantRunner(model.program, tf_private.onednn_is_on())
    assert once.take("float64", model.inputs, outputs) is None
    for one, other in zip(
        read_samples(outputs, model.program.spec.outputs), found[::-1], strict=True
    ):
        for name, expected in one.items():
            np.testing.assert_array_equal(other[name], expected)
