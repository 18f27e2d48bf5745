"""Endless downloads, in size or in time, are given up. The error names the flag for the bound."""

import gzip
import itertools
import tarfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hubopt._util.digest import sha256
from hubopt.errors import HandleError, LimitError, UsageError
from hubopt.models.download import Patience
from hubopt.models.fetch import fetch
from hubopt.models.limits import Limits
from tests.conftest import Ran
from tests.web import Page, Web, serve

OK = b"HTTP/1.0 200 OK\r\n"
QUICK = Patience(attempts=3, first_wait_s=0.01, timeout_s=5.0)


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
    file = tmp_path_factory.mktemp("packed") / "model.tar.gz"
    with tarfile.open(file, "w:gz") as archive:
        archive.add(tiny, arcname=".")
    return file.read_bytes()


def refused(url: str, cache: Path, limits: Limits, patience: Patience = QUICK) -> LimitError:
    with pytest.raises(LimitError) as caught:
        fetch(url, patience=patience, limits=limits)
    assert [path.name for path in cache.iterdir() if path.suffix != ".lock"] == []
    return caught.value


def endless(head: bytes, piece: bytes, wait_s: float = 0.0) -> Callable[[], Iterator[bytes]]:
    def give() -> Iterator[bytes]:
        yield head
        while True:
            time.sleep(wait_s)
            yield piece

    return give


def test_an_endless_download_is_given_up_and_leaves_nothing(
    web: Web, tiny: Path, packed: bytes, cache: Path
) -> None:
    web.pages["/model"] = Page(b"", raw=endless(OK + b"\r\n", bytes(1 << 16)))
    error = refused(f"{web.url}/model", cache, Limits(download_bytes=10**6))
    assert error.found == "it takes more than 1,000,000 bytes to download"
    assert error.expected == "at most 1,000,000 bytes"
    assert "--max-download SIZE" in error.way_out
    assert len(web.asked) == 1
    web.pages["/model"] = Page(packed)
    assert fetch(f"{web.url}/model", limits=Limits(download_bytes=10**6)).digest == sha256(tiny)


def test_a_download_that_declares_too_much_is_not_read(web: Web, cache: Path) -> None:
    sent: list[int] = []

    def give() -> Iterator[bytes]:
        yield OK + b"Content-Length: 3000000000\r\n\r\n"
        for number in itertools.count():
            sent.append(number)
            yield bytes(1 << 16)

    web.pages["/model"] = Page(b"", raw=give)
    error = refused(f"{web.url}/model", cache, Limits(download_bytes=2 * 10**9))
    assert error.found == "it takes 3,000,000,000 bytes to download"
    assert len(sent) < 1000


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"\r\n", b"x"),
        (b"Content-Length: 99999\r\n\r\n", b"x"),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    ],
    ids=["open", "declared", "chunked"],
)
def test_a_download_that_is_too_slow_is_given_up(
    head: bytes, piece: bytes, web: Web, cache: Path
) -> None:
    web.pages["/model"] = Page(b"", raw=endless(OK + head, piece, 0.02))
    start = time.monotonic()
    error = refused(
        f"{web.url}/model", cache, Limits(download_s=20, min_rate=1000, rate_window_s=0.3)
    )
    assert time.monotonic() - start < 3
    assert "bytes a second; " in error.found
    assert error.expected == "at least 1,000 bytes a second, over 0.3 seconds"
    assert "--min-rate" in error.way_out
    assert len(web.asked) == 1


@pytest.mark.parametrize(
    "head",
    [OK + b"\r\n", OK + b"Transfer-Encoding: chunked\r\n\r\n", OK + b"X-Long: "],
    ids=["body", "length", "header"],
)
def test_the_time_is_bounded_wherever_the_server_is_slow(
    head: bytes, web: Web, cache: Path
) -> None:
    web.pages["/model"] = Page(b"", raw=endless(head, b"1", 0.02))
    start = time.monotonic()
    error = refused(f"{web.url}/model", cache, Limits(download_s=0.4, min_rate=0))
    assert time.monotonic() - start < 3
    assert error.found == "it was not downloaded within 0.4 seconds"
    assert "--max-time" in error.way_out


def test_redirects_and_attempts_share_one_time_limit(web: Web, cache: Path) -> None:
    for number in range(20):
        location = {"Location": f"{web.url}/{number + 1}"}
        web.pages[f"/{number}"] = Page(b"", 302, location, seconds=0.15)
    start = time.monotonic()
    assert "not downloaded within" in refused(f"{web.url}/0", cache, Limits(download_s=0.4)).found
    assert time.monotonic() - start < 3
    web.pages["/busy"] = Page(b"", failures=[503] * 99, seconds=0.1)
    many = Patience(attempts=99, first_wait_s=0.01)
    start = time.monotonic()
    assert "not downloaded" in refused(f"{web.url}/busy", cache, Limits(download_s=0.4), many).found
    assert time.monotonic() - start < 3


