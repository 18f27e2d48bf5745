"""A layer or an artifact, loaded: it answers samples and is timed.

Sessions live in a child process (`hubopt.processes.worker`), except that of a layer which the
caller already has in memory.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from hubopt import registry
from hubopt.arrays import read_samples, write_samples
from hubopt.contract import artifact_problems
from hubopt.errors import ExportError, NotRunnableHereError, TraceError, UsageError
from hubopt.exporter import Artifact, Options, Program, Runner, Source, Tensors, XlaMode
from hubopt.hints import Hints
from hubopt.import_path import look_in_current_folder
from hubopt.inspection import OpenModel, inspect_layer
from hubopt.latency.protocol import time_calls
from hubopt.latency.statistics import Timing
from hubopt.models.handles import Access, Handle, LayerOptions, locate
from hubopt.parity.reference import same_tensors
from hubopt.processes.collecting import few_collections
from hubopt.processes.trimming import give_back
from hubopt.renaming import load_runner
from hubopt.sampling.coverage import Coverage
from hubopt.sampling.user_data import Item
from hubopt.spec import ModelSpec


class Session:
    """What sessions of layers and artifacts have in common."""

    def __init__(self, import_ms: float | None, load_ms: float | None) -> None:
        self._import_ms = import_ms
        self._load_ms = load_ms
        self._first_ms = 0.0
        self._samples: list[dict[str, Any]] = []
        self._runner: Runner

    def _run(self, sample: dict[str, Any]) -> dict[str, Any]:
        start = time.perf_counter()
        result = self._runner.run(sample)
        self._first_ms = self._first_ms or _since(start)
        return result

    def time_calls(self, count: int) -> tuple[float, ...]:
        """Time ``count`` calls on the first sample, in milliseconds."""
        return time_calls(self._runner, self._samples[0], count)

    def timing(self) -> Timing:
        """Return how long importing, loading and the first call took."""
        return Timing(self._import_ms, self._load_ms, self._first_ms, ())

    def device(self) -> str:
        """Return what it computes on."""
        return self._runner.device


class LayerSession(Session):
    """The eager layer: the reference for parity and the baseline for latency.

    Args:
        layer: A `hubopt.KerasLayer`.
        handle: What it was loaded from; None for a layer that the caller made.
        import_ms: How long importing TensorFlow took.
        load_ms: How long loading took.
    """

    def __init__(
        self,
        layer: Any,
        handle: Handle | None = None,
        import_ms: float | None = None,
        load_ms: float | None = None,
    ) -> None:
        super().__init__(import_ms, load_ms)
        self._layer = layer
        self._handle = handle

    def handle(self) -> Handle | None:
        """Return what the layer was loaded from."""
        return self._handle

    def resolve(self, hints: Hints, items: Sequence[Item] = ()) -> ModelSpec:
        """Settle every shape and dtype, by the user's own ``items`` where nothing else does."""
        from hubopt.layers.interface import read_interface
        from hubopt.sampling.data_fit import first_sample
        from hubopt.shaping.shapes import resolve

        data = first_sample(items, read_interface(self._layer), hints) if items else None
        return resolve(self._layer, hints, data)

    def signature(self) -> str | None:
        """Return the signature that the layer calls, or None for the model's own call."""
        from hubopt.tf_private import layer_signature

        return layer_signature(self._layer)

    def answer(
        self, spec: ModelSpec, inputs: Path, outputs: Path, edges: Collection[int] = ()
    ) -> dict[int, str]:
        """Run every sample eagerly with the inputs and outputs of ``spec``.

        Args:
            spec: The inputs and outputs.
            inputs: The samples.
            outputs: Gets the answers to those that are not left out.
            edges: Samples to leave out if the layer refuses them or answers with NaN.

        Returns:
            Why a sample was left out.

        Raises:
            TraceError: The layer refuses another sample, or answers it with NaN.
        """
        from hubopt.reference.eager import LayerRunner, full_float32

        self._runner = LayerRunner(self._layer, spec)
        self._samples = read_samples(inputs, spec.inputs)
        results, left_out = [], {}
        for at, sample in enumerate(self._samples):
            try:
                with full_float32(), _telling_refusal(at):
                    result = self._run(sample)
            except TraceError as error:
                if at not in edges:
                    raise
                left_out[at] = error.found
                continue
            if any(_has_nan(array) for array in result.values()):
                if at not in edges:
                    raise _not_a_number(at)
                left_out[at] = "the layer gives NaN"
                continue
            results.append(result)
        write_samples(outputs, results)
        return left_out

    def cover(self, program: Program, pool: Path, count: int, make: bool) -> Coverage:
        """Choose the samples of ``pool`` that reach most of the network's units."""
        from hubopt.sampling.coverage import cover

        with few_collections():
            covered = cover(program, pool, count, make)
        give_back()
        return covered

    def onednn_is_on(self) -> bool:
        """Whether TensorFlow computes with oneDNN here."""
        from hubopt.tf_private import onednn_is_on

        return onednn_is_on()

    def time_calls(self, count: int) -> tuple[float, ...]:
        """Time ``count`` calls on the first sample, in milliseconds."""
        from hubopt.reference.eager import full_float32

        with full_float32():
            return super().time_calls(count)

    def trace(
        self,
        spec: ModelSpec,
        folder: Path,
        xla: XlaMode,
        saved_model: bool = True,
        most_bytes: int | None = None,
    ) -> Program:
        """Write the program, by `hubopt.trace`."""
        from hubopt.graphs.tracing import trace

        with few_collections():
            program = trace(
                self._layer, spec, folder, xla, saved_model=saved_model, most_bytes=most_bytes
            )
        give_back()
        return program

    def inspect(self, hints: Hints) -> OpenModel:
        """Describe the layer and what is not settled yet."""
        return inspect_layer(self._layer, hints)


