"""A model behind a URL is fetched completely or not at all, once for all processes, and kept."""

import hashlib
import json
import logging
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubopt._util.digest import sha256
from hubopt.errors import HandleError, RuntimeMissingError
from hubopt.models.download import Patience, with_format
from hubopt.models.fetch import fetch, kaggle_name
from hubopt.models.formats import Found
from tests.web import Page, Web, serve

QUICK = Patience(attempts=3, first_wait_s=0.01, timeout_s=5.0)
KAGGLE = "https://www.kaggle.com/models/google/mobilenet-v2/TensorFlow2/130-224-classification/2"


@pytest.fixture
def web() -> Iterator[Web]:
    with serve() as running:
        yield running


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def packed(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The tiny model as a .tar.gz."""
    file = tmp_path_factory.mktemp("packed") / "model.tar.gz"
    with tarfile.open(file, "w:gz") as archive:
        archive.add(tiny, arcname=".")
    return file.read_bytes()


def key(url: str) -> str:
    return hashlib.sha1(url.encode()).hexdigest()


def strays(cache: Path) -> list[str]:
    """Return the files in the cache, with those that an interrupted download would leave."""
    return sorted(path.name for path in cache.iterdir() if path.suffix != ".lock")


def test_a_model_is_fetched_once_and_kept(web: Web, tiny: Path, packed: bytes, cache: Path) -> None:
    url = f"{web.url}/model?token=a%20b"
    web.pages["/model"] = Page(packed)
    first = fetch(url)
    assert first.found == Found("saved_model", cache / key(url))
    assert first.digest == sha256(tiny)
    assert fetch(url) == first
    assert web.asked == ["/model?token=a+b&tf-hub-format=compressed"]
    assert strays(cache) == [
        key(url),
        f"{key(url)}.descriptor.txt",
        f"{key(url)}.hubopt.json",
    ]
    record = json.loads((cache / f"{key(url)}.hubopt.json").read_text())
    assert record == {"handle": url, "digest": first.digest}


def test_the_format_is_appended_to_the_query() -> None:
    assert with_format("https://h/m/1", "compressed") == "https://h/m/1?tf-hub-format=compressed"
    assert with_format("https://h/m?a=1&b=", "x") == "https://h/m?a=1&b=&tf-hub-format=x"


def test_a_broken_connection_is_retried(web: Web, tiny: Path, packed: bytes) -> None:
    web.pages["/model"] = Page(packed, cuts=[len(packed) // 2])
    assert fetch(f"{web.url}/model", patience=QUICK).digest == sha256(tiny)
    assert web.ranges == [None, None]


def test_a_broken_download_is_resumed(web: Web, tmp_path: Path, tiny: Path, packed: bytes) -> None:
    padded = packed + bytes(1 << 18)  # gzip and tar ignore zeros at the end
    web.pages["/model"] = Page(
        padded, headers={"ETag": '"1"', "Accept-Ranges": "bytes"}, cuts=[len(padded) - 1000]
    )
    assert fetch(f"{web.url}/model", patience=QUICK).digest == sha256(tiny)
    first, second = web.ranges
    assert first is None
    assert second is not None
    assert int(second.removeprefix("bytes=").rstrip("-")) > 0


def test_content_that_changed_meanwhile_is_fetched_from_the_start(
    web: Web, tiny: Path, packed: bytes
) -> None:
    page = Page(
        packed + bytes(1 << 18),
        headers={"ETag": '"1"', "Accept-Ranges": "bytes"},
        cuts=[len(packed) + (1 << 17)],
    )
    web.pages["/model"] = page
    page.cuts.append(len(page.body) - 1)
    page.headers["ETag"] = '"2"'
    assert fetch(f"{web.url}/model", patience=QUICK).digest == sha256(tiny)


def test_a_busy_server_is_asked_again(web: Web, tiny: Path, packed: bytes) -> None:
    web.pages["/model"] = Page(packed, failures=[503, 429])
    assert fetch(f"{web.url}/model", patience=QUICK).digest == sha256(tiny)
    assert len(web.asked) == 3


def test_a_connection_that_always_breaks_leaves_nothing(
    web: Web, tiny: Path, packed: bytes, cache: Path
) -> None:
    web.pages["/model"] = Page(packed, cuts=[100, 200, 300])
    with pytest.raises(HandleError, match="cannot be fetched: .*"):
        fetch(f"{web.url}/model", patience=QUICK)
    assert len(web.asked) == 3
    assert strays(cache) == []
    assert fetch(f"{web.url}/model", patience=QUICK).digest == sha256(tiny)


def test_a_silent_server_is_given_up(web: Web, packed: bytes) -> None:
    web.pages["/model"] = Page(packed, seconds=0.4)
    with pytest.raises(HandleError, match="cannot be fetched: ReadTimeout"):
        fetch(f"{web.url}/model", patience=Patience(2, 0.01, timeout_s=0.1))
    assert len(web.asked) == 2


def test_a_client_error_is_not_retried(web: Web, cache: Path) -> None:
    with pytest.raises(HandleError, match="cannot be fetched: HTTPError: 404"):
        fetch(f"{web.url}/missing", patience=QUICK)
    assert len(web.asked) == 1
    assert strays(cache) == []


@pytest.mark.parametrize("url", ["http://", "http://[", "https://127.0.0.1:1/x"])
def test_an_invalid_address_is_an_error(url: str) -> None:
    with pytest.raises(HandleError):
        fetch(url, patience=QUICK)


def test_an_html_page_is_refused(web: Web, cache: Path) -> None:
    web.pages["/model"] = Page(b"<!doctype html><p>hi", headers={"Content-Type": "text/html"})
    with pytest.raises(
        HandleError, match=r"answers with text/html: 20 bytes .*'<!doctype"
    ) as caught:
        fetch(f"{web.url}/model", patience=QUICK)
    assert caught.value.thing == f"handle {web.url}/model"
    assert strays(cache) == []


def test_a_damaged_archive_is_reported_by_its_address(web: Web, packed: bytes, cache: Path) -> None:
    web.pages["/model"] = Page(packed[:-400])
    with pytest.raises(HandleError, match="cannot be unpacked: EOFError") as caught:
        fetch(f"{web.url}/model", patience=QUICK)
    assert caught.value.thing == f"handle {web.url}/model"
    assert strays(cache) == []


@pytest.mark.parametrize("harm", ["changed", "truncated", "gone", "emptied", "record"])
def test_a_damaged_entry_is_fetched_again(
    web: Web,
    tiny: Path,
    packed: bytes,
    cache: Path,
    caplog: pytest.LogCaptureFixture,
    harm: str,
) -> None:
    web.pages["/model"] = Page(packed)
    url = f"{web.url}/model"
    folder = fetch(url).found.path
    data = folder / "variables" / "variables.data-00000-of-00001"
    match harm:
        case "changed":
            data.write_bytes(bytes(data.stat().st_size))
        case "truncated":
            data.write_bytes(data.read_bytes()[:10])
        case "gone":
            (folder / "saved_model.pb").unlink()
        case "emptied":
            shutil.rmtree(folder)
            folder.mkdir()
        case "record":
            (cache / f"{key(url)}.hubopt.json").write_text("{")
    with pytest.raises(HandleError, match="offline, and its copy .* is damaged or not a model"):
        fetch(url, offline=True)
    with caplog.at_level(logging.WARNING):
        assert fetch(url).digest == sha256(tiny)
    assert "is damaged or not a model and is replaced" in caplog.text
    assert len(web.asked) == 2
    assert len(strays(cache)) == 3


def test_leftovers_of_a_killed_process_are_ignored_and_removed(
    web: Web, tiny: Path, packed: bytes, cache: Path
) -> None:
    url = f"{web.url}/model"
    web.pages["/model"] = Page(packed, seconds=60)
    child = start_fetch(url)
    deadline = time.monotonic() + 60
    while not web.asked:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert any(name.endswith(".hubopt.tmp") for name in strays(cache))
    web.pages["/model"] = Page(packed)
    assert fetch(url).digest == sha256(tiny)
    assert len(strays(cache)) == 3


def start_fetch(url: str) -> "subprocess.Popen[str]":
    code = "import sys; from hubopt.models.fetch import fetch; print(fetch(sys.argv[1]).digest)"
    return subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE, text=True)


def test_processes_share_one_download(web: Web, tiny: Path, packed: bytes) -> None:
    web.pages["/model"] = Page(packed, seconds=1.0)
    children = [start_fetch(f"{web.url}/model") for _ in range(2)]
    assert [child.communicate(timeout=60)[0].strip() for child in children] == [sha256(tiny)] * 2
    assert len(web.asked) == 1


def test_offline_the_cache_serves_and_the_network_is_never_touched(
    web: Web, tiny: Path, packed: bytes, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.pages["/model"] = Page(packed)
    fetch(f"{web.url}/model")

    def no_network(*_: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    assert fetch(f"{web.url}/model", offline=True).digest == sha256(tiny)
    for url in (f"{web.url}/other", KAGGLE, "gs://bucket/model", "https://tfhub.dev/google/m/1"):
        with pytest.raises(HandleError, match="offline, and .* is missing") as caught:
            fetch(url, offline=True)
        assert str(cache / key(url)) in caught.value.found
        assert f"copy {key(url)}* from its cache to {cache}" in caught.value.way_out
    assert len(web.asked) == 1


def test_a_model_that_tensorflow_hub_fetched_is_found(
    web: Web, tiny: Path, packed: bytes, cache: Path
) -> None:
    import tensorflow_hub

    web.pages["/model"] = Page(packed)
    url = f"{web.url}/model"
    theirs = Path(tensorflow_hub.resolve(url))
    ours = fetch(url, offline=True)
    assert ours.found.path == theirs
    assert ours.digest == sha256(tiny)
    with (theirs / "saved_model.pb").open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(HandleError, match="is damaged"):
        fetch(url, offline=True)


def test_tensorflow_hub_finds_a_fetched_model(web: Web, packed: bytes) -> None:
    import tensorflow_hub

    web.pages["/model"] = Page(packed)
    ours = fetch(f"{web.url}/model")
    assert Path(tensorflow_hub.resolve(f"{web.url}/model")) == ours.found.path
    assert len(web.asked) == 1


def test_a_cache_that_cannot_be_written_still_serves(
    web: Web, tiny: Path, packed: bytes, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failing write replaces a read-only folder, because root may write to every folder."""
    shutil.copytree(tiny, cache / key(web.url))

    def read_only(*_: object, **__: object) -> None:
        raise PermissionError(13, "read-only")

    monkeypatch.setattr(Path, "write_text", read_only)
    monkeypatch.setattr(Path, "mkdir", read_only)
    assert fetch(web.url, offline=True).digest == sha256(tiny)
    with pytest.raises(HandleError, match="cannot be put into the cache: .*read-only"):
        fetch(f"{web.url}/model")


def test_a_remote_cache_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", "gs://bucket/cache")
    with pytest.raises(HandleError, match="TFHUB_CACHE_DIR gs://bucket/cache: a remote folder"):
        fetch("https://h/m")


def test_a_keras_file_is_fetched_as_it_is(web: Web, cache: Path) -> None:
    web.pages["/files/my%20net.h5"] = Page(b"\x89HDF\r\n\x1a\n and so on")
    fetched = fetch(f"{web.url}/files/my%20net.h5")
    assert fetched.found.kind == "keras"
    assert fetched.found.path.name == "my net.h5"
    assert fetched.digest == sha256(fetched.found.path)
    assert web.asked == ["/files/my%20net.h5"]
    assert fetch(f"{web.url}/files/my%20net.h5") == fetched
    assert len(web.asked) == 1


def test_a_keras_file_under_another_name_gets_its_suffix(web: Web) -> None:
    web.pages["/download"] = Page(b"\x89HDF\r\n\x1a\n and so on")
    assert fetch(f"{web.url}/download").found.path.name == "model.h5"


@pytest.fixture
def ram(tiny: Path) -> Iterator[str]:
    """The tiny model in TensorFlow's in-memory file system, as a replacement for gs://."""
    import tensorflow as tf

    root = "ram://bucket/model"
    for file in tiny.rglob("*"):
        if file.is_file():
            target = f"{root}/{file.relative_to(tiny).as_posix()}"
            tf.io.gfile.makedirs(target.rpartition("/")[0])
            tf.io.gfile.copy(str(file), target, overwrite=True)
    yield root
    tf.io.gfile.rmtree(root)


@pytest.mark.parametrize("end", ["", "/"])
def test_a_folder_that_tensorflow_reads_is_copied(ram: str, tiny: Path, end: str) -> None:
    assert fetch(ram + end).digest == sha256(tiny)


def test_an_archive_that_tensorflow_reads_is_unpacked(ram: str, tiny: Path, packed: bytes) -> None:
    import tensorflow as tf

    with tf.io.gfile.GFile(f"{ram}/model.tar.gz", "wb") as stream:
        stream.write(packed)
    assert fetch(f"{ram}/model.tar.gz").digest == sha256(tiny)


@pytest.mark.parametrize("url", ["ram://bucket/nothing", "nosuchscheme://bucket/model"])
def test_a_url_that_tensorflow_cannot_read_is_an_error(url: str, cache: Path) -> None:
    with pytest.raises(HandleError, match=f"cannot be fetched: {url}: "):
        fetch(url)
    assert strays(cache) == []


def test_a_model_is_fetched_by_the_uncompressed_protocol(
    web: Web, ram: str, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hubopt.models import fetch as module

    monkeypatch.setenv("TFHUB_MODEL_LOAD_FORMAT", "UNCOMPRESSED")
    web.pages["/model"] = Page(b"gs://bucket/model", 303)
    copy = module.copy_files
    monkeypatch.setattr(
        module, "copy_files", lambda place, *to: copy(place.replace("gs://", "ram://"), *to)
    )
    assert fetch(f"{web.url}/model", patience=QUICK).digest == sha256(tiny)
    assert web.asked == ["/model?tf-hub-format=uncompressed"]
    for page in (Page(b"gs://bucket/model", 200), Page(b"file:///etc", 303)):
        web.pages["/other"] = page
        with pytest.raises(HandleError, match="without a storage location"):
            fetch(f"{web.url}/other", patience=QUICK)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (KAGGLE, "google/mobilenet-v2/TensorFlow2/130-224-classification/2"),
        ("https://kaggle.com/models/o/m/tfLite/v", "o/m/tfLite/v"),
        ("https://www.kaggle.com/models/o/m/frameworks/F/variations/v/versions/3", "o/m/F/v/3"),
        ("https://www.kaggle.com/models/o/m", None),
        ("https://tfhub.dev/google/m/1", None),
    ],
)
def test_kaggle_addresses_are_recognized(url: str, name: str | None) -> None:
    assert kaggle_name(url) == name


