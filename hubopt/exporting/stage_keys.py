"""Keys of stage results: the digest of everything that a result depends on.

What is not known to be without influence counts. A key that changes too often costs a minute;
one that changes too seldom gives somebody a wrong artifact.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
"""Of the values and files in the store; a new one leaves all entries behind."""

_OURS = ("hubopt", "hubopt_exporters")
"""The packages of hubopt's own distribution, whose version is among `surroundings`."""
_PACKAGES = (
    "hubopt", "tensorflow", "tf-", "tf2", "keras", "struct2tensor", "onnx", "ai-edge-", "tensorrt",
    "nvidia-", "cuda-", "numpy", "ml-dtypes", "protobuf", "flatbuffers", "h5py",
)  # fmt: skip
"""How the names of distributions begin that load, trace, convert and run."""
_VARIABLES = (
    "TF_", "XLA_", "KERAS_", "CUDA_", "NVIDIA_", "ORT_", "OMP_", "MKL_", "DNNL_", "ONEDNN_",
    "OPENBLAS_", "XNNPACK_",
)  # fmt: skip
"""How the names of environment variables begin that those libraries read."""


@dataclass(frozen=True, slots=True)
class StageKeys:
    """The keys of one export's stages.

    Attributes:
        around: The digest of what every stage depends on, see `surroundings`.
        model: The model's digest.
        layer: Which part of the model is the layer.
        allow_ops: Operations that were allowed.
        hints: What the user said about shapes.
        items: The user's own inputs, see `describe_items`; None to draw some.
        count: How many samples.
        seed: The seed of drawn ones.
        noise: How much may be measured of the layer's noise.
        rounds: How many rounds of timing.
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
    rounds: int

    def program(self) -> str:
        """Return the key of the traced program, whatever of it is on disk."""
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
            saved_model: Whether there is a SavedModel among them.
        """
        return digest_of({"program": self.program(), "saved_model": saved_model})

    def reference(self, level: NoiseLevel) -> str:
        """Return the key of samples, reference and what is known of them.

        Args:
            level: How much of the layer's noise is.
        """
        return digest_of(
            {
                "stage": "reference",
                "program": self.program(),
                "items": self.items,
                "count": self.count,
                "seed": self.seed,
                "noise": self.noise,
                "level": level,
            }
        )

    def artifact(self, target: Target, source: str) -> str:
        """Return the key of an artifact.

        Args:
            target: What writes it, in which precision and with which options.
            source: The digest of the artifact it is made from; `PROGRAM` for the program.
        """
        return digest_of(
            {
                "stage": "artifact",
                "around": self.around,
                "exporter": describe_exporter(registry.get(target.exporter)),
                "precision": target.precision,
                "options": target.options,
                "source": self.program() if source == PROGRAM else source,
            }
        )

    def run(self, target: Target, artifact: str, companions: Mapping[str, str], inputs: str) -> str:
        """Return the key of what running an artifact showed.

        Args:
            target: What runs it.
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
                "exporter": describe_exporter(registry.get(target.exporter)),
                "program": self.program(),
                "inputs": inputs,
                "rounds": self.rounds,
            }
        )


def digest_of(value: Any) -> str:
    """Return the SHA-256 of a value of hubopt's as canonical JSON."""
    canonical = json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def comparison_key(run: str, reference: str, float64: str | None) -> str:
    """Return the key of how far an artifact is from the layer.

    Args:
        run: The key of the artifact's run.
        reference: The digest of the eager layer's outputs.
        float64: The digest of the layer's outputs in float64, where those are known.
    """
    parts = {"stage": "comparison", "run": run, "reference": reference, "float64": float64}
    return digest_of(parts)


def surroundings() -> dict[str, Any]:
    """Return what every stage depends on: hubopt, the packages, the machine, the settings."""
    return {
        "format": FORMAT,
        "code": code_digest(_OURS[0]),
        "machine": describe_machine(),
        "usable_cores": _usable_cores(),
        "packages": [each for each in installed() if each.startswith(_PACKAGES)],
        "variables": {
            name: value for name, value in os.environ.items() if name.startswith(_VARIABLES)
        },
        "keras": _keras_settings(),
    }


def describe_exporter(exporter: Exporter) -> dict[str, Any]:
    """Return what tells one exporter from another, and from itself after an edit.

    What a third party's exporter uses is not known, so every distribution that is installed counts,
    its own among them.
    """
    kind = type(exporter)
    package = kind.__module__.partition(".")[0]
    return {
        "class": f"{kind.__module__}:{kind.__qualname__}",
        "code": code_digest(package),
        "installed": None if package in _OURS else installed(),
    }


def code_digest(package: str) -> str:
    """Return the digest of the Python files of a package that is imported.

    In a checkout they change without any version changing.
    """
    module = sys.modules[package]
    file = getattr(module, "__file__", None)
    folders = [Path(each) for each in getattr(module, "__path__", ())]
    files = {each.relative_to(root): each for root in folders for each in root.rglob("*.py")}
    if not folders and file:
        files = {Path(Path(file).name): Path(file)}
    state = hashlib.sha256()
    for name in sorted(files):
        state.update(f"{name.as_posix()}\0{sha256(files[name])}\n".encode())
    return state.hexdigest()


def installed() -> list[str]:
    """Return ``name-version`` of every distribution, as its metadata are called on disk.

    `importlib.metadata` reads and parses every one of them, which takes longer than an export
    that has nothing to do.
    """
    found: dict[str, str] = {}
    for folder in sys.path:
        for path in Path(folder or ".").glob("*.*-info"):
            if path.suffix in (".dist-info", ".egg-info"):
                name, _, version = path.stem.partition("-")
                found.setdefault(name.replace("_", "-").lower(), version)  # the first is imported
    return sorted(f"{name}-{version}" for name, version in found.items())


def describe_items(items: Sequence[Item] | None) -> tuple[Any, ...] | None:
    """Return the user's inputs as JSON may hold them, with a digest for each array.

    Raises:
        TypeError: Something in them is neither an array nor a plain value.
    """
    return None if items is None else tuple([each.texts, _plain(each.value)] for each in items)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype != object:
        content = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return ["array", value.dtype.str, list(value.shape), content]
    if isinstance(value, np.ndarray):
        return ["objects", list(value.shape), [_plain(each) for each in value.ravel()]]
    if isinstance(value, Mapping):
        return ["mapping", [[_plain(name), _plain(each)] for name, each in value.items()]]
    if isinstance(value, list | tuple):
        return ["list", [_plain(each) for each in value]]
    if value is None or isinstance(value, str | bytes | bool | int | float | np.generic):
        return [type(value).__name__, repr(value)]
    raise TypeError(f"a {type(value).__name__} has no digest")


def _usable_cores() -> int | None:
    """Return how many cores this process may use, which a container or taskset can lower."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(affinity(0)) if affinity else os.cpu_count()


def _keras_settings() -> str | None:
    """Return what Keras reads when it is imported: the dtype of floats, the order of channels."""
    home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    try:
        return (home / "keras.json").read_text()
    except OSError:
        return None
