"""A bundle on disk: read, checked before anything in it is opened, and written.

`hubopt.bundles.manifest` names the files. A bundle may come from anywhere: its manifest must
conform to `hubopt.bundles.schema`, and its files must be regular, lie inside the bundle and have
the digests that the manifest states.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hubopt._util.digest import sha256
from hubopt._util.escaping import printable
from hubopt._util.regular_files import irregular_files
from hubopt._util.serialization import structure, to_json
from hubopt.bundles.manifest import FLOAT64, FORMAT, INPUTS, MANIFEST, REFERENCE, Manifest
from hubopt.bundles.results import TargetResult
from hubopt.bundles.schema import manifest_problems
from hubopt.errors import BundleError
from hubopt.exporter import Artifact
from hubopt.sampling.arrays import sample_problems
from hubopt.spec import TensorSpec

_MOST_MANIFEST_BYTES = 1 << 28
_COPY_AGAIN = "copy the bundle again, or export again"


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

    @property
    def float64(self) -> Path | None:
        """What the layer computed in float64 gives for them; None if that is not there."""
        return self.path / FLOAT64 if self.manifest.float64_sha256 else None

    def check_samples(self) -> None:
        """Check the samples, and what the layer gave for them.

        Raises:
            BundleError: Samples or reference are not those that were written, or are no arrays
                of the bundle's own inputs and outputs.
        """
        manifest = self.manifest
        spec = manifest.spec
        self._check_samples(self.inputs, manifest.inputs_sha256, spec.inputs)
        self._check_samples(self.reference, manifest.reference_sha256, spec.outputs)
        if self.float64:
            self._check_samples(self.float64, manifest.float64_sha256, spec.outputs, wide=True)

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
        """Check that a file or a folder is regular, inside the bundle and what was written."""
        _check_regular(self.path, path)
        found = sha256(path)
        if found != expected:
            raise BundleError(
                f"{path}", f"sha256 {found}", f"sha256 {expected}, as {MANIFEST} says", _COPY_AGAIN
            )

    def _check_samples(
        self, path: Path, expected: str | None, specs: tuple[TensorSpec, ...], wide: bool = False
    ) -> None:
        self._check(path, expected)
        problems = sample_problems(path, specs, len(self.manifest.samples), wide)
        if problems:
            raise BundleError(
                f"{path}",
                "the bundle is damaged" + "".join(f"\n  - {printable(each)}" for each in problems),
                f"arrays of the tensors that {MANIFEST} describes, one of each for a sample",
                _COPY_AGAIN,
            )

    def __str__(self) -> str:
        states = ", ".join(f"{each.target} {each.status}" for each in self.results)
        return f"Bundle({self.path}: {states})"


def read_bundle(path: Path) -> Bundle:
    """Read a bundle's manifest; artifacts are checked when they are asked for.

    Raises:
        BundleError: The folder is no bundle, is of a format that this hubopt does not know, or
            its manifest is not what an export writes; all that is wrong with it is named.
    """
    raw = _read_manifest(path)
    if raw.get("format") != FORMAT:
        raise BundleError(
            f"bundle {path}",
            f"format {raw.get('format')!r}, of hubopt {raw.get('hubopt')}",
            f"format {FORMAT}, which this hubopt writes",
            f"use the hubopt that wrote it, or make it anew: {_command(raw)}",
        )
    manifest, problems = structure(raw, Manifest)
    if manifest is not None:
        problems = manifest_problems(manifest)
    if manifest is None or problems:
        raise _damaged(path, "".join(f"\n  - {printable(each)}" for each in problems))
    return Bundle(path, manifest)


def _read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest as JSON has it."""
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
    """Return the command that exports what a manifest of another format names."""
    handle, targets = raw.get("handle"), raw.get("targets")
    names = ",".join(map(str, targets)) if isinstance(targets, dict) else "TARGET"
    model = shlex.quote(handle) if isinstance(handle, str) else "HANDLE"
    return f"hubopt export {model} --target {shlex.quote(names)} --output NEW"


def _check_regular(bundle: Path, path: Path) -> None:
    """Check that a file, or a folder with all that is in it, may be opened."""
    problems = irregular_files(path, inside=bundle)
    if problems:
        raise BundleError(
            f"bundle {bundle}",
            "the bundle is damaged" + "".join(f"\n  - {printable(each)}" for each in problems),
            "regular files and folders inside the bundle",
            _COPY_AGAIN,
        )


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


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
