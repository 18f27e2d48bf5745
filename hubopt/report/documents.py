"""The documents that ``--json`` prints, as values; `hubopt.report.json_schema` describes them.

A document also has the keys ``schema_version`` and ``verb``, see `hubopt.report.document`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hubopt.bundles.results import Stage, Status, TargetResult
from hubopt.parity import Parity
from hubopt.parity.tolerance import Entry

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class ReferenceFigures:
    """The samples of the reference, and how steady the layer is.

    Attributes:
        effort: How much was measured.
        samples: The kind of each sample.
        left_out: Edge cases that were drawn and left out, and why.
        deviations: The layer's largest deviation, by variant and output.
        culprits: The operation that a variant computes wrong, by variant.
        ties: The samples on which the layer's own order of an output is a tie, by output.
        noise: How much of the layer's noise is known.
        not_measured: Why a variant could not be computed.
        units: How many rectified units the graph has.
        inactive_units: How many of them no sample activates.
        weights: How many weights were examined.
        undetected_sign_flips: How many could change sign without exceeding the tolerance.
    """

    effort: str
    samples: tuple[str, ...]
    left_out: Mapping[str, str]
    deviations: Mapping[str, Mapping[str, float]]
    culprits: Mapping[str, str]
    ties: Mapping[str, tuple[int, ...]]
    noise: str
    not_measured: Mapping[str, str]
    units: int
    inactive_units: int
    weights: int
    undetected_sign_flips: int


@dataclass(frozen=True, slots=True)
class TargetFigures:
    """One target: its verdict and the figures computed from its measurements.

    Attributes:
        status: ``verified``, ``vacuous``, ``unverified`` or ``failed``.
        exporter: The name of its exporter.
        precision: The precision that the artifact computes in.
        options: The exporter's options.
        stage: The stage that failed.
        reason: Why it is not verified, or a note on the verdict.
        cached: When it was made, if an earlier export made it.
        device: The device it ran on.
        path: The artifact's path relative to the bundle.
        sha256: The artifact's digest.
        size_bytes: The artifact's size.
        max_abs_error: The largest absolute difference, by output.
        sqnr_db: The smallest signal-to-noise ratio in decibels, by output.
        share_of_tolerance: The largest share of the tolerance that was used, by output.
        load_ms: How long loading took.
        first_ms: How long the first call took.
        p50_ms: The median of the later calls.
        p95_ms: Their 95th percentile.
        layer_p50_ms: The median of the eager layer's calls.
        ratio_to_layer: The artifact's time over the layer's.
        result: The result as the bundle holds it; raw measurements only with ``--raw``.
    """

    status: Status
    exporter: str
    precision: str
    options: Mapping[str, Scalar]
    stage: Stage | None
    reason: str | None
    cached: str | None
    device: str | None
    path: str | None
    sha256: str | None
    size_bytes: int | None
    max_abs_error: Mapping[str, float] | None
    sqnr_db: Mapping[str, float] | None
    share_of_tolerance: Mapping[str, float] | None
    load_ms: float | None
    first_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    layer_p50_ms: float | None
    ratio_to_layer: float | None
    result: TargetResult


@dataclass(frozen=True, slots=True)
class Results:
    """An export, a verification or a benchmark of a bundle.

    Attributes:
        bundle: The bundle's folder.
        exit_code: The command's exit code.
        reference: The samples and the layer.
        cached: When the program and the reference were made, if an earlier export made them.
        targets: Each target, by its id.
    """

    bundle: str
    exit_code: int
    reference: ReferenceFigures
    cached: Mapping[str, str]
    targets: Mapping[str, TargetFigures]


@dataclass(frozen=True, slots=True)
class FileVerdict:
    """A file from anywhere, compared with a model.

    Attributes:
        artifact: The file or folder.
        handle: The model.
        exit_code: The command's exit code.
        status: ``verified``, ``vacuous``, ``unverified`` or ``failed``.
        max_abs_error: The largest absolute difference, by output.
        sqnr_db: The smallest signal-to-noise ratio in decibels, by output.
        share_of_tolerance: The largest share of the tolerance that was used, by output.
        parity: The verdict; raw measurements only with ``--raw``.
    """

    artifact: str
    handle: str
    exit_code: int
    status: Status
    max_abs_error: Mapping[str, float]
    sqnr_db: Mapping[str, float]
    share_of_tolerance: Mapping[str, float]
    parity: Parity


@dataclass(frozen=True, slots=True)
class ErrorFields:
    """What ended a command.

    Attributes:
        type: The class of the error.
        thing: What it is about.
        found: What was found.
        expected: What should have been found.
        way_out: What the user can do about it.
    """

    type: str
    thing: str
    found: str
    expected: str
    way_out: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A command that ended with an error; standard error has the same in words.

    Attributes:
        exit_code: The command's exit code.
        error: What ended it.
        targets: The result of each target, if an export wrote none of them.
    """

    exit_code: int
    error: ErrorFields
    targets: Mapping[str, TargetFigures] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TensorValues:
    """One output of a run.

    Attributes:
        dtype: Its dtype.
        shape: Its shape.
        values: Its values as nested lists; None if they were written to a file.
    """

    dtype: str
    shape: tuple[int, ...]
    values: Any


