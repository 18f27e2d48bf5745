"""hubopt's values as the JSON that ``--json`` prints; `hubopt schema` describes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hubopt._util.serialization import plain, to_json
from hubopt.bundles.bundle import Bundle
from hubopt.bundles.manifest import Manifest
from hubopt.bundles.results import NOTHING, Accepted, TargetResult, exit_code
from hubopt.errors import EXIT_INTERNAL, HuboptError, NothingExportedError
from hubopt.parity import TABLE, Parity
from hubopt.report.documents import (
    ErrorFields,
    Failure,
    FileVerdict,
    ReferenceFigures,
    Results,
    TargetFigures,
    Tolerances,
)

SCHEMA_VERSION = 1
"""The version of all documents. A key that is added leaves it as it is; a key that is removed, or
that changes its meaning or its type, raises it."""
RAW: Mapping[str, frozenset[str]] = {
    "Timing": frozenset({"rounds_ms"}),
    "OutputParity": frozenset({"differences", "from_float64", "deviations", "bases"}),
}
"""The fields, by class, that hold raw measurements: only ``--raw`` prints them."""


def document(verb: str, value: Any) -> str:
    """Return the JSON document of a verb.

    Args:
        verb: The verb, such as ``export``.
        value: A dataclass or a mapping; its keys become the document's.
    """
    return to_json({"schema_version": SCHEMA_VERSION, "verb": verb, **plain(value)})


def results_document(
    verb: str,
    results: tuple[TargetResult, ...],
    bundle: Bundle,
    accepted: Accepted = NOTHING,
    raw: bool = False,
) -> str:
    """Return the JSON of an export, a verification or a benchmark."""
    value = Results(
        bundle=str(bundle.path),
        exit_code=exit_code(results, accepted),
        reference=_reference(bundle.manifest),
        cached=bundle.manifest.cached,
        targets={result.target: _with_figures(result) for result in results},
    )
    return document(verb, value if raw else _without_raw(plain(value)))


def parity_document(
    parity: Parity, artifact: str, handle: str, code: int, raw: bool = False
) -> str:
    """Return the JSON of the comparison of a file with a model."""
    value = FileVerdict(artifact, handle, code, parity.status, **_errors(parity), parity=parity)
    return document("verify", value if raw else _without_raw(plain(value)))


def error_document(verb: str, error: Exception) -> str:
    """Return the JSON of an error that ended a command; any other error is a defect of hubopt."""
    name = type(error).__name__
    if not isinstance(error, HuboptError):
        fields = ErrorFields(
            name, "hubopt", f"{name}: {error}", "no defect", "report it; see standard error"
        )
        return document(verb, Failure(EXIT_INTERNAL, fields))
    results = error.results if isinstance(error, NothingExportedError) else ()
    failure = Failure(
        error.exit_code,
        ErrorFields(name, error.thing, error.found, error.expected, error.way_out),
        {
            result.target: _with_figures(result)
            for result in results
            if isinstance(result, TargetResult)
        },
    )
    return document(verb, _without_raw(plain(failure)))


def tolerances_document() -> str:
    """Return the table of tolerances as JSON, by class."""
    return document("tolerances", Tolerances({str(name): entry for name, entry in TABLE.items()}))


def _reference(manifest: Manifest) -> ReferenceFigures:
    """Return the samples of the reference, and how steady the layer is."""
    quality = manifest.reference
    return ReferenceFigures(
        effort=manifest.effort,
        samples=manifest.samples,
        left_out=manifest.left_out,
        deviations={
            variant: {name: max(one.largest for one in sizes) for name, sizes in by_output.items()}
            for variant, by_output in quality.deviations.items()
        },
        culprits=quality.culprits,
        ties=quality.ties,
        noise=quality.level,
        not_measured=quality.skipped,
        units=quality.units,
        inactive_units=quality.inactive,
        weights=quality.weights,
        undetected_sign_flips=quality.undetected,
    )


def _with_figures(result: TargetResult) -> TargetFigures:
    """Return a result with the figures that are computed from its raw measurements."""
    latency, parity = result.latency, result.parity
    none: Mapping[str, Any] = dict.fromkeys(("max_abs_error", "sqnr_db", "share_of_tolerance"))
    return TargetFigures(
        status=result.status,
        exporter=result.exporter,
        precision=result.precision,
        options=result.options,
        stage=result.stage,
        reason=result.reason,
        cached=result.cached,
        device=result.device,
        path=result.path,
        sha256=result.sha256,
        size_bytes=result.size_bytes,
        **(_errors(parity) if parity else none),
        load_ms=latency.artifact.load_ms if latency else None,
        first_ms=latency.artifact.first_ms if latency else None,
        p50_ms=latency.artifact.p50_ms if latency else None,
        p95_ms=latency.artifact.p95_ms if latency else None,
        layer_p50_ms=latency.layer.p50_ms if latency and latency.layer else None,
        ratio_to_layer=latency.ratio if latency else None,
        result=result,
    )


def _errors(parity: Parity) -> dict[str, Any]:
    """Return the errors of each output."""
    return {
        "max_abs_error": {output.name: output.max_abs for output in parity.outputs},
        "sqnr_db": {output.name: output.sqnr_db for output in parity.outputs},
        "share_of_tolerance": {output.name: output.worst for output in parity.outputs},
    }


def _without_raw(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document without the fields of `RAW`."""
    found = dict(raw)
    for figures in found.get("targets", {}).values():
        _drop(figures["result"])
    if "parity" in found:
        _drop(found)
    return found


def _drop(result: dict[str, Any]) -> None:
    """Remove the raw measurements from a plain result, in place."""
    latency = result.get("latency") or {}
    for timing in filter(None, (latency.get("artifact"), latency.get("layer"))):
        for name in RAW["Timing"]:
            timing.pop(name)
    for output in (result["parity"] or {}).get("outputs", ()):
        for name in RAW["OutputParity"]:
            output.pop(name)
