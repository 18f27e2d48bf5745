"""The TensorRT exporter: a float32 engine from the ONNX artifact.

It is built by TensorRT or by TensorRT for RTX. TensorRT itself needs a GPU to build. TensorRT for
RTX builds a real engine on a machine without a GPU and finishes it when it is loaded on the GPU.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hubopt.errors import ExportError
from hubopt.exporter import (
    FP32,
    Artifact,
    ExportTask,
    NoOptions,
    Obstacle,
    OpUse,
    Requirement,
    Target,
    Tensors,
    first_cause,
    host_obstacles,
    not_runnable,
    require_artifact,
)
from hubopt.spec import ModelSpec
from hubopt_exporters.gpu import gpu_problem
from hubopt_exporters.output_names import choose_names, format_names, parse_names

_log = logging.getLogger(__name__)
_INSTALL = "pip install tensorrt-rtx-cu13 cuda-bindings"
_TENSORRT = Requirement(("tensorrt", "tensorrt_rtx"), _INSTALL)
_CUDA = Requirement(("cuda.bindings",), _INSTALL)


class TensorRTExporter:
    """Parses the ONNX artifact and serializes an engine."""

    name = "trt"
    summary = "TensorRT engine, built from the ONNX model"
    suffix = ".engine"
    source = "onnx"
    dynamic = True
    open_outputs = False  # its runner allocates the outputs before it runs
    largest_bytes = None
    reads_saved_model = False
    Options = NoOptions
    precisions = (FP32,)
    builds_with = (_TENSORRT,)
    runs_with = (_TENSORRT, _CUDA)

    def obstacles(self, ops: Sequence[OpUse], target: Target) -> list[Obstacle]:
        """Return the string and table operations, some of which ONNX holds."""
        return host_obstacles(ops, "TensorRT")

    def export(self, task: ExportTask) -> Artifact:
        """Build and write the engine."""
        onnx = require_artifact(task.source)
        builder_name = choose_builder()
        trt = importlib.import_module(builder_name)
        log = _Log(trt)
        builder = trt.Builder(log.logger)
        typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        network = builder.create_network(typed)
        parser = trt.OnnxParser(network, log.logger)
        if not parser.parse_from_file(str(onnx.path)):
            raise _refused(parser)
        config = builder.create_builder_config()
        # float32 means float32: TF32 would lose 13 bits of each product.
        config.clear_flag(trt.BuilderFlag.TF32)
        if onnx.spec.bounds:
            config.add_optimization_profile(_profile(builder, onnx.spec))
        engine = builder.build_serialized_network(network, config)
        if engine is None:
            raise _failed(
                f"the builder gives no engine: {log.text()}",
                "leave the target out, or try another version of TensorRT; the onnx artifact is "
                "not affected",
            )
        task.path.write_bytes(engine)
        return Artifact(
            self.name,
            task.path,
            onnx.spec,
            "fp32",
            {
                "builder": builder_name,
                "version": trt.__version__,
                **format_names(choose_names(onnx.spec)),
            },
        )

    def machine_problem(self) -> str | None:
        """Return why there is no usable GPU."""
        return gpu_problem()

    def snippets(self) -> Mapping[str, Callable[[Artifact], str]]:
        """Return programs that run an artifact, by language, for `hubopt snippet`."""
        from hubopt_exporters.snippets.tensorrt import SNIPPETS

        return SNIPPETS

    def runner(self, artifact: Artifact) -> TensorRTRunner:
        """Load the engine on the GPU."""
        problem = gpu_problem()
        if problem is not None:
            raise not_runnable(
                artifact,
                problem,
                "an NVIDIA GPU that TensorRT supports",
                "run `hubopt verify BUNDLE --target trt` on a machine that has one",
            )
        builder = str(artifact.details["builder"])
        if not importlib.util.find_spec(builder):
            raise not_runnable(
                artifact,
                f"it was built with {builder}, which is not installed here",
                f"{builder} {artifact.details['version']}",
                "install that, or export on this machine",
            )
        return TensorRTRunner(artifact)


def _profile(builder: Any, spec: ModelSpec) -> Any:
    """Return the profile with the min, opt and max shape of each dynamic input."""
    sizes = [
        dict(zip(spec.bounds, picked, strict=True))
        for picked in zip(*((b.min, b.opt, b.max) for b in spec.bounds.values()), strict=True)
    ]
    profile = builder.create_optimization_profile()
    for tensor in spec.inputs:
        if not tensor.is_static:
            profile.set_shape(tensor.name, *(tensor.shape_at(size) for size in sizes))
    return profile


def choose_builder() -> str:
    """Return the module to build with: ``tensorrt`` where it can run, else ``tensorrt_rtx``."""
    problem = gpu_problem()
    if problem is None and importlib.util.find_spec("tensorrt"):
        return "tensorrt"
    if importlib.util.find_spec("tensorrt_rtx"):
        return "tensorrt_rtx"
    raise _failed(
        f"tensorrt is installed, but needs a GPU to build: {problem}",
        f"TensorRT for RTX builds without one: {_INSTALL}",
    )


def _refused(parser: Any) -> ExportError:
    """Return the error for an ONNX model that the parser refuses; log all that it says."""
    errors = [parser.get_error(at) for at in range(parser.num_errors)]
    for error in errors:
        _log.error("%s (%s): %s", error.node_operator(), error.node_name(), error.desc())
    first = errors[0]
    cause = f"{first.node_operator()} ({first.node_name()}): {first_cause(first.desc())}"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return _failed(
        f"the parser refuses {cause}{more}",
        "leave the target out, or try another version of TensorRT; the onnx artifact is not "
        "affected",
    )


def _failed(found: str, way_out: str = "export again on the machine that runs it") -> ExportError:
    return ExportError("trt artifact", found, "an engine", way_out)


class _Log:
    """Logs the errors that TensorRT reports; the first one goes into our own error's text."""

    def __init__(self, trt: Any) -> None:
        lines: list[str] = []
        worth_keeping = (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR)

        class Logger(trt.ILogger):  # type: ignore[misc]  # the base class is not known earlier
            def log(self, severity: Any, message: str) -> None:
                if severity in worth_keeping:
                    _log.error("%s", message)
                    lines.append(message)

        self._lines = lines
        self.logger = Logger()

    def text(self) -> str:
        return first_cause(self._lines[0]) if self._lines else "TensorRT gives no reason"


