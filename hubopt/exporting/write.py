"""`write`: the artifacts to keep, the reference set and the manifest of a bundle."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from hubopt import registry
from hubopt._util.digest import sha256
from hubopt.bundles.manifest import FAILED, FLOAT64, INPUTS, REFERENCE, TIES, Manifest
from hubopt.bundles.results import TargetResult, Verdict, exit_code
from hubopt.errors import NothingExportedError
from hubopt.exporter import PROGRAM
from hubopt.exporting.prepare import Prepared, source_key
from hubopt.parity.ties import tie_number, tie_numbers
from hubopt.reference.reference_set import ReferenceSet
from hubopt.runs.advice import diagnosis_advice, keep_logs
from hubopt.runs.convert import Built
from hubopt.sampling.arrays import read_samples, sample_numbers, write_samples
from hubopt.spec import TensorSpec


def write(
    prepared: Prepared,
    reference: ReferenceSet,
    built: Mapping[str, Built],
    verdicts: Mapping[str, Verdict],
) -> Manifest:
    """Complete the bundle's folder, and return its manifest.

    Args:
        prepared: The prepared model.
        reference: The reference set of all verdicts.
        built: The outcome of each conversion, by target.
        verdicts: The verdict on each artifact, by target.

    Raises:
        NothingExportedError: No artifact may be kept.
    """
    folder = prepared.folder
    results: dict[str, TargetResult] = {}
    for name, artifact in built.items():
        source = registry.get(artifact.target.exporter).source
        if source != PROGRAM and _is_failed(results[source]) and artifact.artifact is not None:
            artifact = replace(
                artifact,
                artifact=None,
                stage="source",
                reason=f"it starts from the {source} artifact, which failed",
            )
            shutil.rmtree(folder / name, ignore_errors=True)
        result = _result(prepared, artifact, verdicts.get(name))
        if _is_failed(result) and artifact.artifact is not None:
            key = source_key(artifact.target, built) or PROGRAM
            prepared.cache.forget(artifact, key, reference)
        elif result.parity is not None:
            compared = result.parity.comparison(reference.kept)
            prepared.cache.keep_comparison(artifact, compared, reference)
        results[name] = _place(prepared, artifact, result)
    if not any(result.path for result in results.values()):
        raise _none_left(tuple(results.values()), folder)
    return _manifest(prepared, reference, results)


def _is_failed(result: TargetResult) -> bool:
    return result.status == "failed"


def _result(prepared: Prepared, built: Built, verdict: Verdict | None) -> TargetResult:
    """Return the result of a target, without the path of its artifact."""
    target, artifact = built.target, built.artifact
    result = TargetResult(
        target=target.id,
        status="failed",
        exporter=target.exporter,
        precision=target.precision,
        options=asdict(target.options),
        stage=built.stage,
        reason=built.reason,
    )
    if artifact is None or verdict is None:
        return result
    result = replace(
        result,
        export_s=built.export_s,
        tolerance=artifact.tolerance,
        details=artifact.details,
    )
    return replace(result.judged(verdict), cached=prepared.cache.cached.get(target.id))


def _place(prepared: Prepared, built: Built, result: TargetResult) -> TargetResult:
    """Keep the artifact, move it to ``failed/`` or remove it, depending on the verdict."""
    if built.artifact is None:
        return result
    folder = prepared.folder
    path, home = built.artifact.path, folder / built.target.id
    if _is_failed(result):
        if not prepared.request.keep_failed or result.stage != "parity":
            shutil.rmtree(home, ignore_errors=True)
            return result
        (folder / FAILED).mkdir(exist_ok=True)
        kept = folder / FAILED / built.target.id
        path = kept / path.relative_to(home)
        home.rename(kept)
    return replace(
        result,
        path=path.relative_to(folder).as_posix(),
        sha256=built.sha256,
        companions=built.companions,
        size_bytes=built.size_bytes,
    )


def _manifest(
    prepared: Prepared,
    reference: ReferenceSet,
    results: Mapping[str, TargetResult],
) -> Manifest:
    request, spec, folder = prepared.request, reference.spec, prepared.folder
    (folder / INPUTS).parent.mkdir()
    inputs = _write_kept(reference, reference.inputs, spec.inputs, folder / INPUTS)
    outputs = _write_kept(reference, reference.outputs, spec.outputs, folder / REFERENCE)
    wide = reference.float64
    float64 = _write_kept(reference, wide, spec.outputs, folder / FLOAT64) if wide else None
    ties = _write_ties(reference, folder / TIES)
    cached = prepared.cache.cached
    return Manifest(
        handle=prepared.handle,
        digest=prepared.digest,
        layer=replace(request.layer, signature=prepared.signature),
        allow_ops=request.load_policy.allow_ops,
        hints=request.hints,
        spec=spec,
        data=request.plan.source,
        seed=request.plan.seed,
        effort=request.plan.effort,
        samples=reference.kinds,
        left_out=dict(reference.left_out),
        inputs_sha256=inputs,
        reference_sha256=outputs,
        float64_sha256=float64,
        ties_sha256=ties,
        reference=reference.quality,
        tolerances=request.overrides,
        targets=dict(results),
        cached={name: made for name, made in cached.items() if name in ("trace", "reference")},
    )


def _write_kept(reference: ReferenceSet, file: Path, specs: Sequence[TensorSpec], to: Path) -> str:
    """Write the kept samples of ``file`` to the bundle, numbered from 0; return the digest."""
    if sample_numbers(file) == tuple(range(len(reference.kept))):
        shutil.move(file, to)
    else:
        write_samples(to, read_samples(file, specs, reference.kept))
    return sha256(to)


def _write_ties(reference: ReferenceSet, to: Path) -> str | None:
    """Write the layer's other answers, with samples numbered from 0; return the digest."""
    if reference.ties is None:
        return None
    counts = dict(zip(reference.kept, reference.quality.alternatives, strict=True))
    numbers = [tie_number(kept, draw) for kept in reference.kept for draw in range(counts[kept])]
    answers = read_samples(reference.ties, reference.spec.outputs, numbers)
    new = tie_numbers(reference.quality.alternatives)
    write_samples(to, dict(zip(new, answers, strict=True)))
    return sha256(to)


def _none_left(results: tuple[TargetResult, ...], folder: Path) -> NothingExportedError:
    log = keep_logs(results, folder)
    advice = [
        f"{result.target}: {text}" for result in results if (text := diagnosis_advice(result, None))
    ]
    log_note = [f"the whole errors are in {log}"] if log else []
    return NothingExportedError(
        "export",
        "no target gave an artifact that may be kept"
        + "".join(f"\n  - {result.target}: {result.stage}: {result.reason}" for result in results),
        "at least one artifact to write a bundle",
        "; ".join([*advice, *log_note, "nothing was written"]),
        results,
        exit_code(results),
    )
