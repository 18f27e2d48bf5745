"""The part of the line that runs once for each target: artifact, parity, latency."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias

from hubopt._util.digest import sha256, size_bytes
from hubopt.bundles.manifest import FAILED, LOGS
from hubopt.bundles.results import TargetResult, Verdict
from hubopt.errors import HuboptError
from hubopt.exporter import (
    PROGRAM,
    Artifact,
    Exporter,
    Obstacle,
    Options,
    Program,
    Source,
)
from hubopt.progress import Progress
from hubopt.reference.kit import Kit
from hubopt.reference.reference import Reference
from hubopt.runs.converting import Converter
from hubopt.runs.examine import Baseline, examine
from hubopt.runs.obstacles import tell

Outcome: TypeAlias = "tuple[TargetResult, Artifact | None]"
"""What became of a target, and its artifact if others may start from it."""


@dataclass(frozen=True, slots=True)
class Line:
    """What every target of one export shares.

    Attributes:
        folder: The bundle in the making.
        program: The traced layer.
        options: What the exporters may be asked.
        reference: The samples, what the layer gives for them, and how steady that is.
        baseline: Gives what artifacts are timed against; None for no timing.
        converter: Writes artifacts.
        progress: Told what begins.
        stage: Given an exporter, its source and what makes the target, gives what an earlier
            export made of it, or calls that.
        keep_failed: Whether to keep an artifact that does not agree with the layer.
        allow_ops: Operations that the user allowed although they reach outside of the model.
    """

    folder: Path
    program: Program
    options: Options
    reference: Reference
    baseline: Callable[[], Baseline | None]
    converter: Converter
    progress: Progress
    stage: Callable[[Exporter, Source, Callable[[], Outcome]], Outcome]
    keep_failed: bool = False
    allow_ops: tuple[str, ...] = ()


def run_targets(
    line: Line, exporters: Sequence[Exporter], obstacles: Mapping[str, Sequence[Obstacle]]
) -> tuple[TargetResult, ...]:
    """Export to every target, sources first; one target's failure does not stop the others."""
    artifacts: dict[str, Artifact] = {}
    results: dict[str, TargetResult] = {}
    judged_on: dict[str, Kit] = {}
    for exporter in exporters:
        name = exporter.name
        source = _source(line, exporter, artifacts)
        if obstacles[name]:
            results[name] = TargetResult(name, "failed", "obstacles", tell(obstacles[name]))
        elif source is None:
            reason = f"it starts from the {exporter.source} artifact, which failed"
            results[name] = TargetResult(name, "failed", "source", reason)
        else:
            make = partial(_run_target, line, exporter, source)
            results[name], artifact = line.stage(exporter, source, make)
            if artifact is not None:
                artifacts[name] = artifact
                judged_on[name] = line.reference.kit()
    # A later target may have needed a deeper look at the layer: all verdicts are to be on that.
    while late := [each for each in exporters if _is_late(line, judged_on, each.name)]:
        for exporter in late:
            name = exporter.name
            source = _source(line, exporter, artifacts)
            assert source is not None
            artifact = artifacts[name]
            again = partial(_judge_again, line, exporter, artifact, results[name])
            results[name], kept = line.stage(exporter, source, again)
            judged_on[name] = line.reference.kit()
            if kept is None:
                del judged_on[name]
    return tuple(results[each.name] for each in exporters)


def _source(line: Line, exporter: Exporter, artifacts: Mapping[str, Artifact]) -> Source | None:
    return line.program if exporter.source == PROGRAM else artifacts.get(exporter.source)


def _is_late(line: Line, judged_on: Mapping[str, Kit], name: str) -> bool:
    return name in judged_on and judged_on[name] is not line.reference.kit()


def _run_target(line: Line, exporter: Exporter, source: Source) -> Outcome:
    """Convert, verify and time one target; leave no artifact behind if it fails."""
    name = exporter.name
    log = line.folder / LOGS / f"{name}.log"
    home = line.folder / name
    path = home / f"model{exporter.suffix}" if exporter.suffix else home
    if exporter.suffix:
        home.mkdir()
    try:
        with line.progress(f"{name}: export"):
            artifact, seconds = line.converter.convert(name, source, path, line.options, log)
    except HuboptError as error:
        shutil.rmtree(home, ignore_errors=True)
        return TargetResult(name, "failed", "export", f"{error.found}; {error.way_out}"), None
    baseline = line.baseline()
    # Where nothing is timed, the artifact is loaded while the layer still answers, and what it
    # takes to tell it from others is read meanwhile.
    with ThreadPoolExecutor(1) as beside:
        identity = beside.submit(_identify, artifact) if baseline is None else None
        with line.progress(f"{name}: verify" + (" and time" if baseline else "")):
            verdict = examine(artifact, line.reference, log, baseline, line.allow_ops)
    result = TargetResult(
        name,
        verdict.status,
        export_s=seconds,
        tolerance=artifact.tolerance,
        details=artifact.details,
    )
    known = identity.result() if identity else _identify(artifact)
    return _settle(line, exporter, artifact, result, verdict, known)


def _judge_again(
    line: Line, exporter: Exporter, artifact: Artifact, result: TargetResult
) -> Outcome:
    """Judge a target that stands in the bundle on what is known of the layer by now."""
    log = line.folder / LOGS / f"{exporter.name}.log"
    with line.progress(f"{exporter.name}: verify again, by what is known of the layer now"):
        verdict = examine(artifact, line.reference, log, allow_ops=line.allow_ops)
    verdict = replace(verdict, latency=result.latency)
    known = _identify(artifact)
    return _settle(line, exporter, artifact, replace(result, cached=None), verdict, known)


class _Identity(NamedTuple):
    """An artifact's digest, those of its companions by name, and the size of all."""

    sha256: str
    companions: dict[str, str]
    size_bytes: int


def _identify(artifact: Artifact) -> _Identity:
    path = artifact.path
    beside = {each: path.with_name(each) for each in artifact.companions}
    return _Identity(
        sha256(path),
        {each: sha256(file) for each, file in beside.items()},
        sum(map(size_bytes, (path, *beside.values()))),
    )


def _settle(
    line: Line,
    exporter: Exporter,
    artifact: Artifact,
    result: TargetResult,
    verdict: Verdict,
    known: _Identity,
) -> Outcome:
    """Keep the artifact or remove it, as the verdict is."""
    name, path = exporter.name, artifact.path
    home = line.folder / name
    result = result.judged(verdict)
    failed = result.status == "failed"
    if failed and not (line.keep_failed and result.stage == "parity"):
        shutil.rmtree(home, ignore_errors=True)
        return replace(result, path=None, sha256=None, companions={}, size_bytes=None), None
    if failed:
        (line.folder / FAILED).mkdir(exist_ok=True)
        kept = line.folder / FAILED / name
        path = kept / path.relative_to(home)
        home.rename(kept)
    place = path.relative_to(line.folder).as_posix()
    stored = replace(result, path=place, **known._asdict())
    return stored, None if failed else artifact