@pytest.fixture
def kaggle(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Web:
    """The real Kaggle client, connected to the local server."""
    environments = pytest.importorskip("kagglesdk.kaggle_env")
    monkeypatch.setitem(environments._env_to_endpoint, environments.KaggleEnv.LOCAL, web.url)
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kagglehub"))
    return web


def test_kaggle_models_are_fetched_by_kagglehub(kaggle: Web, tiny: Path, packed: bytes) -> None:
    service = "/api/v1/models.ModelApiService"
    files = Page(
        b'{"files": [], "nextPageToken": "more"}', headers={"Content-Type": "application/json"}
    )
    kaggle.pages[f"{service}/ListModelInstanceVersionFiles"] = files
    kaggle.pages[f"{service}/DownloadModelInstanceVersion"] = Page(packed)
    assert fetch(KAGGLE).digest == sha256(tiny)
    asked = len(kaggle.asked)
    assert fetch(KAGGLE, offline=True).digest == sha256(tiny)
    assert len(kaggle.asked) == asked


def test_when_kagglehub_fails_plain_http_is_tried_and_both_are_reported(
    kaggle: Web, tiny: Path, packed: bytes, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hubopt.models import fetch as module

    monkeypatch.setattr(module, "kaggle_name", lambda _: "google/m/TensorFlow2/v/1")
    with pytest.raises(HandleError) as caught:
        fetch(f"{kaggle.url}/model", patience=QUICK)
    _, by_kagglehub, *_, by_http = caught.value.found.splitlines()
    assert by_kagglehub.startswith("  - by kagglehub: KaggleApiHTTPError: 404")
    assert by_http.startswith("  - by plain HTTP: cannot be fetched: HTTPError: 404")
    assert strays(cache) == []
    kaggle.pages["/model"] = Page(packed)
    assert fetch(f"{kaggle.url}/model", patience=QUICK).digest == sha256(tiny)


def test_without_kagglehub_plain_http_is_used(
    web: Web, tiny: Path, packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hubopt.models import fetch as module

    monkeypatch.setattr(module, "kaggle_name", lambda _: "google/m/TensorFlow2/v/1")
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    web.pages["/model"] = Page(packed)
    assert fetch(f"{web.url}/model").digest == sha256(tiny)


def test_a_missing_package_that_a_download_needs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "requests", None)
    with pytest.raises(RuntimeMissingError, match="no requests is installed here"):
        fetch("https://h/m")
