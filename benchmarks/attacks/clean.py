"""The undamaged models, bundles and cache that are attacked, and the clean answers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.attacks.place import Place
from benchmarks.attacks.running import run_command
from hubopt._util.digest import sha256
from hubopt.bundles.manifest import LOGS, MANIFEST

TARGETS = ("savedmodel", "onnx", "tflite")
QUICK = ("--rounds", "0", "--noise", "off")
"""Options that make an export fast and its bundle reproducible."""
_TIMEOUT_S = 300.0
_SAME_EACH_TIME = ("fingerprint.pb",)
"""Files of an artifact that differ between two exports: TensorFlow writes a random number."""

_MODELS = """
import sys
from pathlib import Path
import numpy as np, tensorflow as tf, keras, tf_keras
from hubopt.testing import write_tiny_model

folder = Path(sys.argv[1])
write_tiny_model(folder / "tiny")
write_tiny_model(folder / "other", seed=1)
random = np.random.default_rng(0)
images = random.normal(size=(256, 12, 12, 3)).astype("float32")
labels = (images.mean((1, 2, 3)) > 0).astype("int32")
for kind, suffix in ((keras, "keras"), (tf_keras, "h5")):
    kind.utils.set_random_seed(0)
    layers = kind.layers
    model = kind.Sequential([
        layers.Input((12, 12, 3), name="image"),
        layers.Conv2D(8, 3, strides=2, activation="relu"),
        layers.BatchNormalization(),
        layers.DepthwiseConv2D(3, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(2, activation="softmax"),
    ])
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(images, labels, epochs=3, verbose=0)
    model.save(folder / f"conv.{suffix}")
tf.saved_model.save(model, str(folder / "conv"))
"""


@dataclass(frozen=True, slots=True)
class Clean:
    """The undamaged models, bundles and cache; attacks work on copies of these files.

    Attributes:
        root: The folder that holds it.
    """

    root: Path

    def model(self, name: str) -> Path:
        """Return a model: ``tiny``, ``conv``, ``conv.keras`` or ``conv.h5``."""
        return self.root / "models" / name

    def bundle(self, name: str) -> Path:
        """Return the bundle of ``tiny`` or ``conv``; ``wrong`` has artifacts of another model."""
        return self.root / "bundles" / name

    @property
    def stages(self) -> Path:
        """The cache after the export of ``tiny``."""
        return self.root / "stages"

    @property
    def digests(self) -> dict[str, str]:
        """The digest of each model, by its name."""
        return {path.name: sha256(path) for path in (self.root / "models").iterdir()}


def prepare(root: Path) -> Clean:
    """Make the models, and make their bundles with the real command.

    Raises:
        SystemExit: An export of an undamaged model does not end with exit code 0.
    """
    clean = Clean(root)
    place = Place.make(root / "making")
    clean.model("").mkdir(parents=True)
    clean.bundle("").mkdir(parents=True)
    script = [sys.executable, "-c", _MODELS, str(clean.model(""))]
    environment = dict(place.environment())
    subprocess.run(script, check=True, env=environment, stdout=sys.stderr)
    for name in ("tiny", "conv"):
        ran = run_command(export_arguments(clean.model(name), place.output), place, _TIMEOUT_S)
        if ran.code != 0:
            raise SystemExit(f"the clean export of {name} exits {ran.code}: {ran.err}")
        place.output.rename(clean.bundle(name))
        if name == "tiny":
            shutil.copytree(place.stages, clean.stages)
    _make_wrong(clean, place)
    place.remove()
    return clean


def export_arguments(
    model: Path, output: Path, targets: tuple[str, ...] = TARGETS, quick: bool = True
) -> list[str]:
    """Return the arguments of an export."""
    words = ["export", str(model), "-t", ",".join(targets), "-o", str(output)]
    return words + (list(QUICK) if quick else [])


def _make_wrong(clean: Clean, place: Place) -> None:
    """Put the artifacts of a model with other weights into the tiny model's bundle.

    Its manifest has their digests, so that only running them shows the difference.
    """
    ran = run_command(export_arguments(clean.model("other"), place.output), place, _TIMEOUT_S)
    if ran.code != 0:
        raise SystemExit(f"the clean export of other exits {ran.code}: {ran.err}")
    wrong = clean.bundle("wrong")
    shutil.copytree(clean.bundle("tiny"), wrong)
    for target in TARGETS:
        shutil.rmtree(wrong / target)
        shutil.copytree(place.output / target, wrong / target)
    seal(wrong)


def read_manifest(bundle: Path) -> dict[str, Any]:
    """Return a manifest as plain data."""
    raw: dict[str, Any] = json.loads((bundle / MANIFEST).read_text())
    return raw


def seal(bundle: Path) -> None:
    """Write the digests of the files as they are now into the manifest."""
    raw = read_manifest(bundle)
    for name in ("inputs", "reference", "float64"):
        file = bundle / "verification" / f"{name}.npz"
        if file.is_file():
            raw[f"{name}_sha256"] = sha256(file)
    for result in raw["targets"].values():
        path = bundle / result["path"]
        if path.is_file() or path.is_dir():  # not a FIFO: reading one would never end
            result["sha256"] = sha256(path)
    (bundle / MANIFEST).write_text(json.dumps(raw))


def broken_promises(bundle: Path) -> list[str]:
    """Return the files of a bundle that do not match its manifest; a bundle must be whole."""
    try:
        raw = read_manifest(bundle)
    except (OSError, ValueError) as error:
        return [f"{MANIFEST}: {error}"]
    wanted = {
        f"verification/{name}.npz": raw.get(f"{name}_sha256")
        for name in ("inputs", "reference", "float64")
    }
    for result in raw["targets"].values():
        if result["path"] is not None:
            wanted[result["path"]] = result["sha256"]
            for name, digest in result["companions"].items():
                wanted[str(Path(result["path"]).with_name(name))] = digest
    mismatches = []
    for name, digest in wanted.items():
        path = bundle / name
        actual = sha256(path) if path.exists() else None
        if actual != digest:
            mismatches.append(f"{name} is {actual}, not {digest} as in the manifest")
    return mismatches


def differences(bundle: Path, clean: Path, savedmodel: Callable[[], list[str]] = list) -> list[str]:
    """Return the differences of a bundle that is called verified from the clean one.

    Args:
        bundle: The bundle.
        clean: The clean one.
        savedmodel: Returns the problems of the answers of the SavedModel artifact. Called if its
            bytes differ: TensorFlow numbers functions by what the process did before.
    """
    raw, expected = read_manifest(bundle), read_manifest(clean)
    problems = []
    for target, result in raw["targets"].items():
        if result["status"] != "verified":
            problems.append(f"{target} is {result['status']}: {result['reason']}")
        elif result["path"] != expected["targets"][target]["path"]:
            problems.append(f"{target} is in {result['path']}")
    ours, theirs = tree(bundle), tree(clean)
    parts = (*raw["targets"], "verification")
    changed = [
        name for name in theirs if name.split("/")[0] in parts and ours.get(name) != theirs[name]
    ]
    problems += [f"{name} differs" for name in changed if not name.startswith("savedmodel/")]
    if any(name.startswith("savedmodel/") for name in changed):
        problems += savedmodel()
    return problems


def tree(folder: Path) -> Mapping[str, str]:
    """Return the digest of every file that must be the same in each export, by its path."""
    return {
        path.relative_to(folder).as_posix(): sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.name not in (*_SAME_EACH_TIME, MANIFEST)
        and LOGS not in path.relative_to(folder).parts
    }
