"""hubopt's values as the JSON that ``--json`` prints and ``hubopt.json`` holds."""

from __future__ import annotations

from typing import Any

from hubopt._util.serialization import to_json
from hubopt.bundles.bundle import Bundle
from hubopt.bundles.manifest import Manifest
from hubopt.bundles.results import NOTHING, Accepted, TargetResult, exit_code
from hubopt.errors import HuboptError, NothingExportedError
from hubopt.parity import TABLE


def results_document(
    results: tuple[TargetResult, ...], bundle: Bundle, accepted: Accepted = NOTHING
) -> str:
    """Return the JSON of an export, a verification or a benchmark."""
    document: dict[str, Any] = {
        "bundle": str(bundle.path),
        "exit_code": exit_code(results, accepted),
        "reference": _reference(bundle.manifest),
        "cached": bundle.manifest.cached,
        "targets": {result.target: _with_figures(result) for result in results},
    }
    return to_json(document)


def error_document(error: HuboptError) -> str:
    """Return the JSON of an error that ended a command."""
    document: dict[str, Any] = {
        "exit_code": error.exit_code,
        "error": {
            "type": type(error).__name__,
            "thing": error.thing,
            "found": error.found,
            "expected": error.expected,
            "way_out": error.way_out,
        },
    }
    if isinstance(error, NothingExportedError):
        results = [result for result in error.results if isinstance(result, TargetResult)]
        document["targets"] = {result.target: _with_figures(result) for result in results}
    return to_json(document)


def tolerances_document() -> str:
    """Return the table of tolerances as JSON, by class."""
    return to_json(TABLE)


def _reference(manifest: Manifest) -> dict[str, Any]:
    """Return the samples of the reference, and how steady the layer is."""
    quality = manifest.reference
    return {
        "effort": manifest.effort,
        "samples": manifest.samples,
        "left_out": manifest.left_out,
        "deviations": {
            variant: {name: max(one.largest for one in sizes) for name, sizes in by_output.items()}
            for variant, by_output in quality.deviations.items()
        },
        "culprits": quality.culprits,
        "ties": quality.ties,
        "noise": quality.level,
        "not_measured": quality.skipped,
        "units": quality.units,
        "inactive_units": quality.inactive,
        "weights": quality.weights,
        "undetected_sign_flips": quality.undetected,
    }


def _with_figures(result: TargetResult) -> dict[str, Any]:
    """Return a result with the figures that are computed from its raw measurements."""
    latency = result.latency
    return {
        "status": result.status,
        "exporter": result.exporter,
        "precision": result.precision,
        "options": result.options,
        "stage": result.stage,
        "reason": result.reason,
        "cached": result.cached,
        "device": result.device,
        "path": result.path,
        "sha256": result.sha256,
        "size_bytes": result.size_bytes,
        "max_abs_error": {output.name: output.max_abs for output in result.parity.outputs}
        if result.parity
        else None,
        "sqnr_db": {output.name: output.sqnr_db for output in result.parity.outputs}
        if result.parity
        else None,
        "share_of_tolerance": {output.name: output.worst for output in result.parity.outputs}
        if result.parity
        else None,
        "load_ms": latency.artifact.load_ms if latency else None,
        "first_ms": latency.artifact.first_ms if latency else None,
        "p50_ms": latency.artifact.p50_ms if latency else None,
        "p95_ms": latency.artifact.p95_ms if latency else None,
        "layer_p50_ms": latency.layer.p50_ms if latency and latency.layer else None,
        "ratio_to_layer": latency.ratio if latency else None,
        "result": result,
    }
