"""`manifest_problems`: checks the values of a manifest.

A bundle is untrusted. `hubopt._util.serialization` checks the types when JSON becomes a
`Manifest`. This module checks the range of the values and their consistency, before any file that
the manifest names is opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import PurePosixPath, PureWindowsPath

from hubopt.bundles.manifest import FAILED, Manifest
from hubopt.bundles.results import TargetResult
from hubopt.bundles.schema_parity import latency_problems, parity_problems, reference_problems
from hubopt.parity.overrides import override_problem
from hubopt.spec import DTYPES, ModelSpec, TensorSpec

_DIGEST = re.compile(r"[0-9a-f]{64}")
_TARGET = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_MOST_SAMPLES = 100_000
_LARGEST_SIZE = 2**31 - 1
"""The largest size of a dimension: TensorFlow Lite and TensorRT use 32-bit sizes."""


def manifest_problems(manifest: Manifest) -> list[str]:
    """Return every value that hubopt would not write, one sentence per problem."""
    return [
        *_header_problems(manifest),
        *spec_problems(manifest.spec),
        *(
            problem
            for override in manifest.tolerances.entries
            if (problem := override_problem(override, manifest.spec.output_names))
        ),
        *reference_problems(manifest.reference, manifest.spec, len(manifest.samples)),
        *(
            f"target {name!r}: {problem}"
            for name, result in manifest.targets.items()
            for problem in target_problems(name, result, manifest.spec, len(manifest.samples))
        ),
    ]


def _header_problems(manifest: Manifest) -> Iterator[str]:
    digests = {
        "digest": manifest.digest,
        "float64_sha256": manifest.float64_sha256,
        "ties_sha256": manifest.ties_sha256,
    }
    yield from _digest_problems({name: text for name, text in digests.items() if text is not None})
    yield from _digest_problems(
        {"inputs_sha256": manifest.inputs_sha256, "reference_sha256": manifest.reference_sha256}
    )
    times = {"created": manifest.created, **manifest.cached}
    yield from (f"{name}: {time!r} is no time" for name, time in times.items() if not _time(time))
    if not manifest.handle:
        yield "handle is empty"
    if not 1 <= len(manifest.samples) <= _MOST_SAMPLES:
        yield f"samples: {len(manifest.samples)}, but 1 to {_MOST_SAMPLES} are allowed"
    if any(manifest.reference.alternatives) != (manifest.ties_sha256 is not None):
        yield "ties: there are answers without a file, or a file without answers"
    if not manifest.targets:
        yield "targets: there is none"


def _digest_problems(digests: Mapping[str, str]) -> Iterator[str]:
    for name, digest in digests.items():
        if not _DIGEST.fullmatch(digest):
            yield f"{name}: {digest!r} is no SHA-256"


def _time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def spec_problems(spec: ModelSpec) -> Iterator[str]:
    """Yield the invalid values of a spec."""
    for side, tensors in (("input", spec.inputs), ("output", spec.outputs)):
        for tensor in tensors:
            yield from (f"{side} {tensor.name!r}: {text}" for text in _tensor_problems(tensor))
    if not spec.outputs:
        yield "spec: it has no output"
    for name, bounds in spec.bounds.items():
        if not 1 <= bounds.min <= bounds.opt <= bounds.max <= _LARGEST_SIZE:
            yield f"dimension {name!r}: {bounds} are no bounds"


def _tensor_problems(tensor: TensorSpec) -> Iterator[str]:
    if not tensor.name:
        yield "its name is empty"
    if tensor.dtype not in DTYPES:
        yield f"{tensor.dtype!r} is no dtype"
    for dim in tensor.dims:
        if not 0 <= dim.size <= _LARGEST_SIZE:
            yield f"{dim.size} is no size"


def target_problems(
    name: str, result: TargetResult, spec: ModelSpec, samples: int
) -> Iterator[str]:
    """Yield what is invalid in the result of target ``name``.

    Args:
        name: The target's id.
        result: Its result.
        spec: The model's inputs and outputs.
        samples: How many samples the bundle has.
    """
    if not _TARGET.fullmatch(name) or result.target != name:
        yield f"it calls itself {result.target!r}"
    yield from _file_problems(name, result)
    if (result.status == "failed") != (result.stage is not None):
        yield f"it is {result.status}, with stage {result.stage!r}"
    if result.status != "failed" and result.path is None:
        yield f"it is {result.status}, without an artifact"
    if result.status in ("verified", "vacuous") and result.parity is None:
        yield f"it is {result.status}, without a comparison"
    if result.parity is not None:
        if result.status != result.parity.status:
            yield f"it is {result.status}, but its comparison is {result.parity.status}"
        yield from parity_problems(result.parity, spec, samples)
    if result.latency is not None:
        yield from latency_problems(result.latency)


def _file_problems(name: str, result: TargetResult) -> Iterator[str]:
    if result.path is None:
        if result.sha256 is not None or result.companions:
            yield "it has a digest but no path"
        return
    path = PurePosixPath(result.path)
    homes = ((name,), (FAILED, name))
    inside = any(path.parts[: len(home)] == home for home in homes)
    if not inside or not _stays_inside(result.path):
        yield f"path {result.path!r} is not below {name}/ or {FAILED}/{name}/"
    if result.status != "failed" and path.parts[:1] == (FAILED,):
        yield f"it is {result.status}, but lies in {FAILED}/"
    if result.size_bytes is None or result.size_bytes < 0:
        yield f"size_bytes: {result.size_bytes}"
    yield from _digest_problems({"sha256": result.sha256 or "", **result.companions})
    for companion in result.companions:
        if not _stays_inside(companion) or companion in ("", ".", path.name) or "/" in companion:
            yield f"companion {companion!r} is no file beside the artifact"


def _stays_inside(text: str) -> bool:
    """Whether a relative path stays inside its base folder, on any operating system."""
    windows = PureWindowsPath(text)  # it understands both kinds of slash, and drives
    parts = (*windows.parts, *PurePosixPath(text).parts)
    return not windows.anchor and ".." not in parts and not set("\\\0:") & set(text)
