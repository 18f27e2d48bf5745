"""A full disk is reported as such and by name, and damages no valid entry."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hubopt._platform.resources import translate_resource_errors
from hubopt._platform.staging import staging
from hubopt.bundles.stage_store import Entry, Label, StageStore
from hubopt.errors import ResourceError
from hubopt.workers.worker import Worker
from tests.conftest import Ran
from tests.security.disks import needs_mounts, small_disk

TRACE = Label("trace", "a-model")
BYTES = 200_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk that is too small for what the tests write."""
    with small_disk(tmp_path / "disk", "size=64k") as folder:
        yield folder


@pytest.fixture
def store(tmp_path: Path) -> StageStore:
    """A store with one valid entry."""
    store = StageStore(tmp_path / "store", 10**9)
    (tmp_path / "weights").write_bytes(os.urandom(BYTES))
    store.put("key", TRACE, "{}", {"weights": tmp_path / "weights"})
    return store


def found(store: StageStore) -> Entry:
    looked_up = store.look_up("key")
    assert looked_up is not None
    return looked_up[0]


def fill(folder: Path) -> None:
    for at in range(10):
        (folder / str(at)).touch()


def write_too_much(path: Path) -> None:
    """Write like NumPy and other libraries, whose errors name no file."""
    with path.open("wb") as stream:
        stream.write(b"x" * BYTES)


@needs_mounts
def test_a_full_destination_damages_no_entry(
    store: StageStore, disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entry = found(store)
    with pytest.raises(OSError, match="No space left") as caught:
        store.take(entry, {"weights": disk / "weights"})
    assert caught.value.errno == errno.ENOSPC
    assert list(disk.iterdir()) == []
    assert "damaged" not in caplog.text
    assert found(store) == entry


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EMFILE])
def test_no_other_error_of_the_destination_damages_an_entry(
    store: StageStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: int,
) -> None:
    def refuse(source: Path, destination: Path) -> None:
        Path(destination).write_bytes(b"half")
        raise OSError(number, os.strerror(number))

    entry = found(store)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", refuse)
        with pytest.raises(OSError, match=os.strerror(number)):
            store.take(entry, {"weights": tmp_path / "taken"})
    assert not (tmp_path / "taken").exists()
    assert "damaged" not in caplog.text
    assert found(store) == entry


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES])
def test_an_entry_that_cannot_be_opened_at_the_moment_is_skipped(
    store: StageStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: int,
) -> None:
    def refuse(*_: Any, **__: Any) -> str:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", refuse)
        assert store.look_up("key") is None
        assert store.entries() == []
    assert "damaged" not in caplog.text
    assert found(store)


def test_an_entry_is_not_damaged_when_memory_runs_out(
    store: StageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_out(*_: Any) -> None:
        raise MemoryError

    entry = found(store)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", run_out)
        with pytest.raises(MemoryError):
            store.take(entry, {"weights": tmp_path / "taken"})
    assert found(store) == entry


@needs_mounts
def test_a_full_store_does_not_fail_an_export(
    hubopt: Callable[..., Ran], tiny: Path, tmp_path: Path, disk: Path
) -> None:
    environment = {**os.environ, "HUBOPT_CACHE_DIR": str(disk), "HUBOPT_CACHE_MAX_BYTES": "1GB"}
    (disk / "filler").write_bytes(b"x" * 60_000)
    ran = hubopt(
        *("export", tiny, "-t", "onnx", "-o", tmp_path / "out", "--rounds", 0, "--noise", "off"),
        env=environment,
    )
    assert ran.code == 0, ran.err
    assert "the cache cannot be written, and the export goes on without" in ran.err
    assert [path.name for path in disk.iterdir()] == ["filler"]


@needs_mounts
@pytest.mark.parametrize("size_kb", [4, 32], ids=["trace", "target"])
def test_an_export_reports_a_full_disk(
    hubopt: Callable[..., Ran], tiny: Path, tmp_path: Path, size_kb: int
) -> None:
    with small_disk(tmp_path / "little", f"size={size_kb}k") as disk:
        ran = hubopt(
            *("export", tiny, "-t", "onnx,tflite", "-o", disk / "out", "--rounds", 0, "--json"),
            *("--noise", "off"),
        )
        assert ran.code == 5
        assert f"{disk}/" in ran.err
        assert "the disk is full: " in ran.err
        assert f"MB of {size_kb * 1024 / 1e6:.1f} MB are free" in ran.err
        for wrong in ("Traceback", "defect", "save the model again", "tf.function", "last said"):
            assert wrong not in ran.err
        assert ran.json["exit_code"] == 5
        assert list(disk.iterdir()) == []


@needs_mounts
def test_a_lack_of_inodes_is_distinguished_from_a_lack_of_space(tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "disk", "size=10m,nr_inodes=8") as disk,
        pytest.raises(ResourceError, match="no inodes are left of 8"),
        staging(disk / "out") as folder,
        translate_resource_errors(folder),
    ):
        fill(folder)


