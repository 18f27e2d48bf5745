"""Attacks on models and on the cache of stages."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Collection
from pathlib import Path

from benchmarks.attacks.attempt import Attempt, Worth, compared, wrong
from benchmarks.attacks.clean import Clean, broken_promises, differences, export_arguments
from benchmarks.attacks.file_edits import edit_file
from benchmarks.attacks.independent import (
    artifact_answers,
    layer_answers,
    problems_of,
    problems_of_artifact,
    read_npz,
    without_name,
)
from benchmarks.attacks.json_edits import edit_json
from benchmarks.attacks.outcome import Ran
from benchmarks.attacks.place import Place

_GRAPH = "saved_model.pb"


def attack_saved_model(file: str, draw: random.Random, clean: Clean, place: Place) -> Attempt:
    """Damage a SavedModel's graph or its variables.

    Args:
        file: ``saved_model.pb`` or ``variables``.
        draw: The random number generator.
        clean: The undamaged files.
        place: The folders of the attack.
    """
    name = draw.choice(("tiny", "conv"))
    model = Path(shutil.copytree(clean.model(name), place.root / name))
    if file == _GRAPH:
        if draw.random() < 0.9:
            (model / "fingerprint.pb").unlink()  # else the loader refuses the graph
        path = model / _GRAPH
    else:
        path = draw.choice(sorted((model / file).iterdir()))
    detail = f"{name}: {edit_file(draw, path, place.root)}"
    return _attempt(file, name, model, detail, draw, clean, place)


def attack_keras(suffix: str, draw: random.Random, clean: Clean, place: Place) -> Attempt:
    """Damage a Keras file."""
    name = f"conv{suffix}"
    model = Path(shutil.copyfile(clean.model(name), place.root / name))
    detail = edit_file(draw, model, place.root)
    return _attempt(suffix, name, model, detail, draw, clean, place)


def _attempt(
    kind: str,
    name: str,
    model: Path,
    detail: str,
    draw: random.Random,
    clean: Clean,
    place: Place,
) -> Attempt:
    verb = draw.choices(("inspect", "pin", "export"), [6, 1, 3])[0]
    if verb == "export":
        target = draw.choice(("onnx", "tflite"))
        arguments = export_arguments(model, place.output, (target,))

        def worth(ran: Ran) -> Worth:
            return _export_is_right(name, model, target, clean, place)

        return Attempt(kind, f"{detail}; export to {target}", arguments, worth)
    if verb == "pin":
        pin = ("--pin", f"sha256:{clean.digests[name]}")

        def refused(ran: Ran) -> Worth:
            return wrong("another digest was pinned")

        return Attempt(kind, f"{detail}; pinned", ("inspect", str(model), *pin), refused)
    arguments = ["inspect", str(model), "--json"]
    return Attempt(kind, f"{detail}; inspect", arguments, lambda ran: ("another", {}))


def _export_is_right(name: str, model: Path, target: str, clean: Clean, place: Place) -> Worth:
    """Judge the bundle of a damaged model: it must compute what that model computes."""
    if broken := broken_promises(place.output):
        return None, {"damaged": "; ".join(broken)}
    bundle = clean.bundle(name.partition(".")[0])
    if name in ("tiny", "conv") and not differences(place.output, bundle):
        return "right", {}
    try:
        inputs = read_npz(place.output / "verification" / "inputs.npz")
        expected = layer_answers(model, inputs, place)
        path = next((place.output / target).iterdir())
        found = artifact_answers(place.output, target, path, inputs, place)
    except ValueError as error:
        return wrong(str(error))
    return compared(problems_of(without_name(found), without_name(expected)), "another")


def attack_stages(draw: random.Random, clean: Clean, place: Place) -> Attempt:
    """Damage an entry of the cache, sometimes with a correct seal, or exchange two entries."""
    place.stages.rmdir()
    shutil.copytree(clean.stages, place.stages)
    entries = sorted(path.parent for path in place.stages.glob("*/entry.json"))
    entry = draw.choice(entries)
    attacked = {entry.name}
    target = json.loads((entry / "entry.json").read_text())["entry"]["target"]
    damage = draw.choices(("file", "sealed", "exchanged"), [7, 2, 1])[0]
    if damage == "exchanged":
        other = draw.choice([candidate for candidate in entries if candidate != entry])
        attacked.add(other.name)
        entry.rename(aside := place.root / "aside")
        other.rename(entry)
        aside.rename(other)
        detail = "two entries exchanged"
    elif damage == "sealed":
        detail = _edit_sealed(draw, entry)
    else:
        files = [path for path in sorted(entry.rglob("*")) if path.is_file()]
        edit = edit_file(draw, draw.choice(files), place.root)
        detail = f"{target or 'trace or reference'}: {edit}"
    targets = ("savedmodel", "onnx", "tflite") if target == "savedmodel" else ("onnx", "tflite")
    arguments = export_arguments(clean.model("tiny"), place.output, targets)

    def savedmodel() -> list[str]:
        bundle = clean.bundle("tiny")
        return problems_of_artifact(place.output, bundle, "savedmodel", place)

    def worth(ran: Ran) -> Worth:
        # An entry that no stage needed stays damaged.
        broken = broken_promises(place.output) + damaged_entries(place, attacked)
        if broken:
            return None, {"damaged": "; ".join(broken)}
        return compared(differences(place.output, clean.bundle("tiny"), savedmodel))

    return Attempt("stage entry", f"{damage}: {detail}", arguments, worth)


def _edit_sealed(draw: random.Random, entry: Path) -> str:
    """Edit the value or the entry, and correct the digests."""
    sealed = json.loads((entry / "entry.json").read_text())
    if draw.random() < 0.7:
        value, detail = edit_json(draw, json.loads((entry / "value.json").read_text()))
        (entry / "value.json").write_text(json.dumps(value))
        sealed["entry"]["digests"][""] = _sha256(json.dumps(value))
    else:
        sealed["entry"], detail = edit_json(draw, sealed["entry"])
    sealed["sha256"] = _sha256(json.dumps(sealed["entry"]))
    (entry / "entry.json").write_text(json.dumps(sealed))
    return detail


def damaged_entries(place: Place, attacked: Collection[str] = ()) -> list[str]:
    """Return which entries of the cache are damaged; looking them up removes them.

    Args:
        place: The folders with the cache.
        attacked: Entries that are not looked at.
    """
    from hubopt.bundles.stage_store import StageStore

    store = StageStore(place.stages, 10**12)
    damaged = []
    for path in sorted(place.stages.iterdir()) if place.stages.is_dir() else ():
        if path.name.startswith(".") or not path.is_dir() or path.name in attacked:
            continue
        found = store.look_up(path.name)
        if found is None:
            damaged.append(f"entry {path.name[:12]} is damaged")
            continue
        entry, _ = found
        destinations = {name: place.root / "taken" / name for name in entry.digests if name}
        (place.root / "taken").mkdir()
        if not store.take(entry, destinations):
            damaged.append(f"files of entry {path.name[:12]} are damaged")
        shutil.rmtree(place.root / "taken", ignore_errors=True)
    return damaged


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
