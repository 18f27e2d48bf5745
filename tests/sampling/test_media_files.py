"""Pictures and sounds as inputs: right values, and nothing guessed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hubopt.errors import RuntimeMissingError, UsageError
from hubopt.sampling.picture_files import parse_pixels, read_picture
from hubopt.sampling.sound_files import read_sound
from hubopt.sampling.user_data import DataError
from hubopt.spec import Dim, TensorSpec


def tensor(dtype: str, *sizes: int | str) -> TensorSpec:
    dims = tuple(
        Dim(1, "flag", size) if isinstance(size, str) else Dim(size, "flag") for size in sizes
    )
    return TensorSpec("x", dtype, dims)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Two rows of three pixels: red, green, blue; black, white, grey."""
    image = pytest.importorskip("PIL.Image")
    rows = [[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[0, 0, 0], [255, 255, 255], [51, 51, 51]]]
    image.fromarray(np.array(rows, np.uint8)).save(tmp_path / "x.png")
    return tmp_path / "x.png"


def test_a_picture_keeps_its_bytes_for_a_model_of_bytes(picture: Path) -> None:
    array = read_picture(picture, tensor("uint8", 1, 2, 3, 3), None, False)
    assert array.dtype == np.uint8
    assert array[0, 0].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    first = read_picture(picture, tensor("uint8", 1, 3, 2, 3), None, True)
    assert first.shape == (1, 3, 2, 3)


def test_channels_may_come_first_and_sizes_may_be_open(picture: Path) -> None:
    array = read_picture(picture, tensor("uint8", "b", 3, "h", "w"), None, False)
    assert array.shape == (1, 3, 2, 3)
    assert array[0, 0].tolist() == [[255, 0, 0], [0, 255, 51]]
    grey = read_picture(picture, tensor("uint8", 1, 2, 3, 1), None, False)
    assert grey[0, 1, :, 0].tolist() == [0, 255, 51]


def test_what_black_and_white_are_is_asked_for(picture: Path) -> None:
    spec = tensor("float32", 1, 2, 3, 3)
    with pytest.raises(DataError, match="found bytes, 0 to 255; expected float32") as caught:
        read_picture(picture, spec, None, False)
    assert "--pixels 0:1" in caught.value.way_out
    array = read_picture(picture, spec, parse_pixels("-1:1"), False)
    assert array.dtype == np.float32
    np.testing.assert_allclose(array[0, 1, :, 0], [-1, 1, -0.6], atol=1e-6)


@pytest.mark.parametrize("text", ["", "1", "1:0", "a:b", "0:1:2", "nan:1"])
def test_a_range_of_pixels_that_is_none_is_an_error(text: str) -> None:
    with pytest.raises(UsageError, match="no range"):
        parse_pixels(text)


def test_another_size_is_scaled_on_request_only(picture: Path) -> None:
    spec = tensor("uint8", 1, 4, 6, 3)
    with pytest.raises(DataError, match="found 2 x 3 pixels; expected 4 x 6") as caught:
        read_picture(picture, spec, None, False)
    assert "--resize" in caught.value.way_out
    assert read_picture(picture, spec, None, True).shape == (1, 4, 6, 3)


def test_a_picture_of_too_many_pixels_is_not_decoded(
    picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubopt.sampling.picture_files._MOST_PIXELS", 5)
    with pytest.raises(DataError, match="3 x 2 pixels; expected at most 5"):
        read_picture(picture, tensor("uint8", 1, 2, 3, 3), None, False)


def test_a_damaged_picture_and_no_picture_are_errors(picture: Path) -> None:
    spec = tensor("uint8", 1, 2, 3, 3)
    picture.write_bytes(picture.read_bytes()[:50])
    with pytest.raises(DataError, match="cannot be decoded|none of"):
        read_picture(picture, spec, None, False)
    picture.write_bytes(b"nothing")
    with pytest.raises(DataError, match="it is none of PNG"):
        read_picture(picture, spec, None, False)
    with pytest.raises(DataError, match="no picture"):
        read_picture(picture, tensor("float32", 1, 8), None, False)


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """Ten samples at 16 kHz, 16 bits."""
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(tmp_path / "x.wav", np.arange(10, dtype=np.int16) * 3276, 16000)
    return tmp_path / "x.wav"


@pytest.mark.parametrize(
    ("sizes", "shape"),
    [((4,), (2, 4)), ((1, 4), (2, 1, 4)), ((1, 4, 1), (2, 1, 4, 1)), (("n",), (1, 10))],
)
def test_a_sound_comes_in_windows_of_the_models_length(
    sound: Path, sizes: tuple[Any, ...], shape: tuple[int, ...]
) -> None:
    found = read_sound(sound, tensor("float32", *sizes))
    assert found.array.shape == shape
    np.testing.assert_allclose(
        found.array.ravel(), np.arange(found.array.size) * 3276 / 32768, atol=1e-7
    )
    assert "10 samples at 16,000 Hz" in found.note
    assert ("the last 2 samples are left out" in found.note) == (sizes[0] != "n")


def test_a_sound_for_integers_keeps_its_integers(sound: Path) -> None:
    found = read_sound(sound, tensor("int16", 10)).array
    assert found.dtype == np.int16
    assert found[0].tolist() == [at * 3276 for at in range(10)]


def test_a_sound_that_does_not_fit_is_an_error(sound: Path, tmp_path: Path) -> None:
    import soundfile

    with pytest.raises(DataError, match="expected at least 11 for x"):
        read_sound(sound, tensor("float32", 11))
    with pytest.raises(DataError, match="found 1 channels; expected 2"):
        read_sound(sound, tensor("float32", 1, 4, 2))
    with pytest.raises(DataError, match="no sound"):
        read_sound(sound, tensor("float32", 1, 4, 4, 3))
    soundfile.write(tmp_path / "float.wav", np.full(4, 0.5, np.float32), 8000, "FLOAT")
    assert read_sound(tmp_path / "float.wav", tensor("float32", 4)).array.tolist() == [[0.5] * 4]
    sound.write_bytes(b"RIFFnothing")
    with pytest.raises(DataError, match="cannot be decoded"):
        read_sound(sound, tensor("float32", 4))


def test_a_sound_of_too_many_values_is_not_decoded(
    sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubopt.sampling.sound_files._MOST_VALUES", 9)
    with pytest.raises(DataError, match="found 10 values; expected at most 9"):
        read_sound(sound, tensor("float32", 4))


def test_without_the_packages_the_error_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "soundfile", None)
    for read in (
        lambda: read_picture(tmp_path / "x.png", tensor("uint8", 1, 2, 3, 3), None, False),
        lambda: read_sound(tmp_path / "x.wav", tensor("float32", 4)),
    ):
        with pytest.raises(RuntimeMissingError, match=r"hubopt\[media\]"):
            read()
