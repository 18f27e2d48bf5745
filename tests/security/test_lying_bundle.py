"""The manifest and files of an untrusted bundle are checked before they are used."""

import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hubopt
from hubopt._util.digest import sha256
from hubopt.bundles.bundle import Bundle, read_bundle
from hubopt.bundles.manifest import INPUTS, MANIFEST, REFERENCE
from hubopt.errors import BundleError
from hubopt.spec import ModelSpec
from tests.conftest import run_hubopt


@pytest.fixture
def bundle(tiny_bundle: Bundle, tmp_path: Path) -> Path:
    """A copy of the bundle that a test may change."""
    return shutil.copytree(tiny_bundle.path, tmp_path / "bundle")


def edit(bundle: Path, change: Callable[[Any], object]) -> None:
    file = bundle / MANIFEST
    raw = json.loads(file.read_text())
    change(raw)
    file.write_text(json.dumps(raw))


def refuse(bundle: Path) -> str:
    with pytest.raises(BundleError) as caught:
        read_bundle(bundle)
    return str(caught.value)


def set_at(*path: str | int, value: object) -> Callable[[Any], None]:
    def change(raw: Any) -> None:
        for key in path[:-1]:
            raw = raw[key]
        raw[path[-1]] = value

    return change


ONNX = ("targets", "onnx")
LIES = [
    ((*ONNX, "path"), None, "verified, without an artifact"),
    ((*ONNX, "parity"), None, "verified, without a comparison"),
    ((*ONNX, "parity", "passed"), False, "does not agree with itself"),
    ((*ONNX, "parity", "samples"), 1, "compared on 1 samples"),
    ((*ONNX, "parity", "outputs"), [], "compared in []"),
    ((*ONNX, "parity", "outputs", 0, "name"), "other", "compared in ['other'"),
    ((*ONNX, "parity", "outputs", 0, "differences"), [], "differences: 0, not"),
    ((*ONNX, "parity", "outputs", 0, "differences", 0, "front"), [], "no element has it"),
    ((*ONNX, "parity", "outputs", 0, "differences", 0, "max_abs"), 9.0, "no element has it"),
    ((*ONNX, "parity", "outputs", 0, "differences", 0, "shape"), [7], "shape 7, not 1x8"),
    ((*ONNX, "status"), "failed", "with stage None"),
    ((*ONNX, "status"), "perfect", "perfect"),
    ((*ONNX, "path"), "../../../etc/passwd", "not below onnx/"),
    ((*ONNX, "path"), "/etc/passwd", "not below onnx/"),
    ((*ONNX, "path"), "onnx/../../model.onnx", "not below onnx/"),
    ((*ONNX, "path"), "C:\\model.onnx", "not below onnx/"),
    ((*ONNX, "path"), "tflite/model.tflite", "not below onnx/"),
    ((*ONNX, "path"), "failed/onnx/model.onnx", "lies in failed/"),
    ((*ONNX, "target"), "tflite", "calls itself 'tflite'"),
    ((*ONNX, "sha256"), "0" * 63, "no SHA-256"),
    ((*ONNX, "sha256"), None, "no SHA-256"),
    ((*ONNX, "size_bytes"), -1, "size_bytes: -1"),
    ((*ONNX, "size_bytes"), "3", "'3' is not of type int"),
    ((*ONNX, "size_bytes"), True, "True is not of type int"),
    ((*ONNX, "companions"), {"../secret": "0" * 64}, "no file beside the artifact"),
    ((*ONNX, "companions"), {"/etc/passwd": "0" * 64}, "no file beside the artifact"),
    ((*ONNX, "companions"), ["x"], "not of type dict"),
    ((*ONNX, "tolerance"), "fp1", "fp1"),
    ((*ONNX, "surprise"), 1, "surprise"),
    (("targets", "a/../b"), {"target": "a/../b", "status": "failed", "stage": "load"}, "a/../b"),
    (("targets",), {}, "there is none"),
    (("samples",), [], "samples: 0"),
    (("samples",), "normal", "not of type list"),
    (("samples",), ["normal"] * 3, "compared on"),
    (("inputs_sha256",), "x", "no SHA-256"),
    (("created",), "yesterday", "no time"),
    (("handle",), "", "handle is empty"),
    (("spec", "inputs", 0, "dtype"), "float31", "no dtype"),
    (("spec", "inputs", 0, "dims", 0, "size"), -1, "no size"),
    (("spec", "inputs", 0, "dims", 0, "size"), 2**40, "no size"),
    (("spec", "inputs", 0, "dims", 0, "size"), 1.5, "not of type int"),
    (("spec", "inputs", 0, "name"), "other", "do not match the structure"),
    (("spec", "outputs"), [], "do not match the structure"),
    (("reference", "constant"), ["other"], "no outputs"),
    (("reference", "inactive"), 10**6, "more units or weights"),
    (("reference", "culprits"), {"gpu": "MatMul"}, "no variants"),
    (("reference", "ties"), {"other": [0]}, "no outputs"),
    (("reference", "ties"), {"sum": [10**6]}, "ties on samples that do not exist"),
    (("reference", "alternatives"), [1], "alternatives of 1 of"),
    (("reference", "alternatives"), [17] * 11, "more than 16 alternatives"),
    (("ties_sha256",), "0" * 64, "a file without answers"),
    (("tolerances", "entries"), [{"output": "", "field": "rtol", "value": -1}], "no bound"),
    (("tolerances", "entries"), [{"output": "x", "field": "rtol", "value": 1}], "no such output"),
    (("tolerances", "entries"), [{"output": "", "field": "size", "value": 1}], "no such bound"),
]


