from pathlib import Path

import pytest

from hubopt._platform.staging import staging
from hubopt.errors import UsageError


def test_an_output_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    with staging(tmp_path / "deep" / "out") as folder:
        (folder / "file").touch()
        assert not (tmp_path / "deep" / "out").exists()
    assert [path.name for path in (tmp_path / "deep" / "out").iterdir()] == ["file"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]


def test_an_interrupted_output_does_not_appear(tmp_path: Path) -> None:
    def interrupted() -> None:
        with staging(tmp_path / "deep" / "down" / "out") as folder:
            (folder / "file").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["folder", "file", "dangling link"])
def test_an_existing_output_is_left_alone(tmp_path: Path, kind: str) -> None:
    output = tmp_path / "out"
    if kind == "folder":
        output.mkdir()
    elif kind == "file":
        output.write_text("mine")
    else:
        output.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="it exists already"), staging(output):
        raise AssertionError("the body must not run")
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_an_output_that_appears_meanwhile_is_left_alone(tmp_path: Path, kind: str) -> None:
    output = tmp_path / "out"

    def raced() -> None:
        with staging(output):
            output.mkdir() if kind == "folder" else output.write_text("theirs")

    with pytest.raises(UsageError, match="something has appeared there meanwhile"):
        raced()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(UsageError, match="file cannot be written: File exists"),
        staging(tmp_path / "file" / "out"),
    ):
        raise AssertionError("the body must not run")
