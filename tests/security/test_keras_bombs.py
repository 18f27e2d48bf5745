"""Keras files that inflate (config, weights, attributes, chunks) are refused in little memory."""

import json
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tf_keras

from hubopt.errors import LimitError, LoadError
from hubopt.models.handles import LoadPolicy, locate
from hubopt.models.keras_files import load_keras_file, read_keras_file
from hubopt.models.limits import Limits
from hubopt.models.loading import load_model
from tests.conftest import Ran
from tests.security.bombs import Packed, write_zip

pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
MB, GB = 1 << 20, 1 << 30
SMALL = Limits(unpacked_bytes=10 * MB)


@contextmanager
def little_memory(most_bytes: int = 80 * MB) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most_bytes
    finally:
        tracemalloc.stop()


def refused(path: Path, limits: Limits = SMALL) -> LimitError:
    with little_memory(), pytest.raises(LimitError) as caught:
        load_keras_file(path, limits=limits)
    return caught.value


def small_model(path: Path, generation: object = keras) -> Path:
    layers = generation.layers  # type: ignore[attr-defined]
    model = generation.Sequential([layers.Input((4,)), layers.Dense(3)])  # type: ignore[attr-defined]
    model.save(path)
    return path


def add_to_zip(path: Path, **members: bytes) -> Path:
    """Write a ``.keras`` file anew with members replaced or added, deflated."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files |= {name.replace("__", "."): content for name, content in members.items()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def metadata() -> Packed:
    return Packed("metadata.json", b" ", 20)


@pytest.mark.parametrize("name", ["config.json", "metadata.json"])
def test_a_config_that_unpacks_from_three_megabytes_to_three_gigabytes_is_refused(
    name: str, tmp_path: Path
) -> None:
    other = {"config.json": "metadata.json", "metadata.json": "config.json"}[name]
    members = Packed(name, b" ", 3 * GB), Packed(other, b"1", 1)
    path = write_zip(tmp_path / "model.keras", *members)
    assert path.stat().st_size < 4 * MB
    with little_memory():
        assert locate(path).kind == "keras"
    error = refused(path, Limits())
    assert error.found == f"its {name} takes 3,221,225,472 bytes or more"


def test_a_config_that_hides_three_gigabytes_is_reported_as_damage(tmp_path: Path) -> None:
    members = Packed("config.json", b" ", 3 * GB, declared=100), Packed("metadata.json", b"1", 1)
    path = write_zip(tmp_path / "model.keras", *members)
    with little_memory(), pytest.raises(LoadError, match="it is not a Keras model, or damaged"):
        load_keras_file(path)


@pytest.mark.parametrize("name", ["model.weights.h5", "more.hdf5", "assets/words.txt"])
def test_weights_and_assets_count_with_their_declared_size(name: str, tmp_path: Path) -> None:
    members = [Packed(name, b"\0", 3 * GB), Packed("config.json", b"1", 1), metadata()]
    error = refused(write_zip(tmp_path / "model.keras", *members), Limits(unpacked_bytes=2 * GB))
    assert error.found == "it unpacks to 3,221,225,493 bytes or more"
    assert "--max-unpacked SIZE (Limits(unpacked_bytes=...))" in error.way_out


def test_weights_that_hide_three_gigabytes_are_reported_as_damage(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    members = [
        Packed("model.weights.h5", b"\0", 3 * GB, declared=100),
        Packed("config.json", b"1", 1),
    ]
    write_zip(path, *members, Packed("metadata.json", b"1", 1))
    with little_memory(), pytest.raises(LoadError, match="damaged"):
        load_keras_file(path, limits=SMALL)


@pytest.mark.parametrize("generation", [keras, tf_keras], ids=lambda package: package.__name__)
def test_a_config_in_hdf5_is_bounded(generation: object, tmp_path: Path) -> None:
    path = small_model(tmp_path / "model.h5", generation)
    with h5py.File(path, "a") as file:
        config = file.attrs["model_config"]
        file.attrs["model_config"] = config + " " * (33 * MB)
    with pytest.raises(LimitError, match=r"its model_config takes 34,\d+,\d+ bytes or more"):
        load_keras_file(path)
    with h5py.File(path, "a") as file:
        del file.attrs["model_config"]
        file.attrs.create("model_config", config)
    load_keras_file(path)


@pytest.mark.parametrize("suffix", ["h5", "keras"])
def test_a_dataset_of_terabytes_is_refused(suffix: str, tmp_path: Path) -> None:
    path = small_model(tmp_path / f"model.{suffix}")
    weights = path if suffix == "h5" else tmp_path / "weights.h5"
    if suffix == "keras":
        with zipfile.ZipFile(path) as archive:
            weights.write_bytes(archive.read("model.weights.h5"))
    with h5py.File(weights, "a") as file:
        file.create_dataset("bomb", (10**6, 10**6), "f4", chunks=(100, 100), compression="gzip")
    if suffix == "keras":
        add_to_zip(path, model__weights__h5=weights.read_bytes())
    assert "its weights take 4,000,000,000," in refused(path, Limits()).found


def test_a_chunk_that_inflates_to_more_than_it_declares_is_refused(tmp_path: Path) -> None:
    path = small_model(tmp_path / "model.h5")
    with h5py.File(path, "a") as file:
        dataset = file.create_dataset("bomb", (100,), "f4", chunks=(100,), compression="gzip")
        dataset[:] = 1
    load_keras_file(path)
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(MB)) for _ in range(300)) + packer.flush()
    with h5py.File(path, "a") as file:
        file["bomb"].id.write_direct_chunk((0,), packed)
    error = refused(path)
    assert error.found == "a chunk of its dataset '/bomb' inflates to more than it declares"


def test_filters_without_a_size_bound_are_refused(tmp_path: Path) -> None:
    path = small_model(tmp_path / "model.h5")
    with h5py.File(path, "a") as file:
        file.create_dataset("odd", data=np.arange(100), chunks=(10,), scaleoffset=4)
    assert "has filters with output of unknown size: [6]" in refused(path).found


@pytest.mark.parametrize(
    "options", [{"compression": "gzip", "shuffle": True}, {"compression": "lzf"}]
)
def test_compressed_weights_load(options: dict[str, object], tmp_path: Path) -> None:
    path = small_model(tmp_path / "model.h5")
    with h5py.File(path, "a") as file:
        names: list[str] = []
        file.visit(lambda name: names.append(name) if name.endswith("kernel") else None)
        (name,) = names
        values = file[name][()]
        del file[name]
        file.create_dataset(name, data=values, chunks=(2, 3), fletcher32=True, **options)
    loaded = load_keras_file(path)
    np.testing.assert_array_equal(loaded.get_weights()[0], values)


def test_a_group_name_is_not_read_once_for_every_layer_name(tmp_path: Path) -> None:
    path = small_model(tmp_path / "model.h5")
    with h5py.File(path, "a") as file:
        file.attrs["note"] = "x" * (5 * MB)
        group = file["model_weights"]
        names = [f"layer{number}" for number in range(1000)]
        group.attrs.create("layer_names", names, dtype=h5py.string_dtype())
    error = refused(path, Limits(unpacked_bytes=GB))
    assert "the 1,000 texts in its attribute 'layer_names' may take 5," in error.found


def test_weights_in_an_npz_archive_are_counted(tmp_path: Path) -> None:
    path = small_model(tmp_path / "model.keras")
    inner = write_zip(tmp_path / "inner.npz", Packed("a.npy", b"\0", GB))
    add_to_zip(path, model__weights__npz=inner.read_bytes())
    assert "it unpacks to 1,073,741,824 bytes or more" in refused(path).found


def test_the_bound_holds_for_every_entry_point(tmp_path: Path, hubopt: Callable[..., Ran]) -> None:
    path = small_model(tmp_path / "model.keras")
    few = LoadPolicy(limits=Limits(unpacked_bytes=1000))
    handle = locate(path, few)
    with pytest.raises(LimitError):
        load_model(handle, load_policy=few)
    from hubopt import KerasLayer

    with pytest.raises(LimitError):
        KerasLayer(path, limits=few.limits)
    ran = hubopt("inspect", path, "--max-unpacked", "1kB")
    assert ran.code == 2
    assert "at most 1,000 bytes unpacked" in ran.err
    assert read_keras_file(path).package == "keras"


def test_a_large_config_below_the_limit_is_read(tmp_path: Path) -> None:
    path = small_model(tmp_path / "model.keras")
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    config["notes"] = "x" * (20 * MB)
    add_to_zip(path, config__json=json.dumps(config).encode())
    load_keras_file(path)
