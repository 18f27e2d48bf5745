"""`compare`: two bundles side by side, and which of their figures may be compared at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hubopt._util.short_repr import short_repr
from hubopt.bundles.bundle import Bundle, read_bundle
from hubopt.bundles.manifest import Manifest
from hubopt.bundles.results import Status, TargetResult
from hubopt.spec import format_shape

_MACHINE = ("platform", "processor", "cores", "gpus")
"""The entries of a manifest's environment that describe the machine; the others are packages."""

Numbers = tuple[float | None, float | None]
"""A figure in the first and in the second bundle; None where it has none."""


@dataclass(frozen=True, slots=True)
class TargetComparison:
    """One target in two bundles; every pair is (first bundle, second bundle).

    Attributes:
        target: Its id.
        status: Its verdict; None where the bundle does not have it.
        size_bytes: The artifact's size.
        p50_ms: The median latency. The two were measured in different runs.
        ratio_to_layer: The artifact's time over the layer's, measured in turn.
        share_of_tolerance: The largest share of the tolerance that an output used.
        max_abs_error: The largest absolute difference, by output.
        size_ratio: The second size over the first.
        time_ratio: The second ``ratio_to_layer`` over the first; None where the two do not
            compare.
    """

    target: str
    status: tuple[Status | None, Status | None]
    size_bytes: tuple[int | None, int | None]
    p50_ms: Numbers
    ratio_to_layer: Numbers
    share_of_tolerance: Numbers
    max_abs_error: Mapping[str, Numbers]
    size_ratio: float | None
    time_ratio: float | None


@dataclass(frozen=True, slots=True)
class BundleComparison:
    """Two bundles side by side.

    Attributes:
        first: The first bundle's folder.
        second: The second one's.
        same_model: Whether both were made from one model, by its digest.
        same_inputs: Whether inputs and outputs have the same names, dtypes and shapes.
        same_samples: Whether both were judged on the same samples. If not, their errors do not
            compare.
        same_machine: Whether both were measured on one kind of machine. If not, their times do
            not compare.
        notes: What differs, one sentence each.
        targets: The targets of both.
    """

    first: str
    second: str
    same_model: bool
    same_inputs: bool
    same_samples: bool
    same_machine: bool
    notes: tuple[str, ...]
    targets: tuple[TargetComparison, ...]

    __repr__ = short_repr

    @property
    def compares_times(self) -> bool:
        """Whether times of the two bundles compare."""
        return self.same_machine and self.same_inputs

    @property
    def compares_errors(self) -> bool:
        """Whether errors of the two bundles compare."""
        return self.same_samples and self.same_inputs


def compare(
    first: Bundle | str | os.PathLike[str], second: Bundle | str | os.PathLike[str]
) -> BundleComparison:
    """Compare the results of two bundles; nothing is run.

    Args:
        first: A bundle or its folder.
        second: Another one.

    Raises:
        BundleError: One of them is no bundle.
    """
    bundles = [
        one if isinstance(one, Bundle) else read_bundle(Path(one)) for one in (first, second)
    ]
    ours, theirs = (bundle.manifest for bundle in bundles)
    same_model = ours.digest is not None and ours.digest == theirs.digest
    same_inputs = _interface(ours) == _interface(theirs)
    same_samples = ours.inputs_sha256 == theirs.inputs_sha256
    same_machine = _machine(ours) == _machine(theirs)
    names = dict.fromkeys((*ours.targets, *theirs.targets))
    targets = tuple(
        _target(
            name,
            ours.targets.get(name),
            theirs.targets.get(name),
            same_machine and same_inputs,
        )
        for name in names
    )
    return BundleComparison(
        str(bundles[0].path),
        str(bundles[1].path),
        same_model,
        same_inputs,
        same_samples,
        same_machine,
        tuple(_notes(ours, theirs)),
        targets,
    )


