"""What a bundle says about itself, and what its files are called.

hubopt.json                  the manifest
savedmodel/, onnx/, ...      one folder a target
verification/inputs.npz      the samples
verification/reference.npz   what the eager layer gave for them
verification/float64.npz     what it gives computed in float64, where that can be done
failed/onnx/, ...            what did not agree with the layer, if that was to be kept
logs/                        what the layer and each target printed
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone

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
LOGS = "logs"
FAILED = "failed"
FORMAT = 4


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Everything a bundle says about itself.

    Attributes:
        format: The version of this layout.
        hubopt: The version that wrote it.
        created: When, in UTC.
        environment: Machine and versions.
        handle: The URL, the absolute path, package.module:attribute, or a callable's name.
        digest: SHA-256 of the model; None for a callable and for package.module:attribute.
        layer: Which part of the model was exported; the signature is the one that was called.
        allow_ops: Operations that were allowed although they reach outside of the model.
        hints: What the user said about shapes.
        spec: The inputs and outputs, with the origin of every dimension.
        data: Where the samples came from, if they are the user's own; None if they were drawn.
        seed: The seed of those that were drawn.
        samples: What each sample is, such as ``uniform``.
        left_out: Edge cases that the layer refuses, answers with NaN or is unsteady on, and why.
        inputs_sha256: Digest of the samples.
        reference_sha256: Digest of the layer's outputs.
        float64_sha256: Digest of those in float64; None if there are none.
        reference: How steady the layer is, and how much its answers prove.
        tolerances: Those that the user set.
        targets: What became of each target, by its id.
        cached: When the program (``trace``) and the reference (``reference``) were made, where an
            earlier export made them; a target's result says so itself.
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
    samples: tuple[str, ...]
    left_out: dict[str, str] = field(default_factory=dict)
    inputs_sha256: str
    reference_sha256: str
    float64_sha256: str | None = None
    reference: ReferenceQuality
    tolerances: ToleranceOverrides = field(default_factory=ToleranceOverrides)
    targets: dict[str, TargetResult]
    cached: dict[str, str] = field(default_factory=dict)