@pytest.mark.parametrize(("path", "value", "message"), LIES)
def test_a_manifest_that_no_export_writes_is_refused(
    path: tuple[str, ...], value: object, message: str, bundle: Path
) -> None:
    edit(bundle, set_at(*path, value=value))
    text = refuse(bundle)
    assert message in text
    assert "hubopt.json is damaged" in text


def test_every_error_in_a_manifest_is_reported_at_once(bundle: Path) -> None:
    edit(bundle, set_at("handle", value=""))
    edit(bundle, set_at(*ONNX, "path", value=None))
    edit(bundle, set_at("targets", "tflite", "sha256", value="x"))
    text = refuse(bundle)
    assert all(error in text for error in ("handle is empty", "without an artifact", "'tflite'"))


@pytest.mark.parametrize(
    "text", ["NaN", '{"format": 2, "x": NaN}', "[" * 10_000, '{"a": 1', "\xff"]
)
def test_a_manifest_that_is_no_json_is_refused(text: str, bundle: Path) -> None:
    (bundle / MANIFEST).write_text(text, encoding="latin-1")
    assert "is damaged" in refuse(bundle)


@pytest.mark.parametrize("how", [(), ("--rejudge",)])
@pytest.mark.parametrize("lie", ["path", "parity"])
def test_verify_does_not_repeat_a_status_that_it_did_not_check(
    how: tuple[str, ...], lie: str, bundle: Path
) -> None:
    edit(bundle, set_at(*ONNX, lie, value=None))
    ran = run_hubopt("verify", bundle, "-t", "onnx", *how)
    assert ran.code == 2
    assert "verified" not in ran.out
    assert "without a" in ran.err