@needs_mounts
def test_a_disk_that_is_full_before_anything_is_written_is_reported(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=10m,nr_inodes=1") as disk:
        with pytest.raises(ResourceError, match="no inodes are left"), staging(disk / "out"):
            raise AssertionError("the body must not run")
        assert list(disk.iterdir()) == []


@needs_mounts
def test_an_error_that_names_no_file_is_reported_with_the_disk(disk: Path, tmp_path: Path) -> None:
    with Worker(tmp_path / "log") as worker, pytest.raises(ResourceError) as caught:
        worker.call(write_too_much, disk / "file")
    assert caught.value.thing == f"disk {disk}"
    assert caught.value.found == (
        f"{disk / 'file'} cannot be written, the disk is full: 0.0 MB of 0.1 MB are free"
    )


@pytest.mark.parametrize("damage", ["value", "key", "kind", "format"])
def test_a_sealed_entry_with_wrong_content_is_made_again(
    hubopt: Callable[..., Ran], tiny: Path, tmp_path: Path, stages: Path, damage: str
) -> None:
    """An older version, or a user who renames entries, can leave such an entry."""
    arguments = ("export", tiny, "-t", "onnx", "--rounds", 0, "--noise", "off", "-o")
    assert hubopt(*arguments, tmp_path / "first").code == 0
    entries = {
        json.loads((entry / "entry.json").read_text())["entry"]["kind"]: entry
        for entry in stages.iterdir()
    }
    assert sorted(entries) == ["artifact", "comparison", "reference", "run", "trace"]
    for path in entries.values():
        forge(path, damage)
    ran = hubopt(*arguments, tmp_path / "second")
    assert ran.code == 0, ran.err
    assert "is damaged and is made anew" in ran.err
    assert "Traceback" not in ran.err
    # A run is looked up only if the reference is from the cache, a comparison only if the run is.
    for name in ("third", "fourth"):
        again = hubopt(*arguments, tmp_path / name)
        assert again.code == 0, again.err
        assert "Traceback" not in again.err
    last = hubopt(*arguments, tmp_path / "last")
    assert last.code == 0
    assert "damaged" not in last.err
    assert last.err.count("from the cache") == 4


def forge(path: Path, damage: str) -> None:
    """Give an entry other content and a valid seal."""
    from hubopt.bundles.stage_store import _sealed, _sha256

    sealed = json.loads((path / "entry.json").read_text())["entry"]
    if damage == "value":
        value = '{"another": "format"}'
        (path / "value.json").write_text(value)
        sealed["digests"][""] = _sha256(value)
    elif damage == "key":
        sealed["key"] = "0" * 64
    elif damage == "kind":
        sealed["kind"] = "another"
    else:
        sealed["digests"] = ["another"]
    (path / "entry.json").write_text(_sealed(Entry(**sealed)))
