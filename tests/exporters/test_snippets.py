"""`hubopt snippet`: the Python programs run; every other one has the real names and shapes."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hubopt import registry
from hubopt.bundles.bundle import Bundle
from hubopt.errors import UsageError
from hubopt.exporter import Artifact
from hubopt.spec import Dim, ModelSpec, TensorSpec
from hubopt.verification.snippet import LANGUAGES, make_snippet
from tests.conftest import Ran

LANGUAGES_OF = {
    "onnx": LANGUAGES,
    "tflite": LANGUAGES,
    "savedmodel": ("python", "cpp", "kotlin", "js"),
    "trt": ("python", "cpp"),
}


@pytest.mark.parametrize("target", ["onnx", "tflite", "savedmodel"])
def test_the_python_program_runs(tiny_bundle: Bundle, target: str) -> None:
    code = make_snippet(tiny_bundle, target, "python")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert sorted(done.stdout.splitlines()) == ["difference float32 (1, 8)", "sum float32 (1, 8)"]


@pytest.mark.parametrize(
    ("target", "language"),
    [(target, language) for target, there in LANGUAGES_OF.items() for language in there],
)
def test_every_program_has_the_names_the_shapes_and_the_path(
    tiny_bundle: Bundle, target: str, language: Any
) -> None:
    code = make_snippet(tiny_bundle, target, language)
    for name in ("left", "right"):
        assert f'"{name}"' in code
    path = tiny_bundle.artifact(target).path
    assert f'"{path}"' in code
    if language == "python":
        ast.parse(code)
    else:
        for name in ("difference", "sum"):
            assert f'"{name}"' in code
        assert re.search(r"\b1, 8\b|\b1x8\b", code)
    for opened, closed in ("()", "[]", "{}"):
        assert code.count(opened) == code.count(closed)


def test_a_language_without_a_program_is_refused_with_the_list(tiny_bundle: Bundle) -> None:
    with pytest.raises(UsageError) as caught:
        make_snippet(tiny_bundle, "trt", "swift")
    assert caught.value.way_out == "pass --lang with one of: python, cpp"


def odd_artifact(exporter: str, dtype: str = "int64") -> Artifact:
    """An artifact with names that no language takes as they are, and an open batch."""
    given = TensorSpec('a "quoted" $name\n', dtype, (Dim(8, "flag", "B"), Dim(3, "trace")))
    other = TensorSpec("for", "int32", ())
    spec = ModelSpec((given, other), (TensorSpec("y", "int32", ()),), ("a", "for"), "y")
    details: dict[str, Any] = {"builder": "tensorrt_rtx", "version": "1.0"}
    return Artifact(exporter, Path("m.bin"), spec, details=details)


@pytest.mark.parametrize(
    ("target", "language"),
    [(target, language) for target, there in LANGUAGES_OF.items() for language in there],
)
def test_odd_names_are_escaped_and_a_program_stays_in_its_lines(
    target: str, language: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubopt.spec.ModelSpec.__post_init__", lambda self: None)
    exporter: Any = registry.get(target)
    code = exporter.snippets()[language](
        odd_artifact(target, "int32" if language == "js" else "int64")
    )
    assert 'name\n"' not in code
    if target in ("onnx", "trt"):
        assert r"a \"quoted\" \u" in code
    assert re.search(r"\b8, 3\b|\bBx3\b|\(8, 3\)", code)
    if language == "python":
        ast.parse(code)
    assert not re.search(r"\b(?:val|let|const|auto|int32_t\*?) for\b", code)


@pytest.mark.parametrize(("target", "language"), [("tflite", "js"), ("tflite", "kotlin")])
def test_a_type_that_the_interface_lacks_is_refused(target: str, language: Any) -> None:
    exporter: Any = registry.get(target)
    x = TensorSpec("x", "string", (Dim(1, "trace"),))
    artifact = Artifact(target, Path("m.bin"), ModelSpec((x,), (x,), "x", "x"))
    with pytest.raises(UsageError, match="tensor x is string"):
        exporter.snippets()[language](artifact)


def test_the_verb_prints_the_program_and_takes_aliases(
    hubopt: Callable[..., Ran], tiny_bundle: Bundle
) -> None:
    ran = hubopt("snippet", tiny_bundle.path, "lite")
    assert ran.code == 0, ran.err
    assert ran.out == make_snippet(tiny_bundle, "tflite", "python") + "\n"
