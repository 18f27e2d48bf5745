"""`hubopt verify FILE HANDLE`: what is refused before any work, and what is printed."""

from __future__ import annotations

import pytest

from hubopt.bundles.bundle import Bundle
from hubopt.cli.verify_file import parse_names
from hubopt.errors import UsageError
from tests.conftest import run_hubopt


def test_names_are_pairs() -> None:
    assert parse_names(["x=serving_default_x:0", "y=a=b"]) == {
        "x": "serving_default_x:0",
        "y": "a=b",
    }
    with pytest.raises(UsageError, match="--name x, =y"):
        parse_names(["x", "a=b", "=y"])


def test_a_file_without_a_handle_and_flags_without_use_are_refused(tiny_bundle: Bundle) -> None:
    file = tiny_bundle.path / "onnx" / "model.onnx"
    ran = run_hubopt("verify", file)
    assert ran.code == 2
    assert f"hubopt verify {file} HANDLE" in ran.err
    ran = run_hubopt("verify", tiny_bundle.path, "--samples", 3, "--name", "a=b")
    assert ran.code == 2
    assert "--name, --samples: given for a bundle" in ran.err
    ran = run_hubopt("verify", file, "handle", "--rejudge")
    assert ran.code == 2
    assert "--rejudge: given with HANDLE" in ran.err


def test_a_fault_is_told_and_ends_with_its_exit_code(tiny_bundle: Bundle, tiny: object) -> None:
    file = tiny_bundle.path / "tflite" / "model.tflite"
    ran = run_hubopt("verify", file, tiny, "--noise", "off")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("Parity: verified on 8 samples\n")
    swapped = ("--name", "sum=difference", "--name", "difference=sum")
    ran = run_hubopt("verify", file, tiny, "--noise", "off", *swapped)
    assert ran.code == 4
    assert ran.out.startswith("Parity: failed on 8 samples\n")
    assert "names, layer = file: sum = difference, difference = sum" in ran.err