class TensorRTRunner:
    """Runs an engine on the first GPU, from host memory to host memory."""

    device = "GPU"

    def __init__(self, artifact: Artifact) -> None:
        import numpy as np
        from cuda.bindings import runtime as cuda

        trt = importlib.import_module(str(artifact.details.get("builder") or choose_builder()))
        log = _Log(trt)
        self._cuda = cuda
        self._runtime = trt.Runtime(log.logger)
        self._engine = self._runtime.deserialize_cuda_engine(artifact.path.read_bytes())
        if self._engine is None:
            raise not_runnable(
                artifact,
                f"this GPU does not load the engine: {log.text()}",
                f"a GPU that {trt.__name__} {trt.__version__} supports",
                "export on the machine where the engine will run, with TensorRT itself where "
                "TensorRT for RTX does not support its GPU",
            )
        self._context = self._engine.create_execution_context()
        self._inputs = [spec.name for spec in artifact.spec.inputs]
        held = {self._engine.get_tensor_name(at) for at in range(self._engine.num_io_tensors)}
        renamed = parse_names(artifact.details, held.difference(self._inputs))
        self._names = {renamed.get(name, name): name for name in artifact.spec.output_names}
        self._outputs = list(self._names)
        if held != {*self._inputs, *self._outputs}:
            raise _failed(f"the engine's tensors are {sorted(held)}")
        self._stream = self._check(cuda.cudaStreamCreate())
        weakref.finalize(self, cuda.cudaStreamDestroy, self._stream)
        self._host: dict[str, Any] = {}
        self._device: dict[str, int] = {}
        for name in (*self._inputs, *self._outputs):
            dtype = trt.nptype(self._engine.get_tensor_dtype(name))
            array = np.empty(self._largest_shape(name, trt), dtype)
            address = self._check(cuda.cudaMalloc(max(array.nbytes, 1)))
            weakref.finalize(self, cuda.cudaFree, address)
            self._host[name], self._device[name] = array, address
            self._context.set_tensor_address(name, address)

    def _largest_shape(self, name: str, trt: Any) -> tuple[int, ...]:
        """Return the shape to allocate memory for: the profile's largest if it is dynamic.

        Inputs must come first, because the outputs' shapes follow from theirs.
        """
        shape = tuple(self._engine.get_tensor_shape(name))
        if self._engine.get_tensor_mode(name) != trt.TensorIOMode.INPUT:
            return tuple(self._context.get_tensor_shape(name))
        if -1 in shape:
            shape = tuple(self._engine.get_tensor_profile_shape(name, 0)[2])
            self._context.set_input_shape(name, shape)
        return shape

    def run(self, inputs: Tensors) -> dict[str, Any]:
        """Copy the inputs in, execute, copy the outputs out."""
        import numpy as np

        cuda = self._cuda
        for name in self._inputs:
            host = self._host[name].ravel()[: np.size(inputs[name])].reshape(np.shape(inputs[name]))
            np.copyto(host, inputs[name], casting="no")
            self._copy(self._device[name], host, to_device=True)
            if not self._context.set_input_shape(name, host.shape):
                raise _failed(f"the engine refuses input {name} of shape {host.shape}")
        if not self._context.execute_async_v3(int(self._stream)):
            raise _failed("the engine does not execute")
        self._check(cuda.cudaStreamSynchronize(self._stream))
        outputs = {}
        for name in self._outputs:
            shape = tuple(self._context.get_tensor_shape(name))
            host = self._host[name].ravel()[: math.prod(shape)].reshape(shape)
            self._copy(self._device[name], host, to_device=False)
            outputs[self._names[name]] = host.copy()
        return outputs

    def _copy(self, device: int, host: Any, to_device: bool) -> None:
        kinds = self._cuda.cudaMemcpyKind
        if to_device:
            kind = kinds.cudaMemcpyHostToDevice
            self._check(self._cuda.cudaMemcpy(device, host.ctypes.data, host.nbytes, kind))
        else:
            kind = kinds.cudaMemcpyDeviceToHost
            self._check(self._cuda.cudaMemcpy(host.ctypes.data, device, host.nbytes, kind))

    def _check(self, result: tuple[Any, ...]) -> Any:
        status, *values = result
        if status != self._cuda.cudaError_t.cudaSuccess:
            raise _failed(f"CUDA reports {status.name}")
        return values[0] if values else None
