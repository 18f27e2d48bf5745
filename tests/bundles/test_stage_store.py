"""The store: entries are complete or missing, checked when used, and limited in total size."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hubopt._util.owned_folders import owned_folder
from hubopt.bundles.stage_store import Label, StageStore
from tests.leftovers import left_by_a_killed_process

TRACE = Label("trace", "a-model")
PUT = (
    "import sys; from pathlib import Path;"
    "from hubopt.bundles.stage_store import Label, StageStore;"
    "store = StageStore(Path(sys.argv[1]), 10**9);"
    "[store.put(f'k{at}', Label('trace', 'm'), 'v', {'file': Path(sys.argv[2])}) "
    "for at in range(30)]"
)


@pytest.fixture
def store(tmp_path: Path) -> StageStore:
    return StageStore(tmp_path / "deep" / "store", 10**6)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A folder and a file such as a stage produces."""
    (tmp_path / "made" / "sub").mkdir(parents=True)
    (tmp_path / "made" / "sub" / "weights").write_bytes(b"w" * 100)
    (tmp_path / "log").write_text("printed")
    return {"folder": tmp_path / "made", "log": tmp_path / "log"}


def fill(store: StageStore, key: str, size: int, folder: Path) -> None:
    path = folder / key
    path.write_bytes(b"x" * size)
    store.put(key, TRACE, "", {"file": path})


def use(store: StageStore, key: str, at: float) -> None:
    """Set the time at which an entry was last used."""
    os.utime(store.folder / key / "entry.json", (at, at))


def keys(store: StageStore) -> list[str]:
    return [entry.key for entry, _ in store.entries()]


def hidden(store: StageStore) -> list[Path]:
    return [path for path in store.folder.iterdir() if path.name.startswith(".")]


def test_a_stored_entry_is_found_and_copied(
    store: StageStore, files: dict[str, Path], tmp_path: Path
) -> None:
    assert store.look_up("key") is None
    store.put("key", Label("target", "a-model", "onnx"), '{"a": 1}', files)
    found = store.look_up("key")
    assert found is not None
    entry, value = found
    assert value == '{"a": 1}'
    assert (entry.kind, entry.handle, entry.target) == ("target", "a-model", "onnx")
    assert entry.size_bytes == 100 + 7 + 8
    assert entry.provenance.endswith(" on this machine")
    out = tmp_path / "out"
    out.mkdir()
    assert store.take(entry, {"folder": out / "folder", "log": out / "log"})
    assert (out / "folder" / "sub" / "weights").read_bytes() == b"w" * 100
    assert (out / "log").read_text() == "printed"
    assert hidden(store) == []


def test_copies_are_independent_of_the_store(
    store: StageStore, files: dict[str, Path], tmp_path: Path
) -> None:
    store.put("key", TRACE, "", files)
    (files["folder"] / "sub" / "weights").write_bytes(b"edited")
    for copy in ("first", "second"):
        found = store.look_up("key")
        assert found is not None
        assert store.take(found[0], {"folder": tmp_path / copy})
        weights = tmp_path / copy / "sub" / "weights"
        assert weights.read_bytes() == b"w" * 100
        weights.write_bytes(b"edited")


