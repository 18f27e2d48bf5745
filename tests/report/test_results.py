"""The notes below the table of results: reasons, logs and what finds a fault."""

from __future__ import annotations

from pathlib import Path

from hubopt.bundles.results import TargetResult
from hubopt.report.terminal import results_table
from tests.report.printing import printed


def failed(target: str, stage: str, **more: object) -> TargetResult:
    return TargetResult(target, "failed", target, stage=stage, reason="why", **more)  # type: ignore[arg-type]


def test_the_log_of_a_new_bundle_is_named(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    for name in ("onnx", "tflite"):
        (tmp_path / "logs" / f"{name}.log").write_text("a wall of text")
    results = (failed("onnx", "export"), failed("tflite", "obstacles"))
    text = printed(results_table(results, tmp_path, is_new=True))
    assert f"onnx: the whole error is in {tmp_path / 'logs' / 'onnx.log'}" in text
    assert "tflite: the whole error" not in text, "nothing was converted"
    assert "the whole error" not in printed(results_table(results, tmp_path)), "it is of the export"


def test_a_failure_of_parity_says_what_finds_its_fault(tmp_path: Path) -> None:
    kept = failed("onnx", "parity", path="failed/onnx/model.onnx")
    text = printed(
        results_table((kept, failed("tflite", "parity"), failed("trt", "parity")), tmp_path)
    )
    assert f"onnx: `hubopt diagnose {tmp_path} -t onnx` finds where it deviates" in text
    assert (
        f"tflite: export with --keep-failed; then `hubopt diagnose {tmp_path} -t tflite` finds"
    ) in text
    assert "diagnose" not in text.partition("trt: parity: why")[2], "it has no probe"
