"""A named pipe or a device as a model, or inside one, does not block hubopt."""

import os
import shutil
from pathlib import Path

import pytest

from hubopt.errors import HandleError
from hubopt.models.handles import locate
from tests.conftest import run_hubopt


@pytest.mark.parametrize("name", ["model.h5", "model.keras", "model.tar.gz", "model"])
def test_a_pipe_is_refused(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(HandleError, match="a named pipe"):
        locate(tmp_path / name)


@pytest.mark.parametrize("name", ["model.keras", "model"])
def test_a_link_to_itself_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).symlink_to(tmp_path / name)
    ran = run_hubopt("export", tmp_path / name, "-t", "onnx", "-o", tmp_path / "out")
    assert ran.code == 2
    assert "does not exist" in ran.err


@pytest.mark.parametrize("file", ["assets/words.txt", "variables/variables.index"])
def test_a_link_to_itself_inside_a_model_is_refused(file: str, tiny: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny, tmp_path / "model")
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).unlink(missing_ok=True)
    (folder / file).symlink_to(folder / file)
    with pytest.raises(HandleError, match="link|symbolic"):
        locate(folder)


def test_a_device_is_refused() -> None:
    with pytest.raises(HandleError, match="a device"):
        locate("/dev/zero")


@pytest.mark.parametrize("file", ["variables/variables.data-00000-of-00001", "saved_model.pb"])
def test_a_pipe_inside_a_model_is_not_opened(file: str, tiny: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny, tmp_path / "model")
    (folder / file).unlink()
    os.mkfifo(folder / file)
    with pytest.raises(HandleError, match="a named pipe"):
        locate(folder)
