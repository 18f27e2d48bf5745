"""Attacks on a bundle: its artifacts, its manifest, its samples and its reference."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.attacks.attempt import Attempt, Worth, compared, wrong
from benchmarks.attacks.byte_edits import edit_bytes
from benchmarks.attacks.clean import Clean, read_manifest, seal
from benchmarks.attacks.file_edits import edit_file
from benchmarks.attacks.independent import artifact_answers, problems_of, read_npz
from benchmarks.attacks.json_edits import edit_json, put
from benchmarks.attacks.outcome import Ran
from benchmarks.attacks.place import Place
from hubopt._util.digest import sha256
from hubopt.bundles.manifest import MANIFEST

_OUTPUTS = {"sum", "difference"}
"""The outputs of the tiny model."""
_SEALED_SHARE = 0.8
"""How often the manifest gets the damaged file's own digest, so that the runtime reads the file."""
_LIES: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("path null", {"path": None}),
    ("path and digest null", {"path": None, "sha256": None}),
    ("digest null", {"sha256": None}),
    ("parity null", {"parity": None}),
    ("nothing was run", {"path": None, "parity": None, "sha256": None, "device": None}),
    ("path out", {"path": "../bundle/onnx/model.onnx"}),
    ("path absolute", {"path": "/dev/zero"}),
    ("path is the bundle", {"path": "."}),
    ("path is the manifest", {"path": MANIFEST}),
    ("companion out", {"companions": {"../../../etc/passwd": "0" * 64}}),
    ("companion absolute", {"companions": {"/dev/zero": "0" * 64}}),
    ("another target", {"target": "tflite"}),
    ("another class", {"tolerance": "int4"}),
    ("an escape sequence", {"reason": "\x1b[2J\x1b]0;owned\x07", "status": "failed"}),
)


def attack_artifact(target: str, draw: random.Random, clean: Clean, place: Place) -> Attempt:
    """Damage a file of an artifact, and mostly correct its digest in the manifest."""
    name = draw.choice(("tiny", "conv"))
    bundle = _copy(clean.bundle(name), place)
    files = [path for path in sorted((bundle / target).rglob("*")) if path.is_file()]
    if target == "savedmodel" and draw.random() < 0.9:
        # Otherwise the loader refuses the changed graph before it reads it.
        (bundle / target / "fingerprint.pb").unlink()
        files.remove(bundle / target / "fingerprint.pb")
    detail = edit_file(draw, draw.choice(files), place.root)
    sealed = draw.random() < _SEALED_SHARE
    if sealed:
        seal(bundle)
    path = bundle / read_manifest(bundle)["targets"][target]["path"]

    def worth(ran: Ran) -> Worth:
        if not sealed and sha256(path) != sha256(clean.bundle(name) / path.relative_to(bundle)):
            return wrong("the manifest has another digest")
        return _artifact_is_right(ran, clean.bundle(name), target, path, place)

    arguments = ("verify", str(bundle), "-t", target, "--json")
    how = "sealed" if sealed else "not sealed"
    return Attempt(target, f"{name}: {detail} ({how})", arguments, worth, bundle)


def attack_manifest(draw: random.Random, clean: Clean, place: Place) -> Attempt:
    """Edit the manifest of a good bundle, or of one with the artifacts of another model."""
    name = draw.choice(("tiny", "tiny", "tiny", "wrong"))
    bundle = _copy(clean.bundle(name), place)
    raw = read_manifest(bundle)
    del raw["targets"]["savedmodel"]  # it is slow, and the other targets have every field
    rejudge = draw.random() < 0.3
    detail = _edit_manifest(draw, bundle / MANIFEST, raw, name)
    arguments = ["verify", str(bundle), "--json", *(["--rejudge"] if rejudge else [])]
    if draw.random() < 0.4:
        arguments += ["-t", "onnx"]

    def worth(ran: Ran) -> Worth:
        if name == "wrong" and not rejudge:
            return wrong("the artifacts are of another model")
        if rejudge:
            return compared(_missing_claims(ran))
        return compared(_missing_claims(ran) or _elsewhere(bundle, clean.bundle(name), ran))

    what = f"{name}{', rejudged' if rejudge else ''}: {detail}"
    return Attempt("manifest", what, arguments, worth, bundle)


