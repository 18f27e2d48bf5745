"""Models of the Hugging Face hub: only the model's files, of one commit, within the bounds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubopt._util.digest import sha256
from hubopt.errors import HandleError, LimitError
from hubopt.models.download import Patience
from hubopt.models.fetch import fetch
from hubopt.models.handles import LoadPolicy, locate
from hubopt.models.hugging_face import Repository
from hubopt.models.limits import Limits
from tests.web import Page, Web, serve

QUICK = Patience(attempts=2, first_wait_s=0.01, timeout_s=5.0)
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    with serve() as running:
        monkeypatch.setenv("HF_ENDPOINT", f"{running.url}/")
        yield running


def publish(web: Web, files: dict[str, bytes], revision: str = "main") -> None:
    """Serve a repository ``us/model`` as the hub does."""
    listing = {"sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
    path = f"/api/models/us/model/revision/{revision}"
    web.pages[path] = Page(json.dumps(listing).encode())
    for name, body in files.items():
        web.pages[f"/us/model/resolve/{COMMIT}/{name}"] = Page(body)


def files_of(folder: Path, prefix: str = "") -> dict[str, bytes]:
    return {
        f"{prefix}{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


OTHERS = {"README.md": b"read me", "model.onnx": b"onnx", ".gitattributes": b"*"}


@pytest.mark.parametrize(
    ("handle", "prefix", "revision"),
    [
        ("hf://us/model", "", "main"),
        ("hf://us/model@v1.0/", "", "v1.0"),
        ("hf://us/model", "deep/saved_model/", "main"),
        ("hf://us/model/deep", "deep/saved_model/", "main"),
        ("hf://us/model@v1/deep/saved_model", "deep/saved_model/", "v1"),
    ],
)
def test_a_saved_model_is_fetched_without_the_rest(
    web: Web, tiny: Path, handle: str, prefix: str, revision: str
) -> None:
    publish(web, files_of(tiny, prefix) | OTHERS, revision)
    found = locate(handle)
    assert found.kind == "saved_model"
    assert found.digest == sha256(tiny)
    assert found.origin == handle
    assert not any(name in path for path in web.asked for name in OTHERS)
    count = len(web.asked)
    assert locate(handle, LoadPolicy(offline=True)).digest == found.digest
    assert len(web.asked) == count


def test_a_keras_file_is_fetched(web: Web, tmp_path: Path) -> None:
    import tf_keras

    model = tf_keras.Sequential([tf_keras.layers.Dense(1, input_shape=(2,))])
    model.save(tmp_path / "model.keras")
    body = (tmp_path / "model.keras").read_bytes()
    publish(web, {"nets/model.keras": body, "nets/tf_model.h5": b"weights"} | OTHERS)
    found = locate("hf://us/model")
    assert found.kind == "keras"
    assert found.path is not None
    assert found.path.read_bytes() == body


def test_several_models_must_be_told_apart(web: Web, tiny: Path) -> None:
    publish(web, files_of(tiny, "a/") | files_of(tiny, "b/"))
    with pytest.raises(HandleError) as caught:
        locate("hf://us/model")
    assert "2 TensorFlow models are in it: a, b" in caught.value.found
    assert caught.value.way_out == "name it: hf://us/model/a"
    assert locate("hf://us/model/b").digest == sha256(tiny)


def test_weights_of_another_library_are_no_model(web: Web) -> None:
    publish(web, {"config.json": b"{}", "tf_model.h5": b"x"})
    with pytest.raises(HandleError, match="tf_model.h5 holds the weights of a class"):
        locate("hf://us/model")


@pytest.mark.parametrize("name", ["../evil/saved_model.pb", "/etc/saved_model.pb", "a\\b", "a//b"])
def test_a_file_outside_of_the_repository_is_refused(web: Web, name: str) -> None:
    publish(web, {"saved_model.pb": b"x", name: b"evil"})
    with pytest.raises(HandleError, match="files outside of it"):
        locate("hf://us/model")
    assert len(web.asked) == 1


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"sha": 1, "siblings": []}', b'{"sha": "../..", "siblings": []}', b"[" * 10_000],
)
def test_an_odd_listing_is_an_error(web: Web, body: bytes) -> None:
    web.pages["/api/models/us/model/revision/main"] = Page(body)
    with pytest.raises(HandleError, match="no listing|names no commit"):
        locate("hf://us/model")


def test_the_bound_is_of_all_files_together(web: Web) -> None:
    publish(web, {"saved_model.pb": bytes(600), "variables/a": bytes(600)})
    with pytest.raises(LimitError, match="600 bytes to download"):
        fetch("hf://us/model", patience=QUICK, limits=Limits(download_bytes=1000))


def test_a_repository_that_is_gone_or_private_is_an_error(web: Web) -> None:
    with pytest.raises(HandleError) as caught:
        fetch("hf://us/private", patience=QUICK)
    assert "404" in caught.value.found
    assert "hf download" in caught.value.way_out
    assert caught.value.thing == "handle hf://us/private"


@pytest.mark.parametrize(
    "handle", ["hf://", "hf://us", "hf://us/m/../x", "hf://us/m@a b", "hf://us/m?x", "hf://u s/m"]
)
def test_an_address_that_is_none_of_the_hubs_is_refused(web: Web, handle: str) -> None:
    with pytest.raises(HandleError, match="no place on the Hugging Face hub"):
        fetch(handle, patience=QUICK)
    assert web.asked == []


def test_the_parts_of_a_handle() -> None:
    assert Repository.parse("hf://a/b@r/c/d.keras") == Repository("a/b", "r", "c/d.keras")
    assert Repository.parse("hf://a/b") == Repository("a/b", "main", "")
