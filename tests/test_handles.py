import functools
import hashlib
import http.server
import shutil
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubopt.digest import sha256, size_bytes
from hubopt.errors import HandleError
from hubopt.handles import locate


def test_a_saved_model_folder_is_found(tiny: Path) -> None:
    handle = locate(tiny)
    assert handle.folder == tiny.resolve()
    assert handle.digest == sha256(tiny)
    assert handle.origin == str(tiny.resolve())


def test_a_file_url_is_a_folder(tiny: Path) -> None:
    assert locate(f"file://{tiny}").folder == tiny.resolve()


def test_an_empty_handle_is_none() -> None:
    with pytest.raises(HandleError, match="no such file or folder"):
        locate("")


def test_no_such_handle() -> None:
    with pytest.raises(HandleError, match="handle nowhere: no such file or folder"):
        locate("nowhere")


def test_a_folder_that_is_no_model_tells_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "weights.txt").touch()
    with pytest.raises(HandleError, match=r"without saved_model.pb \(it holds weights.txt\)"):
        locate(tmp_path)


def test_a_model_one_folder_down_is_pointed_out(tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny, tmp_path / "versions" / "1")
    with pytest.raises(HandleError, match=r"pass the folder of one model: .*versions/1"):
        locate(tmp_path / "versions")


def test_a_file_is_no_model_folder(tmp_path: Path) -> None:
    (tmp_path / "model.h5").touch()
    with pytest.raises(HandleError, match="a file"):
        locate(tmp_path / "model.h5")


def test_the_digest_of_a_file_is_what_sha256sum_prints(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256(tmp_path / "x") == hashlib.sha256(b"abc").hexdigest()


def test_the_digest_of_a_folder_follows_names_and_contents(tiny: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny, tmp_path / "copy")
    assert sha256(copy) == sha256(tiny)
    assert size_bytes(copy) == size_bytes(tiny)
    with pytest.raises(FileNotFoundError):
        sha256(copy / "nothing")
    (copy / "saved_model.pb").rename(copy / "renamed.pb")
    assert sha256(copy) != sha256(tiny)
    (copy / "renamed.pb").rename(copy / "saved_model.pb")
    with (copy / "saved_model.pb").open("ab") as stream:
        stream.write(b"\0")
    assert sha256(copy) != sha256(tiny)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server on this machine, and the folder that it serves."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *message: object) -> None:
            return

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", folder
        running.shutdown()
        thread.join()


def test_an_archive_behind_a_url_is_fetched(
    server: tuple[str, Path], tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    url, folder = server
    with tarfile.open(folder / "model.tar.gz", "w:gz") as archive:
        archive.add(tiny, arcname=".")
    handle = locate(f"{url}/model.tar.gz")
    assert handle.digest == sha256(tiny)
    assert handle.origin == f"{url}/model.tar.gz"


def test_a_url_that_leads_nowhere(
    server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    url, _ = server
    with pytest.raises(HandleError, match="cannot be fetched: HTTPError"):
        locate(f"{url}/missing.tar.gz")