@dataclass(frozen=True, slots=True)
class RunOutputs:
    """What an artifact answers.

    Attributes:
        artifact: The file or folder that ran.
        target: The target whose runtime ran it.
        device: The device it ran on.
        output: The file that the values were written to; None if they are in ``samples``.
        samples: The outputs of each sample, by name.
    """

    artifact: str
    target: str
    device: str | None
    output: str | None
    samples: tuple[Mapping[str, TensorValues], ...]


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """An installed exporter.

    Attributes:
        target: Its name.
        builds: Whether the packages that build artifacts are installed.
        runs: Whether artifacts can run here.
        machine_problem: Why this machine cannot run them although the packages are there.
        source: What it starts from.
        summary: What it writes.
        precisions: The precisions that it computes in.
        options: Its options, by name.
        found: The installed packages that it needs.
        install: The commands that install what is missing.
    """

    target: str
    builds: bool
    runs: bool
    machine_problem: str | None
    source: str
    summary: str
    precisions: tuple[str, ...]
    options: Mapping[str, Mapping[str, Scalar]]
    found: tuple[str, ...]
    install: str


@dataclass(frozen=True, slots=True)
class Targets:
    """The installed exporters, or the one that was asked for.

    Attributes:
        targets: Each exporter, by its name.
    """

    targets: Mapping[str, TargetInfo]


@dataclass(frozen=True, slots=True)
class Tolerances:
    """The table of tolerances.

    Attributes:
        classes: The bounds of each class, by its name.
    """

    classes: Mapping[str, Entry]


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One stage result that exports have kept.

    Attributes:
        key: The digest of everything that it depends on.
        kind: What it is.
        handle: The model that it was made from.
        target: The target; None for what all targets share.
        made: When it was made, in UTC.
        machine: The name of the machine that made it.
        size_bytes: Its size.
        used: When it was last used, in UTC; None once it is removed.
    """

    key: str
    kind: str
    handle: str
    target: str | None
    made: str
    machine: str
    size_bytes: int
    used: str | None = None


@dataclass(frozen=True, slots=True)
class CacheListing:
    """The cache of stage results.

    Attributes:
        folder: Where it is.
        size_bytes: The size of all entries.
        limit_bytes: How large it may become.
        entries: The entries.
    """

    folder: str
    size_bytes: int
    limit_bytes: int
    entries: tuple[CacheEntry, ...]


@dataclass(frozen=True, slots=True)
class CacheCleared:
    """The entries that were removed from the cache.

    Attributes:
        folder: Where it is.
        size_bytes: The size of what was removed.
        removed: The removed entries.
    """

    folder: str
    size_bytes: int
    removed: tuple[CacheEntry, ...]
