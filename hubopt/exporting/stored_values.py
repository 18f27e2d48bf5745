"""The stored forms of an artifact, a run and a reference set, and their checks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TypeVar

from hubopt._util.serialization import from_json, plain
from hubopt.bundles.schema_parity import reference_problems
from hubopt.bundles.stage_store import Entry, StageStore
from hubopt.exporter import Program, ToleranceClass
from hubopt.latency.statistics import Latency
from hubopt.parity.ties import tie_number
from hubopt.reference.reference_set import INPUTS, OUTPUTS, ReferenceSet
from hubopt.sampling.arrays import sample_numbers
from hubopt.spec import ModelSpec

T = TypeVar("T")

_FLOAT64, _TIES = "float64.npz", "ties.npz"


@dataclass(frozen=True, slots=True)
class Traced:
    """The result of tracing.

    Attributes:
        program: The traced layer.
        signature: The signature that the layer calls, or None for the model's own call.
    """

    program: Program
    signature: str | None


@dataclass(frozen=True, slots=True)
class StoredArtifact:
    """A `Built` as it is stored, without paths outside the artifact's own folder."""

    path: str
    tolerance: ToleranceClass
    details: dict[str, str | int | float | bool]
    export_s: float
    sha256: str
    companions: dict[str, str]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A `Run` as it is stored."""

    device: str | None
    latency: Latency | None
    reason: str | None


def is_own_place(path: str, companions: Mapping[str, str]) -> bool:
    """Whether a stored path and its companions stay inside the artifact's own folder."""
    if any(PurePosixPath(name).parts != (name,) for name in companions):
        return False
    place = PurePosixPath(path)
    return ".." not in place.parts and not place.is_absolute()


def stored_problems(stored: ReferenceSet, spec: ModelSpec) -> Iterator[str]:
    """Yield the contradictions in a stored reference set of a model with this ``spec``."""
    if stored.spec != spec:
        yield "it is of another program"
    if not stored.kept or len(stored.kinds) != len(stored.kept):
        yield f"it names {len(stored.kept)} samples and {len(stored.kinds)} kinds"
    if len(set(stored.kept)) != len(stored.kept):
        yield "it names a sample twice"
    yield from reference_problems(stored.quality, spec, len(stored.kept))


def files_problem(known: ReferenceSet) -> str | None:
    """Return a sentence about the first file that lacks a sample; None if all are complete."""
    alternatives = zip(known.kept, known.quality.alternatives, strict=False)
    ties = {tie_number(kept, draw) for kept, count in alternatives for draw in range(count)}
    for file in reference_files(known).values():
        wanted = ties if file == known.ties else set(known.kept)
        if not wanted <= set(sample_numbers(file)):
            return f"{file.name} lacks a sample"
    return None


def reference_files(known: ReferenceSet) -> dict[str, Path]:
    """Return the files of a reference set, by their names in the store."""
    files = {INPUTS: known.inputs, OUTPUTS: known.outputs}
    optional = {_FLOAT64: known.float64, _TIES: known.ties}
    return files | {name: file for name, file in optional.items() if file}


def placed(known: ReferenceSet, folder: Path) -> ReferenceSet:
    """Return ``known`` with its files in ``folder``."""
    return replace(
        known,
        inputs=folder / INPUTS,
        outputs=folder / OUTPUTS,
        float64=folder / _FLOAT64 if known.float64 else None,
        ties=folder / _TIES if known.ties else None,
    )


def look_up(store: StageStore, key: str, kind: str, of: type[T]) -> tuple[Entry, T] | None:
    """Return an entry and its value; an entry of another kind is damaged and is removed."""
    found = store.look_up(key)
    if found is None:
        return None
    entry, value = found
    if entry.kind != kind:
        store.discard(key, f"it is a {entry.kind}, not a {kind}")
        return None
    try:
        return entry, from_json(value, of)
    except MemoryError:
        raise
    except Exception as error:  # cattrs raises groups of nearly every type there is
        store.discard(key, f"its value cannot be read: {type(error).__name__}: {error}")
        return None


def to_json(value: object) -> str:
    """Return a value in its stored form."""
    return json.dumps(plain(value), allow_nan=False)
