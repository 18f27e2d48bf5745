"""An untrusted archive is unpacked completely, or refused with nothing left behind."""

import io
import os
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from hubopt._util.digest import sha256
from hubopt.errors import HandleError
from hubopt.models.archives import is_archive, unpack


def tar_of(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def zip_of(path: Path, *members: tuple[str, int]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, mode in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, b"content")
    return path


@pytest.mark.parametrize("mode", ["w:", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_under_any_compression_is_unpacked(tiny: Path, tmp_path: Path, mode: str) -> None:
    with tarfile.open(tmp_path / "model", mode) as archive:
        archive.add(tiny, arcname=".")
    assert is_archive(tmp_path / "model")
    unpack(tmp_path / "model", tmp_path / "out")
    assert sha256(tmp_path / "out") == sha256(tiny)


def test_a_zip_is_unpacked(tiny: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "model"), "zip", tiny))
    assert is_archive(archive)
    unpack(archive, tmp_path / "out")
    assert sha256(tmp_path / "out") == sha256(tiny)


def test_every_bad_member_of_a_tar_is_reported_at_once(tmp_path: Path) -> None:
    archive = tar_of(
        tmp_path / "bad.tar",
        member("saved_model.pb"),
        member("soft", tarfile.SYMTYPE, "/etc/passwd"),
        member("hard", tarfile.LNKTYPE, "saved_model.pb"),
        member("pipe", tarfile.FIFOTYPE),
        member("device", tarfile.CHRTYPE),
        member("/etc/cron.d/job"),
        member("../outside"),
        member("a/../../outside"),
        member("C:/windows"),
        member("\\\\host\\share\\file"),
    )
    with pytest.raises(HandleError) as caught:
        unpack(archive, tmp_path / "out")
    assert caught.value.found.splitlines() == [
        "it has members that are refused",
        "  - soft: a symbolic link",
        "  - hard: a hard link",
        "  - pipe: a device or pipe",
        "  - device: a device or pipe",
        "  - /etc/cron.d/job: an absolute path",
        "  - ../outside: a path that leads out with ..",
        "  - a/../../outside: a path that leads out with ..",
        "  - C:/windows: a path with a drive letter",
        "  - \\\\host\\share\\file: a path with a drive letter",
    ]
    assert list(tmp_path.iterdir()) == [archive]


def test_every_bad_member_of_a_zip_is_reported_at_once(tmp_path: Path) -> None:
    archive = zip_of(
        tmp_path / "bad.zip",
        ("saved_model.pb", stat.S_IFREG | 0o644),
        ("soft", stat.S_IFLNK | 0o777),
        ("pipe", stat.S_IFIFO | 0o644),
        ("/etc/cron.d/job", 0),
        ("..\\outside", 0),
    )
    with pytest.raises(HandleError) as caught:
        unpack(archive, tmp_path / "out")
    assert caught.value.found.splitlines()[1:] == [
        "  - soft: a symbolic link",
        "  - pipe: a device or pipe",
        "  - /etc/cron.d/job: an absolute path",
        "  - ..\\outside: a path that leads out with ..",
    ]
    assert list(tmp_path.iterdir()) == [archive]


def test_a_member_below_another_members_file_is_refused(tmp_path: Path) -> None:
    archive = tar_of(
        tmp_path / "bad.tar",
        member("variables"),
        member("variables/index"),
        member("assets", tarfile.DIRTYPE),
        member("./assets"),
    )
    with pytest.raises(HandleError) as caught:
        unpack(archive, tmp_path / "out")
    assert caught.value.found.splitlines()[1:] == [
        "  - variables: a file where another member needs a folder",
        "  - ./assets: a file where another member needs a folder",
    ]


def test_the_later_of_two_members_with_one_name_counts(tmp_path: Path) -> None:
    later = member("x")
    later.size = 3
    unpack(tar_of(tmp_path / "a.tar", member("x"), later), tmp_path / "out")
    assert (tmp_path / "out" / "x").stat().st_size == 3


@pytest.mark.parametrize("kind", ["tar", "gztar", "bztar", "xztar", "zip"])
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_truncated_archive_is_an_error(tmp_path: Path, kind: str, kept: float) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "data").write_bytes(os.urandom(1 << 16))
    whole = Path(shutil.make_archive(str(tmp_path / "whole"), kind, tmp_path / "in"))
    part = tmp_path / "part"
    part.write_bytes(whole.read_bytes()[: int(kept * whole.stat().st_size)])
    with pytest.raises(HandleError, match="cannot be unpacked"):
        unpack(part, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "part", whole.name]


def test_a_zip_with_a_bad_checksum_is_an_error(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", ("x", 0))
    archive.write_bytes(archive.read_bytes().replace(b"content", b"CONTENT"))
    with pytest.raises(HandleError, match="Bad CRC-32"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_archive_larger_than_the_disk_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = member("x")
    large.size = 1 << 20
    archive = tar_of(tmp_path / "bomb.tar", large)
    left = shutil.disk_usage(tmp_path)._replace(free=1 << 10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: left)
    with pytest.raises(HandleError, match=r"unpacks to 1,048,576 bytes .* has 1,024 left"):
        unpack(archive, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [archive]


def test_errors_use_the_given_name_of_the_archive(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"nothing of the kind")
    assert not is_archive(tmp_path / "x")
    with pytest.raises(HandleError, match=r"handle https://h/x: cannot be unpacked"):
        unpack(tmp_path / "x", tmp_path / "out", "handle https://h/x")
