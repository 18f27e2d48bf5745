"""What an export costs, verification included, beside the plain tools: wall time, peak memory.

    make cost       or      python -m benchmarks.export_cost [--part PART] [--model NAME]
                            [--rounds N] [--profile] [--json]

Every command is a whole process with all that it starts. They take turns, ours and theirs, in as
many rounds as asked for, and the medians are compared. Memory is PSS: pages that processes share
count once; the peak is the largest sum over the process tree at any one instant, sampled every
50 ms (`benchmarks.cost.measure`).

    onnx      `hubopt export --target onnx` against `python -m tf2onnx.convert`
    floor     a script that imports TensorFlow and loads the model, no more, against the same:
              whoever asks the layer takes as much
    tflite    `hubopt export --target tflite` against a `TFLiteConverter.from_saved_model` script
    four      all targets in one command against the sum of one command each
    growth    one graph with 0.1, 0.5, 1 and 3 GB of weights (1e9 bytes): peak memory over weights
              at the largest, and what another GB takes there over what it takes below, so that
              the graph's own cost falls out; with `--noise off`, so that the same is done at each
    cached    the same command a second time, where this hubopt has a cache of stages

Before each command, memory is touched and given back: a virtual machine's host may have taken what
was free, and gives it slowly (`benchmarks.cost.warming`; `--cold` leaves that out).

Ours runs with `--rounds 0`, that is without timing of latency, with verification and the
measurement of the layer's own noise, and without a cache. A command that takes longer than 900 s or
more than 18 GB is killed, and told as failed. Of a model beyond 2 GB there can be no TFLite file,
and tf2onnx needs `--large_model`. Linux only: it reads /proc.

Exit code 0: all bounds hold; 1: one is missed, or hubopt failed where there is one, and its profile
is shown; 3: a peer failed, so that a bound could not be judged.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Collection, Mapping, Sequence

from rich.console import Console

from benchmarks.cost.commands import has_cache
from benchmarks.cost.judge import Row, exit_code, growth_rows, judge
from benchmarks.cost.measure import GB, Cost, Limits
from benchmarks.cost.models import MODELS, CostModel, sized, weights_bytes
from benchmarks.cost.plan import PARTS, Costs, run_rounds, steps
from benchmarks.cost.report import plain, show
from benchmarks.cost.warming import warm_memory
from hubopt.latency.environment import describe

SIZES_GB = (0.1, 0.5, 1.0, 3.0)


def main(arguments: Sequence[str]) -> int:
    """Run what the arguments ask for; return the exit code."""
    asked = _parse(arguments)
    parts = asked.part or PARTS
    models = {name: MODELS[name] for name in asked.model or MODELS}
    sizes: Mapping[str, float] = {}
    if "growth" in parts and "3gb" in models:
        sizes = {sized(size).name: size for size in sorted(asked.size or SIZES_GB)}
        models |= {name: sized(size) for name, size in sizes.items()}
    limits = Limits(asked.timeout, asked.most_gb * GB)
    cache = has_cache()
    rows: list[Row] = []
    growth: list[tuple[float, Costs]] = []
    for name, model in models.items():
        wanted = [part for part in parts if name in (sizes if part == "growth" else MODELS)]
        if not wanted:
            continue
        costs = _measure(model, wanted, cache, asked, limits)
        rows += judge(model, wanted, costs)
        if name in sizes:
            growth.append((weights_bytes(model.make()) / GB, costs))
    if growth:
        rows += growth_rows(sorted(growth, key=lambda each: each[0]))
    if asked.json:
        facts = {"environment": describe(), "rounds": asked.rounds}
        print(json.dumps({**facts, "rows": [plain(row) for row in rows]}, indent=2))
    else:
        print(", ".join(f"{name} {value}" for name, value in describe().items()))
        print(f"medians of {asked.rounds}")
        show(rows, Console(width=max(Console().width, 120)), asked.profile)
    return exit_code(rows)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.export_cost")
    parser.add_argument("--model", choices=MODELS, action="append", help="all by default")
    parser.add_argument("--part", choices=PARTS, action="append", help="all by default")
    parser.add_argument("--rounds", type=int, default=3, help="3 by default")
    parser.add_argument(
        "--size", type=float, action="append", help="GB of growth's models; 0.1, 0.5, 1 and 3"
    )
    parser.add_argument("--timeout", type=float, default=Limits().seconds, help="of a command, s")
    parser.add_argument(
        "--most-gb", type=float, default=Limits().peak_bytes / GB, help="of a command's memory"
    )
    parser.add_argument("--cold", action="store_true", help="do not touch the memory before")
    parser.add_argument("--profile", action="store_true", help="of all rows, not of misses only")
    parser.add_argument("--json", action="store_true", help="everything, to standard output")
    asked = parser.parse_args(arguments)
    if asked.rounds < 1:
        parser.error("--rounds: at least 1")
    return asked


def _measure(
    model: CostModel,
    parts: Collection[str],
    cache: bool,
    asked: argparse.Namespace,
    limits: Limits,
) -> Costs:
    def report(name: str, cost: Cost) -> None:
        took = f"{cost.seconds:.1f} s, {cost.peak_bytes / 1e6:.0f} MB"
        print(f"{model.name}: {name}: {cost.problem or took}", file=sys.stderr, flush=True)

    prepare = (lambda: None) if asked.cold else warm_memory
    return run_rounds(list(steps(model, parts, cache)), asked.rounds, limits, report, prepare)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
