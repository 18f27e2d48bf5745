"""Names in a Keras config are not resolved to objects of Keras that are no part of a model."""

import inspect
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import pytest
import tensorflow as tf
import tf_keras

from hubopt.errors import LoadError, UnsafeModelError
from hubopt.models.keras_files import load_keras_file
from hubopt.scanning.keras_objects import known_objects
from hubopt.scanning.keras_scan import KerasFindings, scan_config

pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
GENERATIONS = [keras, tf_keras]
BOTH = pytest.mark.parametrize("generation", GENERATIONS, ids=lambda package: package.__name__)


def file_with(generation: Any, folder: Path, **replaced: Any) -> Path:
    """Write a model whose second layer is described by ``replaced``."""
    layers = generation.layers
    path = folder / "model.keras"
    generation.Sequential([layers.Input((4,)), layers.Dense(3)]).save(path)
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(files["config.json"])
    config["config"]["layers"][1] |= replaced
    files["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def function(module: str, name: str, registered: str | None = None) -> dict[str, Any]:
    return {
        "module": module,
        "class_name": "function",
        "config": name,
        "registered_name": registered or name,
    }


def is_clean(findings: KerasFindings) -> bool:
    return not findings.dangers and not findings.unregistered


SAVED_MODEL = {"name": "evil", "filepath": "saved", "call_endpoint": "serve"}


@BOTH
@pytest.mark.parametrize(
    ("module", "name", "registered", "allowed_as"),
    [
        ("keras", "layers.TFSMLayer", None, "TFSMLayer"),
        ("keras.layers", "TFSMLayer", None, "TFSMLayer"),
        ("keras", "layers>TFSMLayer", None, "TFSMLayer"),
        ("keras.src.export.tfsm_layer", "Nothing", "TFSMLayer", "TFSMLayer"),
        ("tf_keras.src.export.export_lib", "ReloadedLayer", None, "TFSMLayer"),
        ("keras.src.layers.core.lambda_layer", "Custom>Lambda", None, "Lambda"),
        ("keras", "layers.Lambda", None, "Lambda"),
        (None, "hubopt>KerasLayer", "hubopt>KerasLayer", "KerasLayer"),
        ("keras.layers", "JaxLayer", None, "JaxLayer"),
        ("keras.layers", "FlaxLayer", None, "FlaxLayer"),
        ("keras.src.utils.torch_utils", "TorchModuleWrapper", None, "TorchModuleWrapper"),
    ],
)
def test_a_dangerous_layer_is_refused_under_any_name(
    generation: Any,
    module: str | None,
    name: str,
    registered: str | None,
    allowed_as: str,
    tmp_path: Path,
) -> None:
    import hubopt.keras3
    import hubopt.layers.layer  # noqa: F401  # both register their KerasLayer

    path = file_with(
        generation,
        tmp_path,
        module=module,
        class_name=name,
        registered_name=registered,
        config=SAVED_MODEL,
    )
    with pytest.raises(UnsafeModelError) as caught:
        load_keras_file(path)
    assert f"{allowed_as} evil: " in str(caught.value)
    assert f"--allow-op {allowed_as}" in caught.value.way_out


@BOTH
@pytest.mark.parametrize(
    "serialized",
    [
        function("keras.utils", "get_file"),
        function("keras", "utils.get_file"),
        function("tf_keras.utils", "get_file"),
        function("tf_keras.src.utils.data_utils", "get_file"),
        function("keras.src.utils.file_utils", "get_file"),
        function("keras.utils", "relu", "get_file"),
        function("keras.models", "load_model"),
        function("keras.src.saving.saving_lib", "load_model"),
        function("keras.saving", "load_weights"),
        function("keras.config", "enable_unsafe_deserialization"),
        function("keras.activations", "deserialize"),
        function("keras.preprocessing.image", "load_img"),
        function("keras.datasets.mnist", "load_data"),
        function("keras._tf_keras.keras.utils", "get_file"),
        function("keras.src.utils.module_utils", "torch.load"),
        {"module": "keras.export", "class_name": "ExportArchive", "config": {}},
        {"module": "keras.callbacks", "class_name": "CSVLogger", "config": {"filename": "x"}},
        {"module": "keras.utils", "class_name": "PyDataset", "config": {}},
        {"module": "tf_keras.src.utils.generic_utils", "class_name": "Progbar", "config": {}},
        {"module": "keras.src.layers.nothing", "class_name": "Evil", "config": {}},
    ],
    ids=lambda entry: f"{entry['module']}:{entry.get('config') or entry['class_name']}",
)
def test_a_keras_object_that_is_no_part_of_a_model_is_refused_by_name(
    generation: Any, serialized: dict[str, Any], tmp_path: Path
) -> None:
    config = {"name": "d", "units": 3, "activation": serialized}
    path = file_with(generation, tmp_path, config=config)
    with pytest.raises(UnsafeModelError, match=r"is not part of a model") as caught:
        load_keras_file(path)
    assert f"of {serialized['module']} is not part of a model" in str(caught.value)
    of_class = serialized["class_name"] != "function"
    name = serialized["class_name"] if of_class else serialized["registered_name"]
    assert f"--allow-op {name.rpartition('.')[2]} " in caught.value.way_out


@BOTH
@pytest.mark.parametrize(
    "described",
    [
        {"class_name": "function", "config": "exit", "module": "builtins"},
        {"class_name": "function", "config": "deserialize", "module": "builtins"},
        {"class_name": "function", "config": "get_file", "module": None},
        {"class_name": "eval", "config": {}, "module": "builtins"},
        {"class_name": "__typing__", "config": {}, "module": None},
        {"class_name": "__callable__", "config": {}},
        {"class_name": "deserialize_keras_object", "config": {}},
        {"class_name": "__numpy__", "config": {"value": [0] * 9, "dtype": "S2000000000"}},
        {"class_name": "__numpy__", "config": {"value": [0] * 9, "dtype": "a2000000000"}},
        {"class_name": "__tensor__", "config": {"value": 0, "dtype": "V999999999"}},
        {"class_name": "__tensor__", "config": {"value": 0, "dtype": "a" * 60 + "!"}},
        {
            "class_name": "__typespec__",
            "spec_name": "TensorSpec",
            "module": "os",
            "config": [],
            "registered_name": None,
        },
        "deserialize",
        "get_file",
        "keras.utils.get_file",
    ],
    ids=str,
)
def test_an_impossible_activation_is_refused(
    generation: Any, described: Any, tmp_path: Path
) -> None:
    config = {"name": "d", "units": 3, "activation": described}
    path = file_with(generation, tmp_path, config=config)
    with pytest.raises(LoadError, match="custom objects that are not registered: "):
        load_keras_file(path)


@BOTH
def test_a_layer_disguised_as_a_type_spec_is_refused(generation: Any, tmp_path: Path) -> None:
    hidden = {
        "class_name": "__typespec__",
        "spec_name": "Lambda",
        "module": "keras.layers",
        "registered_name": "Lambda",
        "config": {"function": "4wEAAAA="},
    }
    path = file_with(generation, tmp_path, config={"name": "d", "activation": hidden})
    with pytest.raises(UnsafeModelError, match="Lambda: runs Python code"):
        load_keras_file(path)


@BOTH
def test_the_hdf5_format_has_the_same_restrictions(generation: Any, tmp_path: Path) -> None:
    layers = generation.layers
    path = tmp_path / "model.h5"
    generation.Sequential([layers.Input((4,)), layers.Dense(3, activation="relu")]).save(path)
    for evil in ('{"class_name": "deserialize", "config": {}}', '"deserialize"'):
        with h5py.File(path, "a") as file:
            config = json.loads(file.attrs["model_config"])
            config["config"]["layers"][-1]["config"]["activation"] = json.loads(evil)
            file.attrs["model_config"] = json.dumps(config)
        with pytest.raises(LoadError, match="not registered: deserialize"):
            load_keras_file(path)


@BOTH
def test_a_name_that_the_user_allows_is_left_to_keras(generation: Any, tmp_path: Path) -> None:
    config = {"name": "d", "units": 3, "activation": function("keras.utils", "get_file")}
    path = file_with(generation, tmp_path, config=config)
    with pytest.raises(LoadError, match=r"cannot load it") as caught:
        load_keras_file(path, allow=["get_file"])
    assert not isinstance(caught.value, UnsafeModelError)


def layers_of(generation: Any) -> Iterator[Any]:
    """Yield every layer that can be built from a few arguments."""
    layers = generation.layers
    cells = [layers.GRUCell(2)]
    tries: list[dict[str, Any]] = [
        {},
        *({"units": 2}, {"filters": 2, "kernel_size": 2}, {"kernel_size": 2}, {"rate": 0.1}),
        *({"input_dim": 2, "output_dim": 2}, {"target_shape": (2,)}, {"dims": (1,)}, {"n": 2}),
        *({"axes": 1}, {"activation": "relu"}, {"num_heads": 2, "key_dim": 2}, {"stddev": 0.1}),
        *({"height": 2, "width": 2}, {"factor": 0.1}, {"scale": 2.0}, {"num_bins": 3}),
        *({"num_tokens": 3}, {"bin_boundaries": [1.0]}, {"shape": (2,)}, {"cell": cells[0]}),
        *({"cells": cells}, {"layer": layers.Dense(2)}, {"layer": layers.LSTM(2)}),
        *({"head_dim": 2, "num_query_heads": 2, "num_key_value_heads": 2}, {"layers": []}),
        *({"vocabulary": ["a"]}, {"vocabulary": [1]}, {"max_value": 1.0}, {"value_range": (0, 1)}),
        *({"factor": 0.1, "value_range": (0, 1)}, {"layer": layers.Conv1D(2, 2)}),
    ]
    for name in dir(layers):
        kind = getattr(layers, name)
        if not inspect.isclass(kind) or not issubclass(kind, layers.Layer):
            continue
        for arguments in tries:
            try:
                made = kind(**arguments)
                json.dumps(generation.saving.serialize_keras_object(made))
            except Exception:  # the layer does not take these arguments
                continue
            yield made


@pytest.mark.filterwarnings("ignore")
@BOTH
def test_every_layer_passes(generation: Any) -> None:
    passed = set()
    for layer in layers_of(generation):
        for config in (
            json.loads(json.dumps(generation.saving.serialize_keras_object(layer))),
            {"class_name": type(layer).__name__, "config": json_of(layer.get_config())},
        ):
            findings = scan_config(config, generation)
            assert is_clean(findings), (config, findings)
        passed.add(type(layer).__name__)
    assert len(passed) >= 100


def json_of(config: dict[str, Any]) -> Any:
    return json.loads(json.dumps(config, default=str))


@pytest.mark.filterwarnings("ignore")
@BOTH
@pytest.mark.parametrize(
    "kind",
    ["activations", "constraints", "initializers", "losses", "metrics", "optimizers"],
)
def test_every_object_of_a_kind_passes(generation: Any, kind: str) -> None:
    module = getattr(generation, kind)
    count = 0
    for name in dir(module):
        value = getattr(module, name)
        if name.startswith("_") or not callable(value) or name in ("get", "serialize"):
            continue
        try:
            made = value() if inspect.isclass(value) else value
            config = json.loads(json.dumps(generation.saving.serialize_keras_object(made)))
        except Exception:  # it needs arguments, or Keras cannot serialize it
            continue
        if name != "deserialize":
            assert is_clean(scan_config(config, generation)), config
            count += 1
    assert count >= 3


def test_models_with_many_kinds_of_values_pass() -> None:
    x = keras.Input((4,))
    silu = keras.layers.Dense(2, activation=keras.ops.silu)
    y = keras.ops.concatenate([silu(x[:, 1:]), keras.ops.relu(x)[..., :1]], axis=-1)
    model = keras.Model(x, y)
    mixed = keras.layers.Dense(3, dtype=keras.DTypePolicy("mixed_bfloat16"))
    ragged = tf_keras.Input(type_spec=tf.RaggedTensorSpec([None, None], tf.float32))
    columns = [tf.feature_column.numeric_column("a")]
    for generation, made in (
        (keras, model),
        (keras, keras.Sequential([keras.layers.Input((4,)), mixed])),
        (tf_keras, tf_keras.Model(ragged, ragged.to_tensor())),
        (tf_keras, tf_keras.layers.DenseFeatures(columns)),
    ):
        config = json_of(generation.saving.serialize_keras_object(made))
        findings = scan_config(config, generation)
        assert is_clean(findings), (config, findings)


def test_every_name_that_keras_itself_looks_up_is_known() -> None:
    from keras.src import activations, constraints, initializers, losses, metrics, regularizers
    from tf_keras.src import initializers as initializers_2
    from tf_keras.src.layers import serialization

    serialization.populate_deserializable_objects()
    initializers_2.populate_deserializable_objects()
    modules = (activations, constraints, initializers, losses, metrics, regularizers)
    for generation, names in (
        (keras, [name for module in modules for name in module.ALL_OBJECTS_DICT]),
        (tf_keras, [*serialization.LOCAL.ALL_OBJECTS, *initializers_2.LOCAL.ALL_OBJECTS]),
    ):
        known = known_objects(generation)
        assert [name for name in names if not known.knows(name)] in ([], ["Lambda"])
