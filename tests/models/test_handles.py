"""Every kind of handle is resolved locally and identified by its digest."""

import hashlib
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubopt._util.digest import sha256, size_bytes
from hubopt.errors import HandleError, PinError, UsageError, WorkerCrashError
from hubopt.models.handles import (
    Handle,
    LayerOptions,
    LoadPolicy,
    is_python,
    locate,
    long_form,
)
from hubopt.reference.layer_session import open_layer_session
from hubopt.workers.worker import Worker
from tests.web import Page, Web, serve

HDF5 = b"\x89HDF\r\n\x1a\n and so on"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def web() -> Iterator[Web]:
    with serve() as running:
        yield running


def write_keras_file(path: Path) -> Path:
    """Write a file with the members of a Keras 3 file; their contents do not matter here."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("metadata.json", "config.json", "model.weights.h5"):
            archive.writestr(name, "{}")
    return path


def write_tar(path: Path, **models: Path) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, model in models.items():
            archive.add(model, arcname=name)
    return path


def test_a_saved_model_folder_is_found(tiny: Path) -> None:
    handle = locate(tiny)
    assert handle == Handle(str(tiny), "saved_model", tiny.resolve(), sha256(tiny))
    assert handle.origin == str(tiny.resolve())


def test_a_path_is_relative_to_the_current_folder(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny.parent)
    assert locate(tiny.name).origin == str(tiny.resolve())


def test_a_tilde_is_the_home_folder(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tiny.parent))
    assert locate(f"~/{tiny.name}").path == tiny.resolve()
    with pytest.raises(HandleError, match="does not exist"):
        locate("~nobody-of-this-name/model")


def test_a_file_url_is_a_folder(tiny: Path, tmp_path: Path) -> None:
    assert locate(f"file://{tiny}").path == tiny.resolve()
    assert locate(f"file://localhost{tiny}").path == tiny.resolve()
    spaced = shutil.copytree(tiny, tmp_path / "a model")
    handle = locate(f"file://{tmp_path}/a%20model")
    assert handle.path == spaced.resolve()
    assert handle.origin == str(spaced.resolve())


def test_an_empty_handle_is_an_error() -> None:
    with pytest.raises(HandleError, match="does not exist: no such file or folder"):
        locate("")


def test_a_handle_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(HandleError, match="handle nowhere: does not exist: no such file"):
        locate("nowhere")


@pytest.mark.parametrize("text", ["x" * 5000, "a\0b"])
def test_a_handle_that_cannot_be_a_path_is_an_error(text: str) -> None:
    with pytest.raises(HandleError):
        locate(text)


def test_the_error_for_a_folder_without_a_model_lists_its_contents(tmp_path: Path) -> None:
    (tmp_path / "weights.txt").touch()
    with pytest.raises(HandleError, match=r"without saved_model.pb \(it holds weights.txt\)") as e:
        locate(tmp_path)
    assert "Trying to load a model of incompatible/unknown type" in e.value.found
    assert "contains neither 'saved_model.pb' nor 'saved_model.pbtxt'" in e.value.found


def test_a_model_one_folder_down_is_pointed_out(tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny, tmp_path / "versions" / "1")
    with pytest.raises(HandleError, match=r"pass the folder of one model: .*versions/1"):
        locate(tmp_path / "versions")


def test_a_keras_file_in_a_folder_is_pointed_out(tmp_path: Path) -> None:
    write_keras_file(tmp_path / "net.keras")
    with pytest.raises(HandleError, match=r"pass the Keras file: .*net.keras"):
        locate(tmp_path)


def test_keras_files_are_found(tmp_path: Path) -> None:
    keras = write_keras_file(tmp_path / "net.keras")
    assert locate(keras) == Handle(str(keras), "keras", keras.resolve(), sha256(keras))
    for name in ("net.h5", "net.hdf5", "NET.H5"):
        (tmp_path / name).write_bytes(HDF5)
        assert locate(tmp_path / name).kind == "keras"


@pytest.mark.parametrize("name", ["net.keras", "net.h5", "net.hdf5", "model.tar.gz", "net.onnx"])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no such thing")
    with pytest.raises(HandleError, match="a file that is not a model: 13 bytes"):
        locate(tmp_path / name)


def test_a_zip_with_the_suffix_keras_is_not_unpacked(tiny: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "model"), "zip", tiny))
    with pytest.raises(HandleError, match="a file that is not a model"):
        locate(archive.rename(tmp_path / "model.keras"))


@pytest.mark.parametrize("kind", ["gztar", "tar", "zip"])
def test_an_archive_is_unpacked_into_the_cache(
    tiny: Path, tmp_path: Path, cache: Path, kind: str
) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "model"), kind, tiny))
    handle = locate(archive)
    assert handle.kind == "saved_model"
    assert handle.digest == sha256(tiny)
    assert handle.path is not None
    assert handle.path.parent == cache.resolve()
    assert handle.origin == str(archive.resolve())
    assert locate(archive, LoadPolicy(offline=True)) == handle


def test_an_archive_is_recognized_by_its_content(tiny: Path, tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "model.tgz", **{".": tiny}).rename(tmp_path / "download")
    assert locate(archive).digest == sha256(tiny)


def test_an_archive_that_changed_is_unpacked_again(tiny: Path, tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "model.tgz", **{".": tiny})
    locate(archive)
    other = shutil.copytree(tiny, tmp_path / "other")
    (other / "more").write_text("more")
    write_tar(archive, **{".": other})
    assert locate(archive).digest == sha256(other)


def test_the_only_model_in_an_archive_may_be_in_a_subfolder(tiny: Path, tmp_path: Path) -> None:
    assert locate(write_tar(tmp_path / "a.tgz", net=tiny)).digest == sha256(tiny)
    assert locate(write_tar(tmp_path / "b.tgz", **{"net/1": tiny})).digest == sha256(tiny)
    keras = write_keras_file(tmp_path / "net.keras")
    handle = locate(write_tar(tmp_path / "c.tgz", **{"net/net.keras": keras}))
    assert handle.kind == "keras"
    assert handle.digest == sha256(keras)


def test_an_archive_of_several_models_lists_them(tiny: Path, tmp_path: Path, cache: Path) -> None:
    archive = write_tar(tmp_path / "models.tgz", one=tiny, two=tiny)
    with pytest.raises(HandleError, match="2 models are in it: one, two") as caught:
        locate(archive)
    assert caught.value.thing == f"handle {archive}"
    assert [path.suffix for path in cache.iterdir()] in ([], [".lock"])


def test_the_error_for_an_archive_without_a_model_lists_its_contents(tmp_path: Path) -> None:
    (tmp_path / "readme").touch()
    archive = write_tar(tmp_path / "a.tgz", readme=tmp_path / "readme")
    with pytest.raises(HandleError, match="no model is in it; it holds readme"):
        locate(archive)


def test_a_url_is_its_own_origin(web: Web, tiny: Path, tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "model.tar.gz", **{".": tiny})
    web.pages["/model.tar.gz"] = Page(archive.read_bytes())
    handle = locate(f"{web.url}/model.tar.gz")
    assert handle.kind == "saved_model"
    assert handle.digest == sha256(tiny)
    assert handle.origin == f"{web.url}/model.tar.gz"
    assert locate(f"{web.url}/model.tar.gz", LoadPolicy(offline=True)) == handle
    with pytest.raises(HandleError, match="offline"):
        locate(f"{web.url}/other", LoadPolicy(offline=True))


@pytest.mark.parametrize("text", ["net:Model", "package.module:attribute", "a.b:C.d"])
def test_a_python_object_is_named_and_not_imported(text: str) -> None:
    handle = locate(text)
    assert handle == Handle(text, "python", None, None)
    assert handle.origin == text
    assert "package" not in sys.modules


@pytest.mark.parametrize("text", ["net:", ":Model", "a..b:c", "a b:c", "1a:b"])
def test_a_text_that_names_no_python_object_is_taken_for_a_path(text: str) -> None:
    assert not is_python(text)
    with pytest.raises(HandleError, match="does not exist"):
        locate(text)


def test_a_path_with_a_colon_is_a_path(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net:model").symlink_to(tiny)
    monkeypatch.chdir(tmp_path)
    assert locate("net:model").kind == "saved_model"


def test_a_child_finds_no_module_in_the_current_folder_unless_a_handle_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text("def call(x):\n    return x\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    with Worker(tmp_path / "log") as child:
        with pytest.raises(WorkerCrashError, match="No module named 'only_here'"):
            child.call(eval, "__import__('only_here')")
        child.create(open_layer_session, "only_here:call", LayerOptions(), LoadPolicy())


def test_a_pin_that_matches_is_accepted(tiny: Path) -> None:
    digest = sha256(tiny)
    for pin in (f"sha256:{digest}", digest, digest.upper()):
        assert locate(tiny, LoadPolicy(pin)).digest == digest


def test_a_pin_that_does_not_match_is_an_error_with_both_digests(tiny: Path) -> None:
    with pytest.raises(PinError) as caught:
        locate(tiny, LoadPolicy(f"sha256:{'0' * 64}"))
    assert caught.value.found == f"sha256:{sha256(tiny)}"
    assert f"sha256:{'0' * 64}" in caught.value.expected


def test_a_python_object_cannot_be_pinned() -> None:
    with pytest.raises(PinError, match="a Python object, which has no digest"):
        locate("net:Model", LoadPolicy("0" * 64))


@pytest.mark.parametrize("pin", ["", "sha256:", "md5:" + "0" * 32, "0" * 63, "sha256:" + "g" * 64])
def test_a_pin_that_is_no_digest_is_an_error(pin: str) -> None:
    with pytest.raises(UsageError, match="not a SHA-256 digest"):
        LoadPolicy(pin)


def test_the_digest_of_a_file_is_what_sha256sum_prints(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256(tmp_path / "x") == hashlib.sha256(b"abc").hexdigest()


def test_the_digest_of_a_folder_depends_on_names_and_contents(tiny: Path, tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("short", "url"),
    [
        (
            "google/yamnet/tensorFlow2/yamnet",
            "https://www.kaggle.com/models/google/yamnet/tensorFlow2/yamnet",
        ),
        (
            "google/mobilenet-v2/TensorFlow2/130-224-classification/2",
            "https://www.kaggle.com/models/google/mobilenet-v2/TensorFlow2/130-224-classification/2",
        ),
        ("google/yamnet/tfLite/yamnet", "google/yamnet/tfLite/yamnet"),
        ("a/b/keras/c/d", "a/b/keras/c/d"),
        ("google/yamnet", "google/yamnet"),
    ],
)
def test_kaggles_short_form_is_the_url_of_the_model(short: str, url: str) -> None:
    assert long_form(short) == url


def test_a_path_that_looks_like_kaggles_short_form_is_a_path(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny, tmp_path / "a" / "b" / "keras" / "c")
    monkeypatch.chdir(tmp_path)
    assert locate("a/b/keras/c").digest == sha256(tiny)


def test_kaggles_short_form_has_the_cache_entry_of_the_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    with pytest.raises(HandleError, match="offline") as caught:
        locate("google/yamnet/tensorFlow2/yamnet/1", LoadPolicy(offline=True))
    url = "https://www.kaggle.com/models/google/yamnet/tensorFlow2/yamnet/1"
    assert hashlib.sha1(url.encode()).hexdigest() in caught.value.found
    assert caught.value.thing == f"handle {url}"