def test_a_redirect_loop_is_an_error(web: Web) -> None:
    web.pages["/model"] = Page(b"", 302, {"Location": f"{web.url}/model"})
    with pytest.raises(HandleError, match="more than 30 redirects"):
        fetch(f"{web.url}/model", patience=QUICK)
    assert len(web.asked) == 31


def test_a_redirect_is_followed_without_reading_its_body(
    web: Web, tiny: Path, packed: bytes
) -> None:
    head = b"HTTP/1.0 302 Found\r\nLocation: /there\r\n\r\n"
    web.pages["/model"] = Page(b"", raw=endless(head, bytes(1 << 16)))
    web.pages["/there"] = Page(packed)
    limits = Limits(download_bytes=10**6, download_s=20)
    assert fetch(f"{web.url}/model", patience=QUICK, limits=limits).digest == sha256(tiny)


def test_a_compressed_body_that_inflates_too_much_is_refused(
    web: Web, tiny: Path, packed: bytes, cache: Path
) -> None:
    headers = {"Content-Encoding": "gzip"}
    web.pages["/bomb"] = Page(gzip.compress(bytes(200 << 20), 1), headers=headers)
    tracemalloc.start()
    error = refused(f"{web.url}/bomb", cache, Limits(unpacked_bytes=10**7))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30 << 20
    assert error.found == "it unpacks to more than 10,000,000 bytes"
    assert "--max-unpacked SIZE" in error.way_out
    web.pages["/model"] = Page(gzip.compress(packed), headers=headers)
    assert fetch(f"{web.url}/model").digest == sha256(tiny)
    for name, encoding, text in (("/cut", "gzip", "it is damaged"), ("/br", "br", "with br")):
        content = gzip.compress(packed)[:-9]
        web.pages[name] = Page(content, headers={"Content-Encoding": encoding})
        with pytest.raises(HandleError, match=text):
            fetch(f"{web.url}{name}", patience=QUICK)


def test_an_endless_answer_gives_no_storage_location(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFHUB_MODEL_LOAD_FORMAT", "UNCOMPRESSED")
    head = b"HTTP/1.0 303 See Other\r\n\r\n"
    web.pages["/model"] = Page(b"", raw=endless(head, b"x" * (1 << 16)))
    with pytest.raises(HandleError, match="without a storage location"):
        fetch(f"{web.url}/model", patience=QUICK, limits=Limits(download_s=20))


def test_a_download_through_tensorflow_is_bounded_too(tmp_path: Path, cache: Path) -> None:
    import tensorflow as tf

    for name in ("saved_model.pb", "more"):
        with tf.io.gfile.GFile(f"ram://bomb/model/{name}", "wb") as stream:
            stream.write(bytes(600))
    for location in ("ram://bomb/model", "ram://bomb/model/more"):
        limits = Limits(download_bytes=1000 if location.endswith("model") else 500)
        assert "to download" in refused(location, cache, limits).found
    for name in ("saved_model.pb", "more"):
        tf.io.gfile.remove(f"ram://bomb/model/{name}")


def test_the_limits_of_time_and_size_hold_for_kagglehub(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import kagglehub

    url = "https://www.kaggle.com/models/o/m/tensorFlow2/v/1"
    monkeypatch.setattr(kagglehub, "model_download", lambda _: time.sleep(20))
    assert "not downloaded within" in refused(url, cache, Limits(download_s=0.3)).found
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "saved_model.pb").write_bytes(bytes(2000))
    monkeypatch.setattr(kagglehub, "model_download", lambda _: str(tmp_path / "made"))
    error = refused(url, cache, Limits(unpacked_bytes=1000))
    assert error.found == "it unpacks to 2,000 bytes or more"


def test_each_bound_has_its_flag(
    hubopt: Callable[..., Ran], web: Web, packed: bytes, tmp_path: Path
) -> None:
    web.pages["/model"] = Page(packed)
    web.pages["/slow"] = Page(packed, seconds=3)
    web.pages["/drip"] = Page(b"", raw=endless(OK + b"\r\n", b"x", 0.02))
    for path, flag, value in (
        ("/model", "--max-download", "100B"),
        ("/model", "--max-unpacked", "0.1kB"),
        ("/slow", "--max-time", "0.3s"),
    ):
        ran = hubopt("inspect", f"{web.url}{path}", flag, value)
        assert ran.code == 2, ran.err
        assert flag in ran.err
        assert "Traceback" not in ran.err
    ran = hubopt(
        "export", f"{web.url}/model", "-t", "onnx", "-o", tmp_path / "o", "--min-rate", "x"
    )
    assert ran.code == 2
    assert "--min-rate x: not a size" in ran.err


def test_every_wrong_limit_is_reported_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        Limits.parse("much", "20GB", "soon", "-1")
    for flag in ("--max-download much", "--max-time soon", "--min-rate -1"):
        assert flag in caught.value.found
    assert "--max-unpacked" not in caught.value.found
    with pytest.raises(UsageError, match=r"download_bytes=0, download_s=-1"):
        Limits(download_bytes=0, download_s=-1)
    assert Limits.parse("1GB", "2GB", "90m", "10") == Limits(10**9, 2 * 10**9, 5400.0, 10)
