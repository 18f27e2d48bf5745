"""`LayerSession`: the loaded eager layer, which is traced, run on samples and timed.

It lives in a child process (`hubopt.workers.worker`), unless the caller already has the layer in
memory.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from hubopt._util.collecting import relaxed_gc
from hubopt._util.import_path import look_in_current_folder
from hubopt._util.trimming import trim_heap
from hubopt.errors import TraceError
from hubopt.exporter import Program, XlaMode
from hubopt.hints import Hints, flag
from hubopt.latency.session import Session, since
from hubopt.models.handles import Handle, LayerOptions, LoadPolicy, locate
from hubopt.programs.inspection import OpenModel, inspect_layer
from hubopt.sampling.arrays import read_samples, sample_numbers, write_samples
from hubopt.sampling.user_data import Item
from hubopt.spec import ModelSpec, format_shape


class LayerSession(Session):
    """The eager layer: the reference for parity and the baseline for latency.

    Args:
        layer: A `hubopt.KerasLayer`.
        handle: The model it was loaded from; None for a layer that the caller made.
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
        """Return the model that the layer was loaded from."""
        return self._handle

    def resolve(self, hints: Hints, items: Sequence[Item] = (), probe: bool = True) -> ModelSpec:
        """Resolve every shape and dtype.

        Args:
            hints: What the user specified.
            items: The user's own data, used where nothing else decides.
            probe: Whether to ask XLA and to try sizes, which can end the process.
        """
        from hubopt.layers.interface import read_interface
        from hubopt.programs.data_fit import first_sample
        from hubopt.programs.shaping.shapes import resolve

        data = first_sample(items, read_interface(self._layer), hints) if items else None
        return resolve(self._layer, hints, data, probe=probe)

    def signature(self) -> str | None:
        """Return the signature that the layer calls, or None for the model's own call."""
        from hubopt._platform.tf_private import layer_signature

        return layer_signature(self._layer)

    def answer(
        self,
        spec: ModelSpec,
        inputs: Path,
        outputs: Path,
        edges: Collection[int] = (),
        numbers: Sequence[int] | None = None,
    ) -> dict[int, str]:
        """Run samples eagerly with the inputs and outputs of ``spec``.

        Args:
            spec: The inputs and outputs.
            inputs: The samples.
            outputs: The file that the answers are written to, under the numbers of the samples.
            edges: The numbers of samples to leave out if the layer refuses them or answers with
                NaN.
            numbers: The numbers of the samples to run; by default all.

        Returns:
            Why a sample was left out, by its number.

        Raises:
            TraceError: The layer refuses a sample that is not in ``edges``, or answers it with
                NaN; or an output has another shape than ``spec`` says.
        """
        from hubopt.reference.eager import LayerRunner, full_float32

        self._runner = LayerRunner(self._layer, spec)
        numbers = sample_numbers(inputs) if numbers is None else numbers
        self._samples = read_samples(inputs, spec.inputs, numbers)
        results: dict[int, dict[str, Any]] = {}
        left_out: dict[int, str] = {}
        for at, sample in zip(numbers, self._samples, strict=True):
            try:
                with full_float32(), _translate_refusal(at):
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
            _check_shapes(spec, result, at)
            results[at] = result
        write_samples(outputs, results)
        return left_out

    def onednn_is_on(self) -> bool:
        """Whether TensorFlow uses oneDNN in this process."""
        from hubopt._platform.tf_private import onednn_is_on

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
        from hubopt.programs.tracing import trace

        with relaxed_gc():
            program = trace(
                self._layer, spec, folder, xla, saved_model=saved_model, most_bytes=most_bytes
            )
        trim_heap()
        return program

    def inspect(self, hints: Hints) -> OpenModel:
        """Describe the layer and the shapes and dtypes that are still unresolved."""
        return inspect_layer(self._layer, hints)


def open_layer_session(
    handle: str, options: LayerOptions, load_policy: LoadPolicy, most_bytes: int | None = None
) -> LayerSession:
    """Find the model behind ``handle`` and load it; TensorFlow's import is timed separately.

    Raises:
        HuboptError: It cannot be loaded, see `hubopt.layers.opening.open_layer`.
    """
    found = locate(handle, load_policy)
    if found.kind == "python":
        look_in_current_folder()
    start = time.perf_counter()
    opening = importlib.import_module("hubopt.layers.opening")
    import_ms = since(start)
    start = time.perf_counter()
    with relaxed_gc():
        layer = opening.open_layer(
            replace(found, only_calls=True), options, load_policy, most_bytes
        )
    return LayerSession(layer, found, import_ms, since(start))


@contextmanager
def _translate_refusal(at: int) -> Iterator[None]:
    from hubopt._platform.causes import explain, first_line
    from hubopt._platform.resources import resource_error

    try:
        yield
    except Exception as error:  # the model's own code may raise anything
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
            "a model that accepts its inputs; hubopt draws floats from several distributions, "
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


def _check_shapes(spec: ModelSpec, result: Mapping[str, Any], at: int) -> None:
    """Check that sample ``at`` has the shapes that were settled, some of them by other samples."""
    for output in spec.outputs:
        shape = result[output.name].shape
        if output.admits(shape):
            continue
        pairs = zip(output.named_shape, shape, strict=False)
        left_open = tuple(
            size if size == found or size in spec.bounds else None for size, found in pairs
        )
        raise TraceError(
            f"output {output.name}",
            f"it is {format_shape(shape)} on sample {at}, so its size depends on the data",
            f"{format_shape(output.named_shape)} "
            f"({', '.join(dict.fromkeys(dim.origin for dim in output.dims))})",
            f"pass {flag('--output-shape', output.name, left_open)}, which leaves it open"
            if len(shape) == len(output.dims)
            else "wrap the model in a function that returns one number of dimensions",
        )


def _has_nan(array: Any) -> bool:
    return array.dtype.kind in "fcV" and bool((array != array).any())
