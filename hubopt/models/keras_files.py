"""`load_keras_file`: loads models from Keras files, of Keras 2 or Keras 3.

The config is checked before Keras loads it, because Keras builds whatever the config names.
Keras 2 imports any module for it, and Keras 2 and 3 run functions that `Lambda` layers contain as
bytecode.

A child process reads the file within a time limit, because the HDF5 library crashes on some
damaged files and never returns on others.
"""

from __future__ import annotations

import importlib
import json
import tempfile
import zipfile
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from threading import Timer
from typing import Any

from hubopt._platform.causes import first_line
from hubopt.errors import LimitError, LoadError, UnsafeModelError, WorkerCrashError
from hubopt.models.bounded import copy_bounded, not_bounded, open_zip
from hubopt.models.formats import KERAS_SUFFIXES
from hubopt.models.hdf5_sizes import MOST_CONFIG_BYTES, check_hdf5
from hubopt.models.limits import DEFAULT_LIMITS, Limits
from hubopt.scanning.hdf5_files import outside_storage
from hubopt.scanning.keras_scan import is_registered, scan_config, serialized_objects
from hubopt.workers.worker import Worker, temporary_log

_CONFIG = "config.json"
_METADATA = "metadata.json"
_CHUNK_BYTES = 1 << 20
_LONGEST_READ_S = 30.0
"""The time limit for a small file on a busy machine; the usual time is a tenth of a second."""
_SLOWEST_DISK = 10e6
"""The slowest reading rate, in bytes per second."""


@dataclass(frozen=True, slots=True)
class KerasFile:
    """The description of a model in its file.

    Attributes:
        config: The model's config: nested dicts, lists and values.
        version: The version of Keras that wrote the file; Keras 1 wrote none.
        outside: A description of each value that is read from another file, by the kind of
            storage.
    """

    config: Any
    version: str
    outside: dict[str, list[str]] = field(default_factory=dict)

    @property
    def package(self) -> str:
        """The package that reads the file: ``keras`` or ``tf_keras``."""
        return "keras" if int(self.version.partition(".")[0]) >= 3 else "tf_keras"


def load_keras_file(
    path: Path, allow: Collection[str] = (), limits: Limits = DEFAULT_LIMITS
) -> Any:
    """Load a model from a ``.keras``, ``.h5`` or ``.hdf5`` file, uncompiled.

    Args:
        path: The file.
        allow: Kinds of layers or of storage that the caller accepts although they can do more
            than compute, such as ``Lambda``.
        limits: The largest unpacked size of the file.

    Returns:
        A model of ``keras`` if Keras 3 wrote the file, else of ``tf_keras``.

    Raises:
        UnsafeModelError: Layers run Python code from the file or reach outside the model.
        LoadError: The file is not a Keras model, is damaged, holds only weights, or has layers
            that are not registered.
        LimitError: The file unpacks to more than ``limits`` allow.
    """
    file = _read_in_child(path, limits)
    keras = _import(path, file)
    _refuse(path, file, keras, allow)
    arguments = {} if "Lambda" not in allow else {"safe_mode": False}
    try:
        return keras.models.load_model(path, compile=False, **arguments)
    except Exception as error:  # Keras and HDF5 raise exceptions of many types
        unknown = sorted(_unknown_layers(file.config, keras))
        if unknown:
            raise _unregistered(path, unknown, file.package) from error
        raise LoadError(
            f"model {path}",
            f"{file.package} {keras.__version__} cannot load it: "
            f"{type(error).__name__}: {first_line(error)}",
            f"a complete file, as Keras {file.version} wrote it",
            "fetch the file again, or save the model again with the installed versions",
        ) from error


def _read_in_child(path: Path, limits: Limits) -> KerasFile:
    size_bytes = path.stat().st_size if path.is_file() else 0
    most_s = _LONGEST_READ_S + size_bytes / _SLOWEST_DISK
    with temporary_log() as log, Worker(log) as worker:
        timer = Timer(most_s, worker.kill)
        timer.start()
        try:
            return worker.call(read_keras_file, path, limits)
        except WorkerCrashError as error:
            raise LoadError(
                f"model {path}",
                "it is damaged: the library that reads such files "
                + ("crashes on it" if timer.is_alive() else f"takes longer than {most_s:.0f} s"),
                f"what model.save() writes: a {', '.join(KERAS_SUFFIXES)} file",
                "fetch or save the model again",
            ) from error
        finally:
            timer.cancel()


def read_keras_file(path: Path, limits: Limits = DEFAULT_LIMITS) -> KerasFile:
    """Read the description of the model in ``path``, without loading the model.

    Raises:
        LoadError: The file is not a Keras model, is damaged, or holds only weights.
        LimitError: The file unpacks to more than ``limits`` allow.
    """
    try:
        if path.suffix.lower() not in KERAS_SUFFIXES:
            raise ValueError(f"its name does not end in {' or '.join(KERAS_SUFFIXES)}")
        file = _read_hdf5(path, limits) if _is_hdf5(path) else _read_zip(path, limits)
        assert file is None or file.package, "a version without a number"
    except (LoadError, LimitError):
        raise
    except Exception as error:  # h5py, zipfile and json raise exceptions of many types
        raise LoadError(
            f"model {path}",
            f"it is not a Keras model, or damaged: {first_line(error)}",
            f"what model.save() writes: a {', '.join(KERAS_SUFFIXES)} file",
            "fetch or save the model again",
        ) from error
    if file is None:
        raise LoadError(
            f"model {path}",
            "it holds only weights, without the model they belong to",
            "what model.save() writes",
            "build the model in Python, call load_weights() on it, and then save() it",
        )
    return file