def open_layer_session(
    handle: str, options: LayerOptions, access: Access, most_bytes: int | None = None
) -> LayerSession:
    """Find the model behind ``handle`` and load it, timing TensorFlow's import apart.

    Raises:
        HuboptError: As `hubopt.models.opening.open_layer` does.
    """
    found = locate(handle, access)
    if found.kind == "python":
        look_in_current_folder()
    start = time.perf_counter()
    opening = importlib.import_module("hubopt.models.opening")
    import_ms = _since(start)
    start = time.perf_counter()
    with few_collections():
        layer = opening.open_layer(replace(found, only_calls=True), options, access, most_bytes)
    return LayerSession(layer, found, import_ms, _since(start))


class ArtifactSession(Session):
    """An artifact in its own runtime.

    Args:
        artifact: What to load.
        names: The artifact's names for tensors that the layer names otherwise.
        allow_ops: Operations that a SavedModel may have although they reach outside of it.

    Raises:
        NotRunnableHereError: The runtime is missing, or the machine cannot run it.
        UnsafeModelError: The artifact could do more than compute; nothing of it was loaded.
        ExportError: The artifact does not load.
    """

    def __init__(
        self,
        artifact: Artifact,
        names: Mapping[str, str] | None = None,
        allow_ops: Collection[str] = (),
    ) -> None:
        try:
            exporter = registry.get(artifact.target)
        except UsageError as error:  # a bundle may come from a machine with more exporters
            raise NotRunnableHereError(*error.args) from error
        registry.require_runtime(exporter)
        start = time.perf_counter()
        for requirement in exporter.runs_with:
            importlib.import_module(next(filter(registry.is_installed, requirement.modules)))
        import_ms = _since(start)
        start = time.perf_counter()
        runner = load_runner(exporter, artifact, names, allow_ops)
        super().__init__(import_ms, _since(start))
        self._runner = runner
        self._answers: list[tuple[Tensors, Tensors]] = []

    def answer(self, spec: ModelSpec, inputs: Path, outputs: Path) -> None:
        """Write to ``outputs`` what it gives for every sample of the file ``inputs``.

        Those that were asked before are not run again: a kit comes with fewer samples where more
        is known of the layer.
        """
        known = list(self._answers)
        self._samples = read_samples(inputs, spec.inputs)
        self._answers = [(each, self._find(each, known)) for each in self._samples]
        write_samples(outputs, [answer for _, answer in self._answers])

    def _find(self, sample: Tensors, known: Sequence[tuple[Tensors, Tensors]]) -> Tensors:
        for asked, answer in known:
            if same_tensors(asked, sample):
                return answer
        return self._run(dict(sample))


def convert(target: str, source: Source, path: Path, options: Options) -> tuple[Artifact, float]:
    """Export ``source``; return the artifact and the seconds it took.

    Raises:
        ExportError: The conversion failed, or did not give what the contract asks for.
    """
    exporter = registry.get(target)
    before = set(path.parent.iterdir())
    start = time.perf_counter()
    with few_collections():
        artifact = exporter.export(source, path, options)
    seconds = time.perf_counter() - start
    problems = artifact_problems(artifact, target, path, source.spec)
    known = before | {path} | {path.with_name(name) for name in artifact.companions}
    strays = sorted(each.name for each in {*path.parent.iterdir()} - known)
    if strays:
        problems.append(f"it also wrote {', '.join(strays)}")
    if problems:
        raise ExportError(
            f"{target} artifact",
            f"the exporter does not conform: {'; '.join(problems)}",
            f"one artifact at {path.name}",
            "check the exporter with hubopt.testing.assert_conforms",
        )
    return artifact, seconds


@contextmanager
def _telling_refusal(at: int) -> Iterator[None]:
    from hubopt.causes import explain, first_line
    from hubopt.resources import resource_error

    try:
        yield
    except Exception as error:  # whatever the model's own code raises
        shortage = resource_error(error)
        if shortage is not None:
            raise shortage from error
        found, way_out = explain(error) or (
            f"{type(error).__name__}: {first_line(error)}",
            "pass inputs of your own with --data, or wrap the model in a function that brings "
            "such inputs into its range",
        )
        raise TraceError(
            "layer",
            f"it refuses sample {at}: {found}",
            "a model that takes its inputs; hubopt draws floats from several distributions, "
            "integers inside the tables that they index, and texts",
            way_out,
        ) from error


def _not_a_number(at: int) -> TraceError:
    return TraceError(
        "layer",
        f"it gives NaN on sample {at}",
        "numbers: nothing agrees with NaN, so nothing could be verified",
        "pass inputs of your own with --data, which the layer answers with numbers",
    )


def _has_nan(array: Any) -> bool:
    return array.dtype.kind in "fcV" and bool((array != array).any())


def _since(start: float) -> float:
    return (time.perf_counter() - start) * 1e3
