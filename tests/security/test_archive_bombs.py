"""Archives that unpack to too much, declared or hidden, are refused and nothing is written."""

import bz2
import gzip
import io
import lzma
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hubopt.errors import HandleError, LimitError
from hubopt.models.archives import is_archive, unpack
from hubopt.models.formats import keras_suffix
from hubopt.models.handles import LoadPolicy, locate
from hubopt.models.limits import Limits
from tests.security.bombs import Packed, write_zip

MB = 1 << 20
SMALL = Limits(unpacked_bytes=10 * MB)


@contextmanager
def little_memory(most_bytes: int = 48 * MB) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most_bytes
    finally:
        tracemalloc.stop()


def refused(archive: Path, limits: Limits = SMALL) -> LimitError:
    before = sorted(archive.parent.iterdir())
    with little_memory(), pytest.raises(LimitError) as caught:
        unpack(archive, archive.parent / "out", limits=limits)
    assert sorted(archive.parent.iterdir()) == before
    return caught.value


def header(
    name: str, size: int, kind: bytes = tarfile.REGTYPE, pax: dict[str, str] | None = None
) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.pax_headers = size, kind, pax or {}
    return info.tobuf(tarfile.PAX_FORMAT if pax else tarfile.GNU_FORMAT)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_a_tar_that_declares_too_much_is_refused(
    pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    archive = tmp_path / "a.tar"
    archive.write_bytes(pack(header("a", 6 * MB) + bytes(6 * MB) + header("b", 6 * MB)))
    error = refused(archive)
    assert error.found == "it unpacks to 12,582,912 bytes or more"
    assert error.expected == "at most 10,485,760 bytes unpacked"
    assert "--max-unpacked SIZE (Limits(unpacked_bytes=...))" in error.way_out


def test_a_sparse_file_counts_with_its_unpacked_size(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    pax = {"GNU.sparse.map": "0,0", "GNU.sparse.size": str(10**12), "GNU.sparse.numblocks": "1"}
    archive.write_bytes(header("a", 0, pax=pax) + bytes(1024))
    assert "it unpacks to 1,000,000,000,000 bytes or more" in refused(archive, Limits()).found


def test_the_headers_of_a_tar_are_bounded(tmp_path: Path) -> None:
    for kind in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME):
        archive = tmp_path / "a.tar.gz"
        with gzip.open(archive, "wb", 1) as stream:
            stream.write(header("x", 500 * MB, kind))
            for _ in range(100):
                stream.write(bytes(5 * MB))
        with little_memory():
            assert is_archive(archive)
        assert "it has a header of 524,288,000 bytes" in refused(archive, Limits()).found


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    block = header("x" * 90, 0) * 1000
    with gzip.open(archive, "wb", 1) as stream:
        for _ in range(101):
            stream.write(block)
    with pytest.raises(LimitError, match="more than 100,000 members"):
        unpack(archive, tmp_path / "out")


def test_a_number_that_cannot_be_parsed_is_reported_as_damage(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    pax = {"GNU.sparse.map": "x", "GNU.sparse.size": "1", "GNU.sparse.numblocks": "1"}
    archive.write_bytes(header("a", 0, pax=pax) + bytes(1024))
    with pytest.raises(HandleError, match="cannot be unpacked: ValueError"):
        unpack(archive, tmp_path / "out")


def test_a_member_of_negative_size_does_not_hide_the_others(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    archive.write_bytes(
        header("a", 0, pax={"size": "-20000000"}) + header("b", 20 * MB) + bytes(20 * MB)
    )
    with pytest.raises(HandleError):
        unpack(archive, tmp_path / "out", limits=SMALL)
    assert list(tmp_path.iterdir()) == [archive]


def test_an_xz_stream_takes_no_more_memory_than_xz_does(tmp_path: Path) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("a"))
    archive = tmp_path / "a.tar.xz"
    # Two streams, because an xz file may hold several in sequence.
    archive.write_bytes(lzma.compress(content.getvalue()[:512], preset=9) * 2)
    unpack(archive, tmp_path / "out")
    huge = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30}]
    archive.write_bytes(lzma.compress(b"x", filters=huge))
    with pytest.raises(HandleError, match="emory usage limit"):
        unpack_xz(archive)


def unpack_xz(archive: Path) -> None:
    from hubopt.models.archives import _translate_damage
    from hubopt.models.bounded import open_unpacked

    with _translate_damage("archive"), open_unpacked(archive) as stream:
        stream.read(1)


def test_a_zip_that_declares_too_much_is_refused(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", Packed("a", b"\0", 6 * MB), Packed("b", b"\0", 6 * MB))
    assert refused(archive).found == "it unpacks to 12,582,912 bytes or more"
    assert archive.stat().st_size < 20_000


def test_a_zip_that_holds_more_than_it_declares_is_damaged(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", Packed("a", b"\0", 3 << 30, declared=100))
    with little_memory(), pytest.raises(HandleError, match="cannot be unpacked"):
        unpack(archive, tmp_path / "out", limits=SMALL)
    assert list(tmp_path.iterdir()) == [archive]


def test_members_that_share_their_data_are_refused(tmp_path: Path) -> None:
    members = [Packed("same", b"\0", MB) for _ in range(5)]
    archive = write_zip(tmp_path / "a.zip", *members, shared=True)
    assert "'same' shares its data with another one" in refused(archive).found


def test_the_central_directory_of_a_zip_is_bounded(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    entry = b"PK\1\2" + bytes(24) + b"\0\0" + b"\xff\xff" + bytes(14) + b"x" * 65535
    listing = entry * 300
    tail = b"PK\5\6" + bytes(8) + len(listing).to_bytes(4, "little") + bytes(6)
    archive.write_bytes(listing + tail)
    assert "it has a header of 19," in refused(archive).found
    with little_memory(), pytest.raises(LimitError):
        keras_suffix(archive)


def test_lzma_in_a_zip_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_LZMA) as stream:
        stream.writestr("a", "x")
    with pytest.raises(HandleError, match="a: compressed with LZMA, which may take any amount of"):
        unpack(archive, tmp_path / "out")


def test_a_refused_archive_leaves_nothing_in_the_cache_and_loads_with_other_limits(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(cache))
    archive = tmp_path / "model.tar.gz"
    with tarfile.open(archive, "w:gz") as stream:
        stream.add(tiny, ".")
    with pytest.raises(LimitError):
        locate(archive, LoadPolicy(limits=Limits(unpacked_bytes=10)))
    assert [path.name for path in cache.iterdir() if path.suffix != ".lock"] == []
    assert locate(archive).kind == "saved_model"


def test_a_high_compression_ratio_alone_is_no_reason_to_refuse(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", Packed("a", b"\0", 9 * MB))
    unpack(archive, tmp_path / "out", limits=SMALL)
    assert (tmp_path / "out" / "a").stat().st_size == 9 * MB