def attack_samples(draw: random.Random, clean: Clean, place: Place) -> Attempt:
    """Edit the samples or the reference."""
    bundle = _copy(clean.bundle("tiny"), place)
    file = bundle / "verification" / f"{draw.choice(('inputs', 'reference'))}.npz"
    detail = edit_file(draw, file, place.root)
    sealed = draw.random() < _SEALED_SHARE
    if sealed:
        seal(bundle)
    target = draw.choice(("onnx", "tflite"))

    def worth(ran: Ran) -> Worth:
        if not sealed:
            return wrong("the manifest has another digest")
        if missing := _missing_claims(ran):
            return compared(missing)
        try:
            inputs = read_npz(bundle / "verification" / "inputs.npz")
            expected = read_npz(bundle / "verification" / "reference.npz")
            if len(inputs) != len(read_manifest(bundle)["samples"]):
                return wrong(f"{len(inputs)} samples, not the number in the manifest")
            path = bundle / target
            path = next(path.iterdir())
            found = artifact_answers(clean.bundle("tiny"), target, path, inputs, place)
        except ValueError as error:
            return wrong(str(error))
        return compared(problems_of(found, expected), "another")

    arguments = ("verify", str(bundle), "-t", target, "--json")
    how = "sealed" if sealed else "not sealed"
    return Attempt("npz", f"{detail} ({how}), {target}", arguments, worth, bundle)


def _copy(bundle: Path, place: Place) -> Path:
    return Path(shutil.copytree(bundle, place.output))


def _edit_manifest(draw: random.Random, file: Path, raw: dict[str, Any], name: str) -> str:
    kind = draw.choice(("lie", "edit", "edit", "bytes"))
    if kind == "bytes" and name != "wrong":
        data, detail = edit_bytes(draw, json.dumps(raw).encode())
        file.write_bytes(data)
        return detail
    if kind == "lie" or name == "wrong":
        detail, fields = draw.choice(_LIES)
        targets = [draw.choice(("onnx", "tflite"))] if draw.random() < 0.5 else ["onnx", "tflite"]
        for target in targets:
            for field, value in fields.items():
                put(raw, ("targets", target, field), value)
        detail = f"{detail} of {', '.join(targets)}"
    else:
        raw, detail = edit_json(draw, raw)
    file.write_text(json.dumps(raw))
    return detail


def _missing_claims(ran: Ran) -> list[str]:
    """Return what the report of a verification with exit code 0 must contain but lacks."""
    try:
        targets = json.loads(ran.out)["targets"]
    except (ValueError, KeyError, TypeError) as error:
        return [f"exit 0, but no result: {error}"]
    if not targets:
        return ["exit 0, but no target was verified"]
    problems = []
    for target, result in targets.items():
        if result["status"] != "verified":
            problems.append(f"exit 0, but {target} is {result['status']}")
        outputs = set(result["max_abs_error"] or ())
        if outputs != _OUTPUTS:
            problems.append(f"{target} is verified, but only for the outputs {sorted(outputs)}")
    return problems


def _elsewhere(bundle: Path, clean: Path, ran: Ran) -> list[str]:
    """Return the verified artifacts that are not the bundle's own."""
    problems = []
    expected = read_manifest(clean)["targets"]
    for target, result in json.loads(ran.out)["targets"].items():
        path = (bundle / (result["path"] or "")).resolve()
        if not path.is_relative_to(bundle.resolve()):
            problems.append(f"{target} is verified, but is outside the bundle: {result['path']}")
        elif not path.exists() or sha256(path) not in {
            clean_result["sha256"] for clean_result in expected.values()
        }:
            problems.append(f"{target} is verified, but {result['path']} is not an artifact")
    return problems


def _artifact_is_right(ran: Ran, clean: Path, target: str, path: Path, place: Place) -> Worth:
    """Run the verified artifact on the clean samples."""
    try:
        inputs = read_npz(clean / "verification" / "inputs.npz")
        found = artifact_answers(clean, target, path, inputs, place)
    except ValueError as error:
        return wrong(f"it does not run: {error}")
    expected = read_npz(clean / "verification" / "reference.npz")
    status = json.loads(ran.out)["targets"][target]["status"]
    problems = [] if status == "verified" else [f"exit 0, but it is {status}"]
    return compared(problems + problems_of(found, expected))
