"""Assertions for your own tests: an artifact computes what a layer does; an exporter conforms.

In one of your tests::

    from hubopt.testing import assert_parity

    def test_my_model():
        assert_parity("model.onnx", "path/to/saved_model")

and for your own exporter::

    from hubopt.testing import assert_conforms

    def test_my_exporter(tmp_path):
        assert_conforms(MyExporter(), tmp_path)
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hubopt import registry
from hubopt.errors import NotRunnableHereError
from hubopt.exporter import (
    FP32,
    PROGRAM,
    Artifact,
    Exporter,
    ExportTask,
    Program,
    Source,
    Target,
    Tensors,
    ToleranceClass,
)
from hubopt.hints import Hints
from hubopt.models.handles import LayerOptions, LoadPolicy
from hubopt.parity import TOLERANCES, Parity, ToleranceOverrides, judge
from hubopt.reference.layer_process import Model
from hubopt.reference.noise_level import Noise
from hubopt.registry.contract import artifact_problems, exporter_problems
from hubopt.registry.options import make_options
from hubopt.sampling.samples import SEED, draw
from hubopt.sampling.user_data import Data
from hubopt.spec import ModelSpec
from hubopt.verification.comparison import AnyArtifact, verify

_FEATURES = 8
_CALIBRATION_SEED = SEED + 1


def write_tiny_model(folder: Path, seed: int = 0) -> Path:
    """Write a SavedModel with two inputs and two outputs of one shape; return ``folder``.

    ``(left: float32 "batch 8", right: float32 "batch 8") -> {"sum": "batch 8",
    "difference": "batch 8"}``; both inputs go through a dense layer of their own. Swapping the
    inputs or the outputs changes the result.
    """
    import tensorflow as tf

    generator = np.random.default_rng(seed)

    def weights(name: str) -> Any:
        values = generator.standard_normal((_FEATURES, _FEATURES))
        return tf.Variable(values.astype("float32"), name=name)

    root = tf.train.Checkpoint()
    root.a, root.b = weights("a"), weights("b")
    tensor = tf.TensorSpec([None, _FEATURES], tf.float32)

    def call(inputs: Any) -> Any:
        left, right = inputs["left"] @ root.a, inputs["right"] @ root.b
        return {"sum": tf.tanh(left + right), "difference": tf.tanh(left - right)}

    root.__call__ = tf.function(call, input_signature=[{"left": tensor, "right": tensor}])
    root.variables = [root.a, root.b]
    serving = tf.function(
        lambda left, right: call({"left": left, "right": right}),
        input_signature=[tensor, tensor],
        autograph=False,
    )
    tf.saved_model.save(
        root, str(folder), signatures={"serving_default": serving.get_concrete_function()}
    )
    return folder


def trace_tiny_model(folder: Path, batch: int = 2) -> tuple[Any, Program]:
    """Write the tiny model below ``folder`` and return its layer and program."""
    from hubopt.layers.layer import KerasLayer
    from hubopt.programs.shaping.shapes import resolve
    from hubopt.programs.tracing import trace

    layer = KerasLayer(write_tiny_model(folder / "tiny"))
    return layer, trace(layer, resolve(layer, Hints(batch=batch)), folder / "program")


def make_task(
    exporter: Exporter,
    source: Source,
    path: Path,
    /,
    precision: str = FP32,
    **options: object,
) -> ExportTask:
    """Return the task to write ``source`` to ``path``, as hubopt passes it to ``exporter``.

    Args:
        exporter: An instance.
        source: The program, or the artifact of `Exporter.source`.
        path: Where to write; nothing exists there yet.
        precision: One of `Exporter.precisions`. Any except float32 gets calibration samples.
        **options: The exporter's own options, as texts or as values of their type; options that
            are not given have their defaults.

    Raises:
        UsageError: The exporter has no such option, or the option cannot have the value.
    """
    target = Target(exporter.name, precision, make_options(exporter, options))
    calibration = None if precision == FP32 else _samples(source.spec, _CALIBRATION_SEED)
    return ExportTask(source, path, target, calibration)


def assert_conforms(
    exporter: Exporter, folder: Path, /, precision: str = FP32, **options: object
) -> Parity | None:
    """Check ``exporter`` against `hubopt.exporter.Exporter` on a tiny model.

    Args:
        exporter: An instance.
        folder: An empty folder to work in.
        precision: One of `Exporter.precisions`.
        **options: The exporter's own options, as in `make_task`.

    Returns:
        The parity of its artifact with the layer; None if this machine cannot run the artifact.

    Raises:
        AssertionError: It does not conform; the text says why.
    """
    _assert_declares(exporter)
    layer, program = trace_tiny_model(folder)
    path = folder / f"model{exporter.suffix}"
    source = _source(exporter, program, folder)
    task = make_task(exporter, source, path, precision=precision, **options)
    assert pickle.loads(pickle.dumps(task.target)) == task.target, "Options must be picklable"
    obstacles = exporter.obstacles(program.ops, task.target)
    assert obstacles == [], f"a model of two matrix products is refused: {obstacles}"
    artifact = exporter.export(task)
    _assert_wrote(exporter, artifact, path, program)
    try:
        runner = exporter.runner(artifact)
    except NotRunnableHereError:
        return None
    assert runner.device, "the runner must say what it computes on"

    from hubopt.reference.eager import LayerRunner

    samples = _samples(program.spec, SEED)
    reference = [LayerRunner(layer, program.spec).run(sample) for sample in samples]
    # All calls before the first comparison: an output must not be overwritten by a later call.
    actual = [runner.run(dict(reversed(list(sample.items())))) for sample in samples]
    parity = judge(program.spec, actual, reference, TOLERANCES[artifact.tolerance])
    assert parity.passed, "the artifact is not the layer: " + "; ".join(parity.problems)
    return parity


def assert_parity(
    artifact: AnyArtifact,
    layer: Model,
    *,
    target: str | None = None,
    names: Mapping[str, str] | None = None,
    hints: Hints | None = None,
    layer_options: LayerOptions | None = None,
    load_policy: LoadPolicy | None = None,
    data: Data | None = None,
    samples: int | None = None,
    seed: int = SEED,
    noise: Noise = "auto",
    tolerance: ToleranceClass | None = None,
    overrides: ToleranceOverrides | None = None,
    allow_vacuous: bool = False,
) -> Parity:
    """Check that ``artifact`` computes what ``layer`` does; see `hubopt.verify`.

    Args:
        artifact: A file or folder, an `Artifact`, or a callable like the layer.
        layer: A handle, a layer or a callable.
        target: The target whose runtime runs a file; by default the file's suffix decides.
        names: The artifact's name for each tensor that has another name in the layer.
        hints: Shapes and dtypes that the layer leaves open.
        layer_options: Signature, output and tags, for a handle.
        load_policy: How a handle may be fetched and loaded.
        data: Inputs of your own; drawn by default.
        samples: The number of samples.
        seed: The seed of the drawn samples.
        noise: How much of the layer's own noise to measure, see `hubopt.verify`.
        tolerance: The tolerance class of the artifact.
        overrides: Tolerances of single outputs, or other bounds.
        allow_vacuous: Whether outputs may be the same for every input.

    Returns:
        The metrics.

    Raises:
        AssertionError: It does not, or nothing is proved; the text contains the table of metrics.
    """
    parity = verify(
        artifact,
        layer,
        target=target,
        names=names,
        hints=hints,
        layer_options=layer_options,
        load_policy=load_policy,
        data=data,
        samples=samples,
        seed=seed,
        noise=noise,
        tolerance=tolerance,
        overrides=overrides,
    )
    good = ("verified", "vacuous") if allow_vacuous else ("verified",)
    if parity.status not in good:
        raise AssertionError(f"the artifact is not proved to be the layer\n{parity!r}")
    return parity


def _assert_declares(exporter: Exporter) -> None:
    problems = exporter_problems(exporter, getattr(exporter, "name", ""))
    assert not problems, "; ".join(problems)
    problem = exporter.machine_problem()
    assert problem is None or isinstance(problem, str), "machine_problem must be a text or None"
    lacking = registry.missing(exporter.builds_with)
    assert not lacking, f"builds_with is not installed: {lacking}"


def _source(exporter: Exporter, program: Program, folder: Path) -> Source:
    made: dict[str, Source] = {PROGRAM: program}
    if exporter.source != PROGRAM:
        for maker in registry.with_sources([exporter.source]):
            path = folder / f"source_{maker.name}{maker.suffix}"
            made[maker.name] = maker.export(make_task(maker, made[maker.source], path))
    return made[exporter.source]


def _samples(spec: ModelSpec, seed: int) -> list[Tensors]:
    return [sample.tensors for sample in draw(spec.inputs, seed=seed)]


def _assert_wrote(exporter: Exporter, artifact: Artifact, path: Path, program: Program) -> None:
    problems = artifact_problems(artifact, exporter.name, path, program.spec)
    assert not problems, "; ".join(problems)
    assert pickle.loads(pickle.dumps(artifact)) == artifact, "the artifact must be picklable"