@pytest.mark.parametrize("damage", ["files", "missing file", "value", "entry", "no entry", "time"])
def test_a_damaged_entry_is_removed_and_reported(
    store: StageStore,
    files: dict[str, Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: str,
) -> None:
    store.put("key", TRACE, "value", files)
    folder = store.folder / "key"
    if damage == "files":
        (folder / "files" / "folder" / "sub" / "weights").write_bytes(b"v" * 100)
    elif damage == "missing file":
        (folder / "files" / "folder" / "sub" / "weights").unlink()
    elif damage == "value":
        (folder / "value.json").write_text("other")
    elif damage == "entry":
        (folder / "entry.json").write_text("{")
    elif damage == "no entry":
        (folder / "entry.json").unlink()
    else:
        sealed = json.loads((folder / "entry.json").read_text())
        sealed["entry"]["made"] = "2030-01-01T00:00:00+00:00"
        (folder / "entry.json").write_text(json.dumps(sealed))
    found = store.look_up("key")
    if found is not None:
        out = {"log": tmp_path / "out-log", "folder": tmp_path / "out"}
        assert not store.take(found[0], out)
        assert not any(path.exists() for path in out.values())  # no partial copy
    assert not folder.exists()
    assert "an entry of the cache is damaged and is made anew: key" in caplog.text
    store.put("key", TRACE, "value", files)
    assert store.look_up("key") is not None


def test_a_damaged_entry_is_not_listed(
    store: StageStore, files: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    store.put("good", TRACE, "", files)
    store.put("bad", TRACE, "", files)
    (store.folder / "bad" / "entry.json").write_text("{}")
    assert keys(store) == ["good"]
    assert "damaged" in caplog.text
    assert not (store.folder / "bad").exists()


def test_an_entry_removed_by_another_process_is_not_reported_as_damage(
    store: StageStore, files: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.put("key", TRACE, "", files)
    found = store.look_up("key")
    assert found is not None
    StageStore(store.folder, 10**6).clear()
    assert not store.take(found[0], {"folder": tmp_path / "out"})
    assert caplog.text == ""


def test_storing_a_key_again_keeps_the_first_entry(
    store: StageStore, files: dict[str, Path]
) -> None:
    store.put("key", TRACE, "first", files)
    store.put("key", TRACE, "second", files)
    found = store.look_up("key")
    assert found is not None
    assert found[1] == "first"
    assert hidden(store) == []


def test_processes_that_store_the_same_keys_do_not_disturb_each_other(
    store: StageStore, files: dict[str, Path]
) -> None:
    command = [sys.executable, "-c", PUT, str(store.folder), str(files["folder"])]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    errors = [process.communicate()[1] for process in running]
    assert errors == [""] * 3
    assert len(keys(store)) == 30
    assert hidden(store) == []


def test_the_least_recently_used_entry_is_evicted(tmp_path: Path) -> None:
    store = StageStore(tmp_path / "store", 250)
    fill(store, "a", 100, tmp_path)
    fill(store, "b", 100, tmp_path)
    use(store, "a", 1000.0)
    use(store, "b", 2000.0)
    assert keys(store) == ["a", "b"]
    assert store.look_up("a") is not None  # marks it as used now
    fill(store, "c", 100, tmp_path)
    assert sorted(keys(store)) == ["a", "c"]


def test_an_entry_larger_than_the_limit_is_not_stored(tmp_path: Path) -> None:
    store = StageStore(tmp_path / "store", 250)
    fill(store, "a", 100, tmp_path)
    fill(store, "large", 251, tmp_path)
    assert keys(store) == ["a"]


def test_a_folder_that_cannot_be_written_is_reported_once(
    tmp_path: Path, files: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    store = StageStore(tmp_path / "file" / "store", 10**6)
    assert store.look_up("key") is None
    store.put("key", TRACE, "", files)
    store.put("other", TRACE, "", files)
    assert caplog.text.count("the cache cannot be written, and the export goes on without") == 1
    assert store.entries() == []


def test_a_full_disk_leaves_nothing_behind(
    store: StageStore,
    files: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(source: object, destination: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    store.put("key", TRACE, "", files)
    assert "No space left on device" in caplog.text
    assert list(store.folder.iterdir()) == []


def test_drafts_of_killed_processes_are_removed_and_those_of_running_ones_kept(
    store: StageStore, tmp_path: Path
) -> None:
    fill(store, "a", 1, tmp_path)
    left_by_a_killed_process(store.folder, ".draft-")
    with owned_folder(store.folder, ".draft-") as running:
        fill(store, "b", 1, tmp_path)
        assert hidden(store) == [running]


def test_clearing_removes_everything(store: StageStore, files: dict[str, Path]) -> None:
    assert store.clear() == []
    store.put("key", TRACE, "", files)
    left_by_a_killed_process(store.folder, ".draft-")
    assert [entry.key for entry in store.clear()] == ["key"]
    assert list(store.folder.iterdir()) == []
