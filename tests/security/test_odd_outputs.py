"""Output folders with odd names, and standard streams that cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import hubopt as package
from hubopt._platform.staging import staging
from hubopt._util.plain_paths import plain_path
from hubopt.bundles.bundle import read_bundle
from hubopt.errors import UsageError
from hubopt.exporting.pipeline import export
from tests.conftest import Ran

LONGEST = 255
FULL = Path("/dev/full")
HUBOPT = f"{sys.executable} -m hubopt"
QUICK = ("--rounds", 0, "--noise", "off")


def shell(command: str) -> Ran:
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False
    )
    for noise in ("Traceback", "Exception ignored", "defect"):
        assert noise not in done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)


def test_a_name_that_is_too_long_is_refused_before_any_work(
    hubopt: Callable[..., Ran], tiny: Path, tmp_path: Path
) -> None:
    ran = hubopt("export", tiny, "-t", "onnx", "-o", tmp_path / ("x" * (LONGEST + 1)))
    assert ran.code == 2
    assert "no file can have this name: File name too long" in ran.err
    assert "load the layer" not in ran.err


def test_the_longest_possible_name_is_accepted(tmp_path: Path) -> None:
    output = tmp_path / ("x" * LONGEST)
    with staging(output) as folder:
        (folder / "file").touch()
    assert (output / "file").exists()


@pytest.mark.parametrize("name", ["a\0b", "\0"])
def test_a_name_with_a_null_byte_is_refused(tiny: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="no file can have this name: embedded null"):
        export(tiny, ["onnx"], f"{tmp_path}/{name}")
    with pytest.raises(UsageError, match="embedded null"), staging(tmp_path / name):
        raise AssertionError("the body must not run")


@pytest.mark.parametrize("name", ["[1]/out", "new\nline*?"])
def test_patterns_and_newlines_in_a_name_are_taken_literally(
    hubopt: Callable[..., Ran], tiny: Path, tmp_path: Path, name: str
) -> None:
    """TensorFlow takes a path with ``[`` for a pattern, both when it saves and when it loads."""
    output = tmp_path / name
    made = hubopt("export", tiny, "-t", "savedmodel", "-o", output, *QUICK)
    assert made.code == 0, made.err
    checked = hubopt("verify", output)
    assert checked.code == 0, checked.err
    inputs = {key: np.ones((1, 8), "float32") for key in ("left", "right")}
    assert package.load(output, "savedmodel")(inputs)["sum"].shape == (1, 8)
    assert [path.name for path in output.parent.iterdir()] == [output.name]


def test_plain_path_replaces_only_a_path_that_looks_like_a_pattern(tmp_path: Path) -> None:
    with plain_path(tmp_path) as path:
        assert path == tmp_path
    (tmp_path / "[1]").mkdir()
    with plain_path(tmp_path / "[1]") as path:
        assert path.samefile(tmp_path / "[1]")
        assert "[" not in str(path)
        link = path
    assert not os.path.lexists(link)


def test_a_parent_that_is_a_file_is_an_error(
    hubopt: Callable[..., Ran], tiny: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    ran = hubopt("export", tiny, "-t", "onnx", "-o", tmp_path / "file" / "deep" / "out")
    assert ran.code == 2
    assert "cannot be written: Not a directory" in ran.err


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("verb", ["--help", "--version", "targets", "export --help", "cache"])
@pytest.mark.parametrize("where", [f">{FULL}", ">&-"])
def test_an_answer_that_cannot_be_written_is_an_error(verb: str, where: str) -> None:
    ran = shell(f"{HUBOPT} {verb} {where}")
    assert ran.code == 5
    assert ran.err.startswith("error: standard output: it cannot be written: ")


@pytest.mark.parametrize("verb", ["--help", "--version", "targets --json", "tolerances"])
def test_a_closed_pipe_ends_the_command_with_exit_code_141(verb: str) -> None:
    ran = shell(f"{HUBOPT} {verb} | true; exit ${{PIPESTATUS[0]}}")
    assert ran.code == 141
    assert ran.err == ""


@pytest.mark.parametrize("where", [f"2>{FULL}", "2>&-"])
def test_errors_that_cannot_be_written_keep_their_exit_code(where: str) -> None:
    for arguments in ("nope", "inspect nowhere"):
        assert shell(f"{HUBOPT} {arguments} {where}").code == 2


@pytest.mark.parametrize("where", ["<&- >&- 2>&-", f">{FULL} 2>{FULL}"])
def test_the_exit_code_is_5_if_neither_output_nor_errors_can_be_written(where: str) -> None:
    assert shell(f"{HUBOPT} targets {where}").code == 5


def test_an_export_without_standard_streams_writes_its_bundle(tiny: Path, tmp_path: Path) -> None:
    ran = shell(
        f"{HUBOPT} export {tiny} -t tflite -o {tmp_path}/out --rounds 0 --noise off <&- >&- 2>&-"
    )
    assert ran.code == 5  # the answer could not be written, the bundle could
    assert read_bundle(tmp_path / "out").results[0].status == "verified"