def replace_by_link(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    path.rename(target)
    path.symlink_to(target)


def replace_by_pipe(path: Path, tmp_path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("change", [replace_by_link, replace_by_pipe])
@pytest.mark.parametrize(
    "file",
    [MANIFEST, INPUTS, REFERENCE, "verification", "onnx/model.onnx", "onnx", "savedmodel"],
)
def test_links_and_pipes_are_not_opened(
    file: str, change: Callable[[Path, Path], None], bundle: Path, tmp_path: Path
) -> None:
    change(bundle / file, tmp_path)
    target = "savedmodel" if file == "savedmodel" else "onnx"
    ran = run_hubopt("verify", bundle, "-t", target)
    assert ran.code in (2, 5)
    assert "a symbolic link" in ran.err + ran.out or "a named pipe" in ran.err + ran.out


def test_a_pipe_inside_an_artifacts_folder_is_found(bundle: Path) -> None:
    os.mkfifo(bundle / "savedmodel" / "assets" / "words.txt")
    (result,) = hubopt.verify_bundle(bundle, ["savedmodel"])
    assert result.status == "failed"
    assert "a named pipe" in str(result.reason)


def rewrite(name: str) -> Callable[[Path, Callable[[dict[str, bytes]], object]], None]:
    """Return a function that changes an archive's members and its digest in the manifest."""

    def apply(bundle: Path, change: Callable[[dict[str, bytes]], object]) -> None:
        path = bundle / "verification" / f"{name}.npz"
        with zipfile.ZipFile(path) as archive:
            members = {entry: archive.read(entry) for entry in archive.namelist()}
        change(members)
        with zipfile.ZipFile(path, "w") as archive:
            for member, content in members.items():
                archive.writestr(member, content)
        edit(bundle, set_at(f"{name}_sha256", value=sha256(path)))

    return apply


def npy(array: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(array), **options)
    return stream.getvalue()


def header(shape: tuple[int, ...], data: bytes = b"") -> bytes:
    stream = io.BytesIO()
    described = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, described)
    return stream.getvalue() + data


def with_header(text: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


class Spy:
    """Creates the file ``mark`` when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def first_name(spec: ModelSpec, name: str) -> str:
    tensor = (spec.inputs if name == "inputs" else spec.outputs)[0]
    return f"0/{tensor.name}.npy"


@pytest.mark.parametrize("name", ["inputs", "reference", "float64"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy(np.zeros((1, 9), np.float32)), "its shape is 1x9, not 1x8"),
        (npy(np.zeros((1, 8), np.int32)), "it is int32, not float32"),
        (npy(np.zeros((1, 8), ">f4")), "it is >f4, not float32"),
        (header((1, 8)), "it has 0 bytes of data and declares 32"),
        (header((1, 8), bytes(33)), "it has 33 bytes of data and declares 32"),
        (header((10**15,)), "declares 4,000,000,000,000,000"),
        (b"\x93NUMPY\x01\x00" + b"\xff\xff" + b"{" * 60_000, "its header cannot be read"),
        (b"no array", "its header cannot be read"),
        (with_header(b"{'descr': '<f4', 'shape': (1, 8"), "its header cannot be read"),
        (with_header(b"{'descr': '''"), "its header cannot be read"),
        (with_header(b"[]"), "its header cannot be read"),
        (None, "is missing"),
    ],
)
def test_arrays_that_are_not_what_the_manifest_describes_are_refused(
    name: str, content: bytes | None, message: str, bundle: Path
) -> None:
    member = first_name(read_bundle(bundle).manifest.spec, name)

    def change(members: dict[str, bytes]) -> None:
        if content is None:
            del members[member]
        else:
            members[member] = content

    rewrite(name)(bundle, change)
    with pytest.raises(BundleError, match="the bundle is damaged") as caught:
        hubopt.verify_bundle(bundle, ["onnx"])
    assert message in str(caught.value)


def test_a_pickle_among_the_samples_does_not_run(bundle: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    array = np.empty((1, 8), object)
    array[:] = Spy(mark)
    member = first_name(read_bundle(bundle).manifest.spec, "inputs")
    content = npy(array, allow_pickle=True)
    assert pickle.dumps(Spy(mark)) in content or b"touch" in content
    rewrite("inputs")(bundle, lambda members: members.update({member: content}))
    ran = run_hubopt("verify", bundle, "-t", "onnx")
    assert ran.code == 2
    assert "pickled Python objects" in ran.err
    assert not mark.exists()


def test_an_extra_sample_is_refused(bundle: Path) -> None:
    rewrite("inputs")(bundle, lambda members: members.update({"99/left.npy": b""}))
    with pytest.raises(BundleError, match=r"'99/left\.npy' belongs to no sample"):
        hubopt.verify_bundle(bundle, ["onnx"])


def test_a_compressed_archive_is_refused(bundle: Path) -> None:
    path = bundle / INPUTS
    with zipfile.ZipFile(path) as archive:
        members = {entry: archive.read(entry) for entry in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    edit(bundle, set_at("inputs_sha256", value=sha256(path)))
    with pytest.raises(BundleError, match="compressed or encrypted"):
        hubopt.verify_bundle(bundle, ["onnx"])


def test_an_array_with_a_wrong_checksum_is_refused(bundle: Path) -> None:
    path = bundle / REFERENCE
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") - 5] ^= 1  # near the last byte of the last array
    path.write_bytes(content)
    edit(bundle, set_at("reference_sha256", value=sha256(path)))
    with pytest.raises(BundleError, match="Bad CRC-32"):
        hubopt.verify_bundle(bundle, ["onnx"])


def test_a_file_that_is_no_archive_is_refused(bundle: Path) -> None:
    (bundle / REFERENCE).write_bytes(b"PK\x03\x04 and no more")
    edit(bundle, set_at("reference_sha256", value=sha256(bundle / REFERENCE)))
    with pytest.raises(BundleError, match="it cannot be read as a NumPy archive"):
        hubopt.verify_bundle(bundle, ["onnx"])


def test_tolerances_that_came_with_the_bundle_are_reported(bundle: Path) -> None:
    loose = {"output": "", "field": "rtol", "value": 1e6}
    edit(bundle, set_at("tolerances", "entries", value=[loose]))
    ran = run_hubopt("verify", bundle, "-t", "onnx", "--json")
    assert "set by the bundle" in ran.err
    assert "rtol 1e+06" in ran.err


def test_an_archive_whose_names_are_not_utf_8_is_refused(bundle: Path) -> None:
    path = bundle / INPUTS
    content = path.read_bytes()
    at = content.index(b"PK\x01\x02")
    # In the central directory: a name that is flagged as UTF-8 and is not valid UTF-8.
    flagged = content[at : at + 8] + b"\x00\x08" + content[at + 10 : at + 46] + b"\xff"
    path.write_bytes(content[:at] + flagged + content[at + 47 :])
    edit(bundle, set_at("inputs_sha256", value=sha256(path)))
    with pytest.raises(BundleError, match="it cannot be read as a NumPy archive"):
        hubopt.verify_bundle(bundle, ["onnx"])
