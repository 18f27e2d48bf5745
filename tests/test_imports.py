"""Imports that must stay light stay light, and the test of that can fail."""

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hubopt

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("tensorflow", "tf_keras", "keras", "tensorflow_hub", "tf2onnx", "onnx", "onnxruntime",
         "ai_edge_litert", "tensorrt", "tensorrt_rtx", "cuda.bindings")  # fmt: skip


def heavy_imports(code: str) -> list[str]:
    """Run ``code`` in a fresh interpreter and return the heavy packages it imported."""
    probe = (
        "import sys, json, contextlib, io\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    try:\n"
        + "".join(f"        {line}\n" for line in code.splitlines())
        + "    except SystemExit as stop:\n"
        "        assert stop.code in (0, None, 2), stop.code\n"
        + f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    "code",
    [
        "import hubopt; hubopt.export, hubopt.verify, hubopt.diagnose, hubopt.Hints",
        "import hubopt.testing",
        "import hubopt.cli; sys.argv = ['hubopt', '--help']; hubopt.cli.main()",
        "import hubopt.cli; sys.argv = ['hubopt', 'export', '--help']; hubopt.cli.main()",
        "import hubopt.cli; sys.argv = ['hubopt', 'targets']; hubopt.cli.main()",
        "from hubopt import registry; [registry.get(name) for name in registry.names()]",
    ],
)
def test_nothing_heavy_is_imported(code: str) -> None:
    assert heavy_imports(code) == []


def test_this_check_can_fail() -> None:
    assert "onnx" in heavy_imports("import onnx")
    assert "tensorflow" in heavy_imports("import hubopt; hubopt.KerasLayer")


def test_an_export_imports_nothing_heavy_in_the_parent(tiny: object, tmp_path: object) -> None:
    code = (
        f"import hubopt; hubopt.export({str(tiny)!r}, ['onnx'], {str(tmp_path)!r} + '/o', rounds=0)"
    )
    assert heavy_imports(code) == []


def test_the_public_names_are_these() -> None:
    assert sorted(hubopt.__all__) == sorted(
        [
            "Bounds", "Bundle", "Diagnosis", "Dim", "Hints", "HuboptError", "KerasLayer",
            "LayerOptions", "Limits", "LoadPolicy", "ModelSpec", "Parity", "Program", "Target",
            "TargetResult", "TensorSpec", "ToleranceOverrides", "Trust", "__version__", "bench",
            "diagnose", "export", "inspect", "load", "rejudge", "resolve", "trace", "verify",
            "verify_bundle",
        ]
    )  # fmt: skip
    assert all(hasattr(hubopt, name) for name in hubopt.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        hubopt.nothing  # noqa: B018


def test_the_public_modules_are_these() -> None:
    public = {
        *("hubopt.errors", "hubopt.exporter", "hubopt.keras3", "hubopt.progress"),
        *("hubopt.spec", "hubopt.testing"),
    }
    makefile = (ROOT / "Makefile").read_text()
    line = next(line for line in makefile.splitlines() if line.startswith("PUBLIC := "))
    assert set(line.removeprefix("PUBLIC := ").split()) == public
    decision = (ROOT / "docs" / "decisions" / "0024-the-line.md").read_text()
    stated = decision.partition("The public modules are ")[2].partition(". ")[0]
    assert set(re.findall(r"`(hubopt\.\w+)`", stated)) == public
    # hubopt itself exports names, not modules.
    assert not [name for name in hubopt.__all__ if inspect.ismodule(getattr(hubopt, name))]


@pytest.mark.parametrize(
    ("arguments", "most"),
    [(["--help"], 750), (["export", "--help"], 800), (["targets"], 700)],
    ids=["help", "export", "targets"],
)
def test_starting_up_imports_a_limited_number_of_modules(arguments: list[str], most: int) -> None:
    """Count modules, not seconds, as the machine may be busy. Limits: about 10 % above today's."""
    probe = (
        "import sys, contextlib, io\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    import hubopt.cli\n"
        f"    sys.argv = {['hubopt', *arguments]!r}\n"
        "    with contextlib.suppress(SystemExit):\n"
        "        hubopt.cli.main()\n"
        "print(len(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert 100 < int(done.stdout) <= most
