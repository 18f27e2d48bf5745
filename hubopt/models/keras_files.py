"""`load_keras_file`: models in Keras's own files, of either generation of Keras.

The config is read before Keras reads it, for Keras builds whatever it names. Keras 2 imports
any module for it, and both generations run functions that `Lambda` layers bring as bytecode.

A child process reads it, within a time limit: HDF5's library crashes on some damaged files and
never ends on others.
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
"""What a small file may take, on a busy machine; the usual time is a tenth of a second."""
_SLOWEST_DISK = 10e6
"""In bytes a second."""


@dataclass(frozen=True, slots=True)
class KerasFile:
    """What a file says about its model.

    Attributes:
        config: The model's config: nested dicts, lists and values.
        version: The version of Keras that wrote it; Keras 1 wrote none.
        outside: Values that it takes from other files: lines, by the name of the ability.
    """

    config: Any
    version: str
    outside: dict[str, list[str]] = field(default_factory=dict)

    @property
    def package(self) -> str:
        """The generation of Keras that reads it: ``keras`` or ``tf_keras``."""
        return "keras" if int(self.version.partition(".")[0]) >= 3 else "tf_keras"


def load_keras_file(
    path: Path, allow: Collection[str] = (), limits: Limits = DEFAULT_LIMITS
) -> Any:
    """Load a model from a ``.keras``, ``.h5`` or ``.hdf5`` file, uncompiled.

    Args:
        path: The file.
        allow: Kinds of layers, or of storage, that the caller accepts though they can do more
            than compute: ``Lambda``, say.
        limits: How much the file may unpack to.

    Returns:
        A model of ``keras`` if Keras 3 wrote the file, else of ``tf_keras``.

    Raises:
        UnsafeModelError: Layers run Python code from the file or reach outside the model.
        LoadError: It is no Keras model, is damaged, holds weights alone, or has layers that are
            not registered.
        LimitError: It unpacks to more than ``limits`` allow.
    """
    file = _read_in_child(path, limits)
    keras = _import(path, file)
    _refuse(path, file, keras, allow)
    arguments = {} if "Lambda" not in allow else {"safe_mode": False}
    try:
        return keras.models.load_model(path, compile=False, **arguments)
    except Exception as error:  # Keras and HDF5 raise nearly every type there is
        unknown = sorted(_unknown_layers(file.config, keras))
        if unknown:
            raise _unregistered(path, unknown, file.package) from error
        raise LoadError(
            f"model {path}",
            f"{file.package} {keras.__version__} cannot load it: "
            f"{type(error).__name__}: {first_line(error)}",
            f"a whole file, as Keras {file.version} wrote it",
            "fetch the file again, or save the model again with the versions that are here",
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
                + ("crashes on it" if timer.is_alive() else f"does not end within {most_s:.0f} s"),
                f"what model.save() writes: a {', '.join(KERAS_SUFFIXES)} file",
                "fetch or save the model again",
            ) from error
        finally:
            timer.cancel()


def read_keras_file(path: Path, limits: Limits = DEFAULT_LIMITS) -> KerasFile:
    """Read what ``path`` says about its model, without loading it.

    Raises:
        LoadError: It is no Keras model, is damaged, or holds weights alone.
        LimitError: It unpacks to more than ``limits`` allow.
    """
    try:
        if path.suffix.lower() not in KERAS_SUFFIXES:
            raise ValueError(f"its name does not end in {' or '.join(KERAS_SUFFIXES)}")
        file = _read_hdf5(path, limits) if _is_hdf5(path) else _read_zip(path, limits)
        assert file is None or file.package, "a version without a number"
    except (LoadError, LimitError):
        raise
    except Exception as error:  # h5py, zipfile and json each raise their own
        raise LoadError(
            f"model {path}",
            f"it is no Keras model, or damaged: {first_line(error)}",
            f"what model.save() writes: a {', '.join(KERAS_SUFFIXES)} file",
            "fetch or save the model again",
        ) from error
    if file is None:
        raise LoadError(
            f"model {path}",
            "it holds weights alone, without the model they belong to",
            "what model.save() writes",
            "build the model in Python, call load_weights() on it, and then save() it",
        )
    return file


def _is_hdf5(path: Path) -> bool:
    """Choose as Keras does, for one file can be both, and say something else in each."""
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
                # Copied out: HDF5 jumps about, which a compressed stream is slow at.
                with archive.open(name) as packed, tempfile.NamedTemporaryFile() as weights:
                    copy_bounded(packed, weights, f"model {path}", limits)
                    weights.flush()
                    _look_into(path, Path(weights.name), name, limits, outside)
    config.pop("compile_config", None)  # a custom loss does not keep a model from loading
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


def _look_into(
    path: Path, weights: Path, name: str, limits: Limits, outside: dict[str, list[str]]
) -> None:
    """Check weights that were copied out of a file, and add what they take from other files."""
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
    """Refuse what could do more than compute, and what is not registered here."""
    findings = scan_config(file.config, keras)
    found: dict[str, list[str]] = {}
    for lines_of_kind in (file.outside, findings.dangers):
        for kind, lines in lines_of_kind.items():
            if kind not in allow:
                found.setdefault(kind, []).extend(sorted(set(lines)))
    if found:
        raise UnsafeModelError(
            f"model {path}",
            tuple(line for lines in found.values() for line in lines),
            "layers that only compute",
            "load it only if you trust whoever wrote it: "
            + " ".join(f"--allow-op {name}" for name in sorted(found))
            + f" (allow_ops={sorted(found)!r})",
        )
    if findings.unregistered:
        raise _unregistered(path, list(findings.unregistered), file.package)


def _unknown_layers(config: Any, keras: Any) -> set[str]:
    """Return the classes of layers that ``keras`` has neither itself nor registered."""
    return {
        str(each["class_name"])
        for each in serialized_objects(config)
        if each.get("module") is None
        and isinstance(each.get("config"), dict)
        and {"name", "trainable"} <= each["config"].keys()
        and not hasattr(keras.layers, str(each["class_name"]))
        and not hasattr(keras, str(each["class_name"]))
        and each["class_name"] not in ("Functional", "TFOpLambda", "SlicingOpLambda")
        and not is_registered(each, keras)
    }


def _unregistered(path: Path, names: list[str], package: str) -> LoadError:
    return LoadError(
        f"model {path}",
        f"custom objects that are not registered: {', '.join(names)}",
        f"Keras's own layers, or classes registered with {package}",
        f"register each with @{package}.saving.register_keras_serializable() and load the model "
        "in Python, or pass a function that returns it as package.module:function",
    )
