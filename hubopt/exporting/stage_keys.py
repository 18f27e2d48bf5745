"""Keys of stage results: the digest of everything that a result depends on.

Anything that might influence a result is part of its key. A key that changes too often costs a
minute; a key that changes too seldom gives a user a wrong artifact.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hubopt import registry
from hubopt._util.digest import sha256
from hubopt._util.serialization import plain
from hubopt.exporter import PROGRAM, Exporter, Target
from hubopt.hints import Hints
from hubopt.latency.environment import describe_machine
from hubopt.models.handles import LayerOptions
from hubopt.parity.reference import NoiseLevel
from hubopt.sampling.user_data import Item

FORMAT = 5
"""The format of stored values and files; a new format abandons all older entries."""

_OURS = ("hubopt", "hubopt_exporters")
"""The packages of hubopt's own distribution, whose version is among `surroundings`."""
_PACKAGES = (
    "hubopt", "tensorflow", "tf-", "tf2", "keras", "struct2tensor", "onnx", "ai-edge-", "tensorrt",
    "nvidia-", "cuda-", "numpy", "ml-dtypes", "protobuf", "flatbuffers", "h5py",
)  # fmt: skip
"""Prefixes of the distributions that load, trace, convert and run models."""
_VARIABLES = (
    "TF_", "XLA_", "KERAS_", "CUDA_", "NVIDIA_", "ORT_", "OMP_", "MKL_", "DNNL_", "ONEDNN_",
    "OPENBLAS_", "XNNPACK_",
)  # fmt: skip
"""Prefixes of the environment variables that those distributions read."""


@dataclass(frozen=True)  # no slots, for the digests that are taken once
class StageKeys:
    """The keys of one export's stages.

    Attributes:
        around: The digest of what every stage depends on, see `surroundings`.
        model: The model's digest.
        layer: The part of the model that is the layer.
        allow_ops: The operations that the user allowed.
        hints: The user's hints about shapes.
        items: The user's own inputs, see `describe_items`; None to draw inputs.
        count: The number of samples.
        seed: The seed of drawn samples.
        noise: How much of the layer's noise may be measured.
        effort: How thoroughly samples are chosen.
        rounds: The number of rounds of timing.
    """

    around: str
    model: str
    layer: LayerOptions
    allow_ops: tuple[str, ...]
    hints: Hints
    items: tuple[Any, ...] | None
    count: int
    seed: int
    noise: str
    effort: str
    rounds: int

    @cached_property
    def program(self) -> str:
        """The key of the traced program, whichever of its files are on disk."""
        return digest_of(
            {
                "stage": "trace",
                "around": self.around,
                "model": self.model,
                "layer": self.layer,
                "allow_ops": sorted(set(self.allow_ops)),
                "hints": self.hints,
                "item": (self.items or ())[:1],  # it may settle shapes
            }
        )

    def trace(self, saved_model: bool) -> str:
        """Return the key of the program's files.

        Args:
            saved_model: Whether they include a SavedModel.
        """
        return digest_of({"program": self.program, "saved_model": saved_model})

    def reference(self, level: NoiseLevel) -> str:
        """Return the key of the reference set.

        Args:
            level: How much of the layer's noise was measured.
        """
        return digest_of(
            {
                "stage": "reference",
                "program": self.program,
                "items": self.items,
                "count": self.count,
                "seed": self.seed,
                "noise": self.noise,
                "effort": self.effort,
                "level": level,
            }
        )

    def artifact(self, target: Target, source: str) -> str:
        """Return the key of an artifact.

        Args:
            target: The target.
            source: The digest of the source artifact; `PROGRAM` for the program.
        """
        return digest_of(
            {
                "stage": "artifact",
                "around": self.around,
                "exporter": self._exporter(target.exporter),
                "precision": target.precision,
                "options": target.options,
                "source": self.program if source == PROGRAM else source,
            }
        )

    def run(self, target: Target, artifact: str, companions: Mapping[str, str], inputs: str) -> str:
        """Return the key of a run.

        Args:
            target: The target.
            artifact: The artifact's digest.
            companions: The digests of its other files.
            inputs: The digest of the samples.
        """
        return digest_of(
            {
                "stage": "run",
                "artifact": artifact,
                "companions": companions,
                "around": self.around,
                "exporter": self._exporter(target.exporter),
                "program": self.program,
                "inputs": inputs,
                "rounds": self.rounds,
            }
        )

    @cached_property
    def _exporters(self) -> dict[str, dict[str, Any]]:
        return {}

    def _exporter(self, name: str) -> dict[str, Any]:
        """Describe an exporter; its files are read once."""
        if name not in self._exporters:
            self._exporters[name] = describe_exporter(registry.get(name))
        return self._exporters[name]


