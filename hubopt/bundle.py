"""The folder that an export writes: artifacts, manifest, and what it takes to verify them.

hubopt.json                  the manifest
savedmodel/, onnx/, ...      one folder a target
verification/inputs.npz      the samples
verification/reference.npz   what the eager layer gave for them
verification/float64.npz     what it gives computed in float64, where that can be done
failed/onnx/, ...            what did not agree with the layer, if that was to be kept
logs/                        what the layer and each target printed
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from hubopt.digest import sha256
from hubopt.errors import BundleError
from hubopt.exporter import Artifact, Options
from hubopt.hints import Hints
from hubopt.latency.environment import describe
from hubopt.models.handles import LayerOptions
from hubopt.parity import Overrides, ReferenceFacts
from hubopt.reference.kit import Kit
from hubopt.results import TargetResult
from hubopt.spec import ModelSpec
from hubopt.version import __version__

T = TypeVar("T")

MANIFEST = "hubopt.json"
INPUTS = "verification/inputs.npz"
REFERENCE = "verification/reference.npz"
FLOAT64 = "verification/float64.npz"
LOGS = "logs"
FAILED = "failed"
FORMAT = 2

_ENCODE = json.JSONEncoder(allow_nan=False).encode


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
        options: What the user asked of the exporters.
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
        targets: What became of each target.
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
    options: Options
    spec: ModelSpec
    data: str | None = None
    seed: int
    samples: tuple[str, ...]
    left_out: dict[str, str] = field(default_factory=dict)
    inputs_sha256: str
    reference_sha256: str
    float64_sha256: str | None = None
    reference: ReferenceFacts
    tolerances: Overrides = field(default_factory=Overrides)
    targets: dict[str, TargetResult]
    cached: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle on disk.

    Attributes:
        path: The folder.
        manifest: What it says about itself.
    """

    path: Path
    manifest: Manifest

    @property
    def results(self) -> tuple[TargetResult, ...]:
        """What became of each target, in the order of the export."""
        return tuple(self.manifest.targets.values())

    @property
    def inputs(self) -> Path:
        """The samples."""
        return self.path / INPUTS

    @property
    def reference(self) -> Path:
        """What the eager layer gave for them."""
        return self.path / REFERENCE

    def kit(self) -> Kit:
        """Return what its artifacts are judged on.

        Raises:
            BundleError: Samples or reference are not those that were written.
        """
        manifest = self.manifest
        self._check(self.inputs, manifest.inputs_sha256)
        self._check(self.reference, manifest.reference_sha256)
        float64 = self.path / FLOAT64 if manifest.float64_sha256 else None
        if float64:
            self._check(float64, manifest.float64_sha256)
        return Kit(
            manifest.spec,
            self.inputs,
            self.reference,
            float64,
            manifest.reference,
            manifest.tolerances,
            manifest.samples,
            left_out=manifest.left_out,
        )

    def artifact(self, target: str, failed: bool = False) -> Artifact:
        """Return a target's artifact.

        Args:
            target: The target.
            failed: Whether one that failed will do, if it was kept.

        Raises:
            BundleError: The bundle has none, or it has changed since it was written.
        """
        result = self.manifest.targets.get(target)
        if result is None or result.path is None or (result.status == "failed" and not failed):
            there = [
                each.target
                for each in self.results
                if each.path and (failed or each.status != "failed")
            ]
            raise BundleError(
                f"bundle {self.path}",
                f"no {target} artifact" + (f": {result.reason}" if result else ""),
                f"one of: {', '.join(there) or 'none'}",
                f"export again with --target {target}",
            )
        path = self.path / result.path
        self._check(path, result.sha256)
        for name, digest in result.companions.items():
            self._check(path.with_name(name), digest)
        return Artifact(
            target,
            path,
            self.manifest.spec,
            result.tolerance,
            result.details,
            tuple(result.companions),
        )

    def _check(self, path: Path, expected: str | None) -> None:
        found = f"sha256 {sha256(path)}" if path.exists() else "missing"
        if found != f"sha256 {expected}":
            raise BundleError(
                f"{path}",
                found,
                f"sha256 {expected}, as {MANIFEST} says",
                "copy the bundle again, or export again",
            )

    def __str__(self) -> str:
        states = ", ".join(f"{each.target} {each.status}" for each in self.results)
        return f"Bundle({self.path}: {states})"


def read_bundle(path: Path) -> Bundle:
    """Read a bundle's manifest; artifacts are checked when they are asked for.

    Raises:
        BundleError: The folder is no bundle, or of a format that this hubopt does not know.
    """
    from cattrs import BaseValidationError

    file = path / MANIFEST
    try:
        raw = json.loads(file.read_text())
        if raw.get("format") != FORMAT:
            raise BundleError(
                f"bundle {path}",
                f"format {raw.get('format')}",
                f"format {FORMAT}",
                "use the hubopt that wrote it",
            )
        return Bundle(path, _converter().structure(raw, Manifest))
    except OSError as error:
        raise BundleError(
            f"bundle {path}",
            f"{MANIFEST} cannot be read: {error.strerror}",
            "a folder that `hubopt export` wrote",
            "pass the folder given to --output",
        ) from error
    except (ValueError, AttributeError, BaseValidationError) as error:
        raise BundleError(
            f"bundle {path}",
            f"{MANIFEST} is damaged: {error}",
            "the manifest that `hubopt export` wrote",
            "copy the bundle again, or export again",
        ) from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``hubopt.json``."""
    (folder / MANIFEST).write_text(to_json(manifest) + "\n")


def to_json(value: Any) -> str:
    """Return any of hubopt's values as JSON; lists of numbers stand on one line."""
    return _lines(plain(value), "")


def _lines(value: Any, margin: str) -> str:
    """Return plain data as JSON that begins at ``margin``.

    Not `json.dumps` with an indent, which takes each of thousands of timings one by one.
    """
    deeper = f"{margin}  "
    if isinstance(value, dict) and value:
        items = [f"{deeper}{_ENCODE(str(key))}: {_lines(value[key], deeper)}" for key in value]
        return "{\n" + ",\n".join(items) + f"\n{margin}}}"
    if isinstance(value, list | tuple) and not all(type(each) in (int, float) for each in value):
        items = [f"{deeper}{_lines(each, deeper)}" for each in value]
        return "[\n" + ",\n".join(items) + f"\n{margin}]"
    return _ENCODE(value)


def plain(value: Any) -> Any:
    """Return any of hubopt's values as what JSON holds: mappings, lists, texts and numbers."""
    return _converter().unstructure(value)


def from_json(text: str, kind: type[T]) -> T:
    """Return the value of class ``kind`` that was made `plain` and then JSON."""
    value: T = _converter().structure(json.loads(text), kind)
    return value


@cache
def _converter() -> Any:
    from cattrs.preconf.json import make_converter

    converter = make_converter(forbid_extra_keys=True)
    # JSON has no infinity; Python's float() reads the word.
    converter.register_unstructure_hook(
        float, lambda value: value if math.isfinite(value) else str(value)
    )
    converter.register_unstructure_hook(Path, str)
    converter.register_structure_hook(Path, lambda text, _: Path(text))
    return converter
