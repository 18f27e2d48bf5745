"""Reading, checking and writing a bundle on disk.

`hubopt.bundles.manifest` names the files. A bundle is untrusted and is checked before any file in
it is opened: its manifest must conform to `hubopt.bundles.schema`, and its files must be regular,
lie inside the bundle and have the digests that the manifest states.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hubopt._util.digest import sha256
from hubopt._util.escaping import printable, printable_lines
from hubopt._util.html_table import html_table
from hubopt._util.regular_files import irregular_files
from hubopt._util.serialization import structure, to_json
from hubopt.bundles.manifest import FLOAT64, FORMAT, INPUTS, MANIFEST, REFERENCE, TIES, Manifest
from hubopt.bundles.results import TargetResult
from hubopt.bundles.schema import manifest_problems
from hubopt.errors import BundleError
from hubopt.exporter import Artifact
from hubopt.parity.ties import tie_numbers
from hubopt.sampling.arrays import sample_problems
from hubopt.spec import TensorSpec

_MOST_MANIFEST_BYTES = 1 << 28
_MOST_SHOWN = 16
"""How many targets a repr shows."""
_MOST_OF_A_REASON = 80
_COPY_AGAIN = "copy the bundle again, or export again"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle on disk.

    Attributes:
        path: The folder.
        manifest: The content of its ``hubopt.json``.
    """

    path: Path
    manifest: Manifest

    @property
    def results(self) -> tuple[TargetResult, ...]:
        """The result of each target, in the order of the export."""
        return tuple(self.manifest.targets.values())

    @property
    def inputs(self) -> Path:
        """The file of the samples."""
        return self.path / INPUTS

    @property
    def reference(self) -> Path:
        """The file of the eager layer's outputs for the samples."""
        return self.path / REFERENCE

    @property
    def float64(self) -> Path | None:
        """The file of the layer's outputs in float64; None if the bundle has none."""
        return self.path / FLOAT64 if self.manifest.float64_sha256 else None

    @property
    def ties(self) -> Path | None:
        """The file of the layer's other answers where its order is a tie; None if there is none."""
        return self.path / TIES if self.manifest.ties_sha256 else None

    def check_samples(self) -> None:
        """Check the samples and the layer's outputs for them.

        Raises:
            BundleError: The samples or the reference have changed since they were written, or
                their arrays do not match the bundle's own inputs and outputs.
        """
        manifest = self.manifest
        spec = manifest.spec
        self._check_samples(self.inputs, manifest.inputs_sha256, spec.inputs)
        self._check_samples(self.reference, manifest.reference_sha256, spec.outputs)
        if self.float64:
            self._check_samples(self.float64, manifest.float64_sha256, spec.outputs, wide=True)
        if self.ties:
            numbers = tie_numbers(manifest.reference.alternatives)
            self._check_samples(self.ties, manifest.ties_sha256, spec.outputs, numbers=numbers)

    def artifact(self, target: str, failed: bool = False) -> Artifact:
        """Return a target's artifact.

        Args:
            target: The target.
            failed: Whether to return the artifact of a failed target, too, if it was kept.

        Raises:
            BundleError: The bundle has no such artifact, or it has changed since it was written.
        """
        result = self.manifest.targets.get(target)
        if result is None or result.path is None or (result.status == "failed" and not failed):
            available = [
                other.target
                for other in self.results
                if other.path and (failed or other.status != "failed")
            ]
            raise BundleError(
                f"bundle {self.path}",
                f"no {target} artifact" + (f": {result.reason}" if result else ""),
                f"one of: {', '.join(available) or 'none'}",
                f"export again with --target {target}",
            )
        path = self.path / result.path
        files = {path: result.sha256} | {
            path.with_name(name): digest for name, digest in result.companions.items()
        }
        for file, digest in files.items():
            self._check(file, digest)
        return Artifact(
            result.exporter,
            path,
            self.manifest.spec,
            result.tolerance,
            result.details,
            tuple(result.companions),
        )

    def _check(self, path: Path, expected: str | None) -> None:
        """Check that a file or a folder is regular, inside the bundle and unchanged."""
        _check_regular(self.path, path)
        digest = sha256(path)
        if digest != expected:
            raise BundleError(
                f"{path}", f"sha256 {digest}", f"sha256 {expected}, as {MANIFEST} says", _COPY_AGAIN
            )

    def _check_samples(
        self,
        path: Path,
        expected: str | None,
        specs: tuple[TensorSpec, ...],
        wide: bool = False,
        numbers: Sequence[int] | None = None,
    ) -> None:
        self._check(path, expected)
        wanted = range(len(self.manifest.samples)) if numbers is None else numbers
        problems = sample_problems(path, specs, wanted, wide)
        if problems:
            raise BundleError(
                f"{path}",
                "the bundle is damaged" + "".join(f"\n  - {printable(text)}" for text in problems),
                f"for each sample, one array of each tensor that {MANIFEST} describes",
                _COPY_AGAIN,
            )

    def __str__(self) -> str:
        states = ", ".join(f"{result.target} {result.status}" for result in self.results)
        return f"Bundle({self.path}: {states})"

    def __repr__(self) -> str:
        shown = [f"  {' '.join(_row(result))}" for result in self.results[:_MOST_SHOWN]]
        more = len(self.results) - _MOST_SHOWN
        lines = [f"Bundle({self.path})", *shown, *([f"  and {more} more"] if more > 0 else [])]
        return printable_lines("\n".join(lines))

    def _repr_html_(self) -> str:
        headings = ("target", "status", "size", "p50", "time / layer", "reason")
        rows = [_row(result) for result in self.results]
        return html_table(f"{self.path}: {self.manifest.handle}", headings, rows)


