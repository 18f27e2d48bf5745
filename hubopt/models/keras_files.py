"""`load_keras_file`: models in Keras's own files, of either generation of Keras.

The config is read before Keras reads it, for Keras builds whatever it names. Keras 2 imports
any module for it, and both generations run functions that `Lambda` layers bring as bytecode.
"""

from __future__ import annotations

import importlib
import json
import shutil
import tempfile
import zipfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hubopt.causes import first_line
from hubopt.errors import LoadError, UnsafeModelError
from hubopt.models.recognition import KERAS_SUFFIXES
from hubopt.scanning.hdf5_files import outside_storage
from hubopt.scanning.keras_dangers import danger_of_layer, is_foreign

_CONFIG = "config.json"
_METADATA = "metadata.json"


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


def load_keras_file(path: Path, allow: Collection[str] = ()) -> Any:
    """Load a model from a ``.keras``, ``.h5`` or ``.hdf5`` file, uncompiled.

    Args:
        path: The file.
        allow: Kinds of layers, or of storage, that the caller accepts though they can do more
            than compute: ``Lambda``, say.

    Returns:
        A model of ``keras`` if Keras 3 wrote the file, else of ``tf_keras``.

    Raises:
        UnsafeModelError: Layers run Python code from the file or reach outside the model.
        LoadError: It is no Keras model, is damaged, holds weights alone, or has layers that are
            not registered.
    """
    file = read_keras_file(path)
    _refuse_dangers(path, file, allow)
    keras = _import(path, file)
    _refuse_foreign_objects(path, file, keras)
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


def read_keras_file(path: Path) -> KerasFile:
    """Read what ``path`` says about its model, without loading it.

    Raises:
        LoadError: It is no Keras model, is damaged, or holds weights alone.
    """
    try:
        if path.suffix.lower() not in KERAS_SUFFIXES:
            raise ValueError(f"its name does not end in {' or '.join(KERAS_SUFFIXES)}")
        file = _read_hdf5(path) if _is_hdf5(path) else _read_zip(path)
        assert file is None or file.package, "a version without a number"
    except LoadError:
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


def _read_hdf5(path: Path) -> KerasFile | None:
    import h5py

    with h5py.File(path, "r") as file:
        config = file.attrs.get("model_config")
        version = file.attrs.get("keras_version", "1")
    if config is None:
        return None
    version = version.decode() if isinstance(version, bytes) else str(version)
    return KerasFile(json.loads(config), version, outside_storage(path))


def _read_zip(path: Path) -> KerasFile:
    with zipfile.ZipFile(path) as archive:
        metadata = json.loads(archive.read(_METADATA))
        config = json.loads(archive.read(_CONFIG))
        outside: dict[str, list[str]] = {}
        for name in archive.namelist():
            if name.lower().endswith((".h5", ".hdf5")):
                # Copied out: HDF5 jumps about, which a compressed stream is slow at.
                with archive.open(name) as packed, tempfile.TemporaryFile() as weights:
                    shutil.copyfileobj(packed, weights)
                    for kind, lines in outside_storage(weights).items():
                        outside.setdefault(kind, []).extend(lines)
    config.pop("compile_config", None)  # a custom loss does not keep a model from loading
    return KerasFile(config, str(metadata["keras_version"]), outside)


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    """Give every serialized object at any depth, in wrappers and models within models too."""
    pending = [config]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            if "class_name" in value:
                yield value
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)


def _refuse_dangers(path: Path, file: KerasFile, allow: Collection[str]) -> None:
    found = {kind: set(lines) for kind, lines in file.outside.items() if kind not in allow}
    for each in _objects(file.config):
        danger = danger_of_layer(each)
        if danger is not None and danger.layer not in allow:
            config = each.get("config")
            label = config.get("name") if isinstance(config, dict) else None
            line = f"{danger.layer}{f' {label}' if label else ''}: {danger.ability}"
            found.setdefault(danger.layer, set()).add(line)
    if not found:
        return
    raise UnsafeModelError(
        f"model {path}",
        tuple(problem for problems in found.values() for problem in sorted(problems)),
        "layers that only compute",
        "load it only if you trust whoever wrote it: "
        + " ".join(f"--allow-op {name}" for name in sorted(found))
        + f" (allow_ops={sorted(found)!r})",
    )


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


def _refuse_foreign_objects(path: Path, file: KerasFile, keras: Any) -> None:
    """Refuse what Keras would import from a module that the file names."""
    foreign = {
        str(each.get("registered_name") or each["class_name"])
        for each in _objects(file.config)
        if is_foreign(each) and not _is_registered(each, keras)
    }
    if foreign:
        raise _unregistered(path, sorted(foreign), file.package)


def _is_registered(serialized: dict[str, Any], keras: Any) -> bool:
    names = (serialized.get("registered_name"), serialized["class_name"])
    return any(name and keras.saving.get_registered_object(str(name)) for name in names)


def _unknown_layers(config: Any, keras: Any) -> set[str]:
    """Return the classes of layers that ``keras`` has neither itself nor registered."""
    return {
        str(each["class_name"])
        for each in _objects(config)
        if each.get("module") is None
        and isinstance(each.get("config"), dict)
        and {"name", "trainable"} <= each["config"].keys()
        and not hasattr(keras.layers, str(each["class_name"]))
        and not hasattr(keras, str(each["class_name"]))
        and each["class_name"] not in ("Functional", "TFOpLambda", "SlicingOpLambda")
        and not _is_registered(each, keras)
    }


def _unregistered(path: Path, names: list[str], package: str) -> LoadError:
    return LoadError(
        f"model {path}",
        f"custom objects that are not registered: {', '.join(names)}",
        f"Keras's own layers, or classes registered with {package}",
        f"register each with @{package}.saving.register_keras_serializable() and load the model "
        "in Python, or pass a function that returns it as package.module:function",
    )
