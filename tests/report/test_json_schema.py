"""Every document that `--json` prints is what `hubopt schema` says it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from hubopt.bundles.bundle import Bundle
from hubopt.latency.statistics import Latency, Timing
from hubopt.report.document import SCHEMA_VERSION, results_document
from hubopt.report.json_schema import documents, verb_schema
from tests.conftest import Ran


def check(verb: str, document: Any) -> None:
    """Validate a document; unknown keys of a target are found too."""
    schema = strict(verb_schema(verb))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)
    assert document["schema_version"] == SCHEMA_VERSION
    assert document["verb"] == verb


def strict(schema: Any) -> Any:
    """The schema with every key of an object known, so that a test finds undocumented ones."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    known = {key: strict(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        known["additionalProperties"] = False
    return known


@pytest.mark.parametrize("verb", list(documents()))
def test_every_property_is_described(verb: str) -> None:
    schema = verb_schema(verb)
    jsonschema.Draft202012Validator.check_schema(schema)
    for body in schema["anyOf"]:
        lacking = [
            name
            for name, found in body["properties"].items()
            if not found.get("description") and "const" not in found
        ]
        assert not lacking


def test_a_wrong_document_does_not_validate() -> None:
    with pytest.raises(jsonschema.ValidationError):
        check("compare", {"schema_version": SCHEMA_VERSION, "verb": "compare"})


def test_what_the_verbs_print(
    hubopt: Callable[..., Ran], tiny: Path, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    np.savez(tmp_path / "x.npz", left=np.ones((1, 8)), right=np.ones((1, 8)))
    bundle = tiny_bundle.path
    for verb, arguments in (
        ("verify", ("verify", bundle, "-t", "onnx,trt")),
        ("verify", ("verify", bundle, "-t", "onnx", "--raw")),
        ("bench", ("bench", bundle, "-t", "tflite", "--rounds", 1, "--raw")),
        ("run", ("run", bundle, "-t", "onnx", "-i", tmp_path / "x.npz")),
        ("compare", ("compare", bundle, bundle)),
        ("inspect", ("inspect", tiny)),
        ("diagnose", ("diagnose", bundle, "-t", "onnx")),
        ("targets", ("targets",)),
        ("tolerances", ("tolerances",)),
        ("cache", ("cache",)),
    ):
        ran = hubopt(*arguments, "--json")
        assert ran.code in (0, 3), ran.err
        check(verb, ran.json)


def test_what_an_export_and_the_cache_print(
    hubopt: Callable[..., Ran], tiny: Path, tmp_path: Path, stages: Path
) -> None:
    ran = hubopt("export", tiny, "-t", "onnx", "-o", tmp_path / "out", "--rounds", 1, "--json")
    check("export", ran.json)
    check("cache", hubopt("cache", "--json").json)
    check("cache clear", hubopt("cache", "clear", "--json").json)


def test_a_file_against_its_model(
    hubopt: Callable[..., Ran], tiny: Path, tiny_bundle: Bundle
) -> None:
    file = tiny_bundle.path / "onnx" / "model.onnx"
    ran = hubopt("verify", file, tiny, "--noise", "off", "--json")
    assert ran.code == 0, ran.err
    check("verify", ran.json)
    assert ran.json["status"] == "verified"
    assert ran.json["max_abs_error"].keys() == {"sum", "difference"}
    assert "outputs" in ran.json["parity"]
    wrong = hubopt("verify", file, tiny, "--noise", "off", "--json", "--name", "sum=difference",
                   "--name", "difference=sum")  # fmt: skip
    assert wrong.code == 4
    assert wrong.json["status"] == "failed"


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("verify", ("verify", "nowhere")),
        ("inspect", ("inspect", "nowhere")),
        ("run", ("run", "nowhere")),
        ("export", ("export", "nowhere", "-t", "onnx", "-o", "out", "--opset", "many")),
        ("cache clear", ("cache", "clear", "--no-such-flag")),
    ],
)
def test_an_error_is_a_document_too_and_standard_error_has_the_words(
    hubopt: Callable[..., Ran], verb: str, arguments: tuple[str, ...]
) -> None:
    ran = hubopt(*arguments, "--json")
    assert ran.code == 2
    check(verb, ran.json)
    assert ran.json["exit_code"] == 2
    assert ran.json["error"]["found"]
    assert ran.err
    assert not hubopt(*arguments).out


def test_an_unknown_verb_is_a_document_too(hubopt: Callable[..., Ran]) -> None:
    ran = hubopt("exprot", "--json")
    assert ran.code == 2
    assert "No such command 'exprot'" in ran.json["error"]["found"]


def test_a_defect_is_a_document_too(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys, hubopt.cli, hubopt.cli.compare as verb\n"
        "import hubopt.verification.compare as compare\n"
        "def broken(*args): raise RuntimeError('planted')\n"
        "compare.compare = broken\n"
        "sys.argv = ['hubopt', 'compare', 'a', 'b', '--json']\n"
        "hubopt.cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    document = json.loads(done.stdout)
    check("compare", document)
    assert document["error"]["found"] == "RuntimeError: planted"


def test_raw_measurements_are_printed_on_request_only(tiny_bundle: Bundle) -> None:
    """The times of every call and every sample's figures are most of a document."""
    calls = tuple(tuple(0.1 + at / 1e4 for at in range(50)) for _ in range(7))
    timing = Timing(1.0, 1.0, 1.0, calls)
    result = replace(tiny_bundle.manifest.targets["onnx"], latency=Latency(timing, timing))
    short = results_document("bench", (result,), tiny_bundle)
    long = results_document("bench", (result,), tiny_bundle, raw=True)
    check("bench", json.loads(short))
    check("bench", json.loads(long))
    assert len(short) < 5_000 < len(long)
    assert "rounds_ms" not in short
    found = json.loads(long)["targets"]["onnx"]["result"]
    assert found["latency"]["artifact"]["rounds_ms"] == [list(times) for times in calls]
    assert json.loads(short)["targets"]["onnx"]["p50_ms"] == pytest.approx(0.10245)


def test_the_command_prints_one_schema_or_all(hubopt: Callable[..., Ran]) -> None:
    every = hubopt("schema")
    assert every.code == 0, every.err
    assert set(every.json["verbs"]) == set(documents())
    assert hubopt("schema", "run").json == every.json["verbs"]["run"]
    assert hubopt("schema", "cache clear").code == 0
    wrong = hubopt("schema", "rnu")
    assert wrong.code == 2
    assert "one of: export, verify" in wrong.err