def digest_of(value: Any) -> str:
    """Return the SHA-256 of a value of hubopt's as canonical JSON."""
    canonical = json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def comparison_key(run: str, reference: str, float64: str | None, ties: str | None = None) -> str:
    """Return the key of the differences of an artifact from the layer.

    Args:
        run: The key of the artifact's run.
        reference: The digest of the eager layer's outputs.
        float64: The digest of the layer's outputs in float64; None if they were not computed.
        ties: The digest of the layer's other answers; None if its order is never a tie.
    """
    parts = {
        "stage": "comparison",
        "run": run,
        "reference": reference,
        "float64": float64,
        "ties": ties,
    }
    return digest_of(parts)


def surroundings() -> dict[str, Any]:
    """Return what every stage depends on: hubopt, packages, machine and settings."""
    return {
        "format": FORMAT,
        "code": code_digest(_OURS[0]),
        "machine": describe_machine(),
        "usable_cores": _usable_cores(),
        "packages": [name for name in installed() if name.startswith(_PACKAGES)],
        "variables": {
            name: value for name, value in os.environ.items() if name.startswith(_VARIABLES)
        },
        "keras": _keras_settings(),
    }


def describe_exporter(exporter: Exporter) -> dict[str, Any]:
    """Return what distinguishes an exporter from others, and from itself after an edit.

    The dependencies of a third party's exporter are unknown, so all installed distributions count.
    """
    kind = type(exporter)
    package = kind.__module__.partition(".")[0]
    return {
        "class": f"{kind.__module__}:{kind.__qualname__}",
        "code": code_digest(package),
        "installed": None if package in _OURS else installed(),
    }


def code_digest(package: str) -> str:
    """Return the digest of the Python files of an imported package.

    In a checkout, files change while the version stays the same.
    """
    module = sys.modules[package]
    file = getattr(module, "__file__", None)
    folders = [Path(folder) for folder in getattr(module, "__path__", ())]
    files = {path.relative_to(root): path for root in folders for path in root.rglob("*.py")}
    if not folders and file:
        files = {Path(Path(file).name): Path(file)}
    state = hashlib.sha256()
    for name in sorted(files):
        state.update(f"{name.as_posix()}\0{sha256(files[name])}\n".encode())
    return state.hexdigest()


def installed() -> list[str]:
    """Return ``name-version`` of every distribution, from the names of its metadata folders.

    `importlib.metadata` would parse all metadata, which takes longer than a cached export.
    """
    found: dict[str, str] = {}
    for folder in sys.path:
        for path in Path(folder or ".").glob("*.*-info"):
            if path.suffix in (".dist-info", ".egg-info"):
                name, _, version = path.stem.partition("-")
                found.setdefault(
                    name.replace("_", "-").lower(), version
                )  # Python imports the first
    return sorted(f"{name}-{version}" for name, version in found.items())


def describe_items(items: Sequence[Item] | None) -> tuple[Any, ...] | None:
    """Return the user's inputs as plain values, with a digest in place of each array.

    Raises:
        TypeError: A value is neither an array nor plain.
    """
    return None if items is None else tuple([item.texts, _plain(item.value)] for item in items)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype != object:
        content = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return ["array", value.dtype.str, list(value.shape), content]
    if isinstance(value, np.ndarray):
        return ["objects", list(value.shape), [_plain(item) for item in value.ravel()]]
    if isinstance(value, Mapping):
        return ["mapping", [[_plain(name), _plain(item)] for name, item in value.items()]]
    if isinstance(value, list | tuple):
        return ["list", [_plain(item) for item in value]]
    if value is None or isinstance(value, str | bytes | bool | int | float | np.generic):
        return [type(value).__name__, repr(value)]
    raise TypeError(f"a {type(value).__name__} has no digest")


def _usable_cores() -> int | None:
    """Return the number of cores that this process may use; a container or taskset limits it."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(affinity(0)) if affinity else os.cpu_count()


def _keras_settings() -> str | None:
    """Return the settings that Keras reads at import: the float dtype and the channel order."""
    home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    try:
        return (home / "keras.json").read_text()
    except OSError:
        return None
