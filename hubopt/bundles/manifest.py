"""The manifest of a bundle, and the names of the bundle's files.

hubopt.json                  the manifest
savedmodel/, onnx/, ...      one folder per target
verification/inputs.npz      the samples
verification/reference.npz   the eager layer's outputs for them
verification/float64.npz     the layer's outputs in float64, if they can be computed
verification/ties.npz        the layer's other answers where its order is a tie, if it is one
failed/onnx/, ...            artifacts that did not agree with the layer, if they are to be kept
logs/                        the output printed by the layer and by each target
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Literal

from hubopt._util.short_repr import short_repr
from hubopt._util.version import __version__
from hubopt.bundles.results import TargetResult
from hubopt.hints import Hints
from hubopt.latency.environment import describe
from hubopt.models.handles import LayerOptions
from hubopt.parity import ReferenceQuality, ToleranceOverrides
from hubopt.spec import ModelSpec

MANIFEST = "hubopt.json"
INPUTS = "verification/inputs.npz"
REFERENCE = "verification/reference.npz"
FLOAT64 = "verification/float64.npz"
TIES = "verification/ties.npz"
LOGS = "logs"
FAILED = "failed"
FORMAT = 4


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The content of ``hubopt.json``.

    Attributes:
        format: The version of this layout.
        hubopt: The version of hubopt that wrote it.
        created: When it was written, in UTC.
        environment: Machine and versions.
        handle: The URL, the absolute path, package.module:attribute, or a callable's name.
        digest: SHA-256 of the model; None for a callable and for package.module:attribute.
        layer: Which part of the model was exported; the signature is the one that was called.
        allow_ops: Operations that were allowed although they reach outside of the model.
        hints: The shapes that the user gave.
        spec: The inputs and outputs, with the origin of every dimension.
        data: Where the samples came from, if they are the user's own; None if they were drawn.
        seed: The seed of the drawn samples.
        effort: How much the verdicts are made on: ``quick``, ``auto`` or ``thorough``.
        samples: The kind of each sample, such as ``uniform``.
        left_out: Edge cases that the layer refuses, answers with NaN or is unsteady on, and why.
        inputs_sha256: Digest of the samples.
        reference_sha256: Digest of the layer's outputs.
        float64_sha256: Digest of the layer's outputs in float64; None if there are none.
        ties_sha256: Digest of the layer's other answers; None if there are none.
        reference: How steady the layer is, and how much its answers prove.
        tolerances: The tolerances that the user set.
        targets: The result of each target, by its id.
        cached: When the program (``trace``) and the reference (``reference``) were made, if an
            earlier export made them. `TargetResult.cached` says the same of a target.
    """

    format: int = FORMAT
    hubopt: str = __version__
    created: str = field(default_factory=_now)
    environment: dict[str, str] = field(default_factory=describe)
    handle: str
    digest: str | None
    layer: LayerOptions
    allow_ops: tuple[str, ...] = ()
    hints: Hints
    spec: ModelSpec
    data: str | None = None
    seed: int
    effort: Literal["quick", "auto", "thorough"] = "auto"
    samples: tuple[str, ...]
    left_out: dict[str, str] = field(default_factory=dict)
    inputs_sha256: str
    reference_sha256: str
    float64_sha256: str | None = None
    ties_sha256: str | None = None
    reference: ReferenceQuality
    tolerances: ToleranceOverrides = field(default_factory=ToleranceOverrides)
    targets: dict[str, TargetResult]
    cached: dict[str, str] = field(default_factory=dict)

    __repr__ = short_repr