def _row(result: TargetResult) -> tuple[str, ...]:
    """Return a target's figures as texts."""
    latency = result.latency
    ratio = latency.ratio if latency else None
    return (
        result.target,
        result.status,
        f"{result.size_bytes:,} B" if result.size_bytes is not None else "-",
        f"{latency.artifact.p50_ms:.3g} ms" if latency else "-",
        f"{ratio:.2f}x" if ratio is not None else "-",
        " ".join((result.reason or "").split())[:_MOST_OF_A_REASON],
    )


def read_bundle(path: Path) -> Bundle:
    """Read a bundle's manifest; artifacts are checked when they are requested.

    Raises:
        BundleError: The folder is not a bundle, has a format that this hubopt does not know, or
            has a manifest that no export writes. The error names every problem of the manifest.
    """
    raw = _read_manifest(path)
    if raw.get("format") != FORMAT:
        raise BundleError(
            f"bundle {path}",
            f"format {raw.get('format')!r}, of hubopt {raw.get('hubopt')}",
            f"format {FORMAT}, which this hubopt writes",
            f"use the hubopt that wrote it, or export again: {_command(raw)}",
        )
    manifest, problems = structure(raw, Manifest)
    if manifest is not None:
        problems = manifest_problems(manifest)
    if manifest is None or problems:
        raise _damaged(path, "".join(f"\n  - {printable(text)}" for text in problems))
    return Bundle(path, manifest)


def _read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest as parsed JSON, before its types are checked."""
    file = path / MANIFEST
    try:
        size = file.stat().st_size
    except OSError as error:
        raise BundleError(
            f"bundle {path}",
            f"{MANIFEST} cannot be read: {error.strerror}",
            "a folder that `hubopt export` wrote",
            "pass the folder given to --output",
        ) from error
    _check_regular(path, file)
    if size > _MOST_MANIFEST_BYTES:
        raise _damaged(
            path, f"it has {size:,} bytes, and at most {_MOST_MANIFEST_BYTES:,} are read"
        )
    try:
        raw = json.loads(file.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except OSError as error:
        raise BundleError(
            f"bundle {path}",
            f"{MANIFEST} cannot be read: {error.strerror}",
            "a file that you may read",
            "check its permissions",
        ) from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"{error}") from error
    if not isinstance(raw, dict):
        raise _damaged(path, f"it holds a {type(raw).__name__}")
    return raw


def _command(raw: dict[str, Any]) -> str:
    """Return the command that repeats the export of a manifest of another format."""
    handle, targets = raw.get("handle"), raw.get("targets")
    names = ",".join(map(str, targets)) if isinstance(targets, dict) else "TARGET"
    model = shlex.quote(handle) if isinstance(handle, str) else "HANDLE"
    return f"hubopt export {model} --target {shlex.quote(names)} --output NEW"


def _check_regular(bundle: Path, path: Path) -> None:
    """Check that a file, or a folder with everything in it, is safe to open."""
    problems = irregular_files(path, inside=bundle)
    if problems:
        raise BundleError(
            f"bundle {bundle}",
            "the bundle is damaged" + "".join(f"\n  - {printable(text)}" for text in problems),
            "regular files and folders inside the bundle",
            _COPY_AGAIN,
        )


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def _damaged(path: Path, found: str) -> BundleError:
    return BundleError(
        f"bundle {path}",
        f"{MANIFEST} is damaged: {found}",
        "the manifest that `hubopt export` wrote",
        _COPY_AGAIN,
    )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``hubopt.json``."""
    (folder / MANIFEST).write_text(to_json(manifest) + "\n", encoding="utf-8")