def _is_hdf5(path: Path) -> bool:
    """Return whether Keras reads the file as HDF5.

    A file can be a zip and an HDF5 file at once, with a different model in each.
    """
    import h5py

    path.open("rb").close()
    if path.name.endswith(".keras") and zipfile.is_zipfile(path):
        return False
    return bool(h5py.is_hdf5(path))


def _read_hdf5(path: Path, limits: Limits) -> KerasFile | None:
    import h5py

    check_hdf5(path, f"model {path}", limits)
    with h5py.File(path, "r") as file:
        config = file.attrs.get("model_config")
        version = file.attrs.get("keras_version", "1")
    if config is None:
        return None
    _check_config(path, "model_config", len(config))
    version = version.decode() if isinstance(version, bytes) else str(version)
    return KerasFile(json.loads(config), version, outside_storage(path))


def _read_zip(path: Path, limits: Limits) -> KerasFile:
    with open_zip(path, f"model {path}", limits) as archive:
        metadata = _read_json(path, archive, _METADATA)
        config = _read_json(path, archive, _CONFIG)
        outside: dict[str, list[str]] = {}
        for name in archive.namelist():
            if name.lower().endswith((".h5", ".hdf5", ".npz")):
                # Copied to a file: HDF5 seeks often, which is slow in a compressed stream.
                with archive.open(name) as packed, tempfile.NamedTemporaryFile() as weights:
                    copy_bounded(packed, weights, f"model {path}", limits)
                    weights.flush()
                    _check_weights(path, Path(weights.name), name, limits, outside)
    config.pop("compile_config", None)  # the model is not compiled, so a custom loss is allowed
    return KerasFile(config, str(metadata["keras_version"]), outside)


def _read_json(path: Path, archive: zipfile.ZipFile, name: str) -> Any:
    _check_config(path, name, archive.getinfo(name).file_size)
    content = bytearray()
    with archive.open(name) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            content += chunk
            _check_config(path, name, len(content))
    return json.loads(content)


def _check_config(path: Path, name: str, size_bytes: int) -> None:
    if size_bytes > MOST_CONFIG_BYTES:
        raise not_bounded(f"model {path}", f"its {name} takes {size_bytes:,} bytes or more")


def _check_weights(
    path: Path, weights: Path, name: str, limits: Limits, outside: dict[str, list[str]]
) -> None:
    """Check weights copied out of a zip, and add the values they read from other files."""
    thing = f"model {path}"
    if name.lower().endswith(".npz"):
        with open_zip(weights, f"{thing}, {name}", limits):
            return
    check_hdf5(weights, thing, limits)
    for kind, lines in outside_storage(weights).items():
        outside.setdefault(kind, []).extend(lines)


def _import(path: Path, file: KerasFile) -> Any:
    keras = importlib.import_module(file.package)
    if file.package == "keras" and keras.config.backend() != "tensorflow":
        raise LoadError(
            f"model {path}",
            f"Keras runs on {keras.config.backend()} here",
            "Keras on TensorFlow",
            "set the environment variable KERAS_BACKEND=tensorflow, or delete 'backend' from "
            "~/.keras/keras.json",
        )
    return keras


def _refuse(path: Path, file: KerasFile, keras: Any, allow: Collection[str]) -> None:
    """Refuse objects that could do more than compute, and objects that are not registered."""
    findings = scan_config(file.config, keras)
    refused: dict[str, list[str]] = {}
    for lines_of_kind in (file.outside, findings.dangers):
        for kind, lines in lines_of_kind.items():
            if kind not in allow:
                refused.setdefault(kind, []).extend(sorted(set(lines)))
    if refused:
        raise UnsafeModelError(
            f"model {path}",
            tuple(line for lines in refused.values() for line in lines),
            "layers that only compute",
            "load it only if you trust whoever wrote it: "
            + " ".join(f"--allow-op {name}" for name in sorted(refused))
            + f" (allow_ops={sorted(refused)!r})",
        )
    if findings.unregistered:
        raise _unregistered(path, list(findings.unregistered), file.package)


def _unknown_layers(config: Any, keras: Any) -> set[str]:
    """Return the classes of layers that are neither in ``keras`` nor registered."""
    return {
        str(item["class_name"])
        for item in serialized_objects(config)
        if item.get("module") is None
        and isinstance(item.get("config"), dict)
        and {"name", "trainable"} <= item["config"].keys()
        and not hasattr(keras.layers, str(item["class_name"]))
        and not hasattr(keras, str(item["class_name"]))
        and item["class_name"] not in ("Functional", "TFOpLambda", "SlicingOpLambda")
        and not is_registered(item, keras)
    }


def _unregistered(path: Path, names: list[str], package: str) -> LoadError:
    return LoadError(
        f"model {path}",
        f"custom objects that are not registered: {', '.join(names)}",
        f"Keras's own layers, or classes registered with {package}",
        f"register them with @{package}.saving.register_keras_serializable() and load the model "
        "in Python, or pass a function that returns it as package.module:function",
    )