def _notes(ours: Manifest, theirs: Manifest) -> Iterator[str]:
    if ours.digest is None or theirs.digest is None:
        yield "whether it is the same model is not known: one was made from code, without a digest"
    elif ours.digest != theirs.digest:
        yield f"other models: {ours.handle} and {theirs.handle}"
    if _interface(ours) != _interface(theirs):
        yield f"other inputs or outputs: {_listing(ours)} and {_listing(theirs)}"
    if ours.inputs_sha256 != theirs.inputs_sha256:
        yield "other samples: the errors do not compare"
    elif ours.reference_sha256 != theirs.reference_sha256:
        yield "the layer's own answers to the same samples differ"
    first, second = _machine(ours), _machine(theirs)
    if first != second:
        keys = [key for key in _MACHINE if first.get(key) != second.get(key)]
        pairs = [(key, *_values(key, ours, theirs)) for key in keys]
        differing = ", ".join(f"{key} {one!r} and {other!r}" for key, one, other in pairs)
        yield f"another machine: the times do not compare ({differing})"
    packages = sorted(
        name
        for name in {**ours.environment, **theirs.environment}
        if name not in _MACHINE and ours.environment.get(name) != theirs.environment.get(name)
    )
    if packages:
        pairs = [(name, *_values(name, ours, theirs)) for name in packages]
        listing = ", ".join(f"{name} {one} and {other}" for name, one, other in pairs)
        yield f"other versions: {listing}"
    if ours.tolerances != theirs.tolerances:
        yield "other tolerances: the verdicts and the shares of the tolerance do not compare"


def _values(key: str, ours: Manifest, theirs: Manifest) -> tuple[str, str]:
    return ours.environment.get(key, "none"), theirs.environment.get(key, "none")


def _target(
    name: str, one: TargetResult | None, other: TargetResult | None, timed: bool
) -> TargetComparison:
    both = (one, other)
    sizes = tuple(result.size_bytes if result else None for result in both)
    p50, ratios = zip(*map(_times, both), strict=True)
    outputs = dict.fromkeys(name for result in both for name in _errors(result))
    same_device = one is not None and other is not None and one.device == other.device
    return TargetComparison(
        target=name,
        status=(one.status if one else None, other.status if other else None),
        size_bytes=(sizes[0], sizes[1]),
        p50_ms=(p50[0], p50[1]),
        ratio_to_layer=(ratios[0], ratios[1]),
        share_of_tolerance=(_share(one), _share(other)),
        max_abs_error={
            name: (_errors(one).get(name), _errors(other).get(name)) for name in outputs
        },
        size_ratio=_quotient(sizes[0], sizes[1]),
        time_ratio=_quotient(ratios[0], ratios[1]) if timed and same_device else None,
    )


def _times(result: TargetResult | None) -> Numbers:
    latency = result.latency if result else None
    return (latency.artifact.p50_ms, latency.ratio) if latency else (None, None)


def _errors(result: TargetResult | None) -> dict[str, float]:
    parity = result.parity if result else None
    return {output.name: output.max_abs for output in parity.outputs} if parity else {}


def _share(result: TargetResult | None) -> float | None:
    parity = result.parity if result else None
    return max((output.worst for output in parity.outputs), default=None) if parity else None


def _quotient(first: float | None, second: float | None) -> float | None:
    return second / first if first and second is not None else None


def _machine(manifest: Manifest) -> dict[str, str]:
    return {key: manifest.environment[key] for key in _MACHINE if key in manifest.environment}


def _interface(manifest: Manifest) -> object:
    spec = manifest.spec
    return (
        [(one.name, one.dtype, one.named_shape) for one in (*spec.inputs, *spec.outputs)],
        dict(spec.bounds),
    )


def _listing(manifest: Manifest) -> str:
    return ", ".join(
        f"{one.name} {format_shape(one.named_shape)}"
        for one in (*manifest.spec.inputs, *manifest.spec.outputs)
    )
