import os
from pathlib import Path

from hubopt._util.regular_files import irregular_files


def test_only_regular_files_may_be_opened(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    (folder / "file").touch()
    assert irregular_files(tmp_path / "a") == []
    assert irregular_files(folder / "file", inside=tmp_path) == []
    (folder / "link").symlink_to(folder / "file")
    assert irregular_files(folder) == []
    assert irregular_files(folder, inside=tmp_path) == [f"{folder / 'link'}: a symbolic link"]
    os.mkfifo(folder / "pipe")
    assert irregular_files(folder) == [f"{folder / 'pipe'}: a named pipe"]
    (folder / "pipe").unlink()
    (folder / "link").unlink()
    (folder / "link").symlink_to(tmp_path / "nowhere")
    assert irregular_files(folder) == []
    (folder / "link").unlink()
    (folder / "link").symlink_to("/dev/null")
    assert irregular_files(folder) == [f"{folder / 'link'}: a device"]


def test_links_in_parent_folders_count_if_the_path_must_stay_inside(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").touch()
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    path = tmp_path / "linked" / "file"
    assert irregular_files(path) == []
    assert irregular_files(path, inside=tmp_path) == [f"{tmp_path / 'linked'}: a symbolic link"]
    # The folder itself may be reached through links.
    assert irregular_files(path, inside=tmp_path / "linked") == []


def test_a_missing_path_is_reported(tmp_path: Path) -> None:
    assert irregular_files(tmp_path / "x", inside=tmp_path) == [f"{tmp_path / 'x'}: missing"]
    assert irregular_files(tmp_path / "x" / "y", inside=tmp_path) == [f"{tmp_path / 'x'}: missing"]
