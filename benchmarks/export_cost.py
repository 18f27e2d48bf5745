"""Compares the cost of an export, including verification, with the plain tools: time and memory.

    make cost       or      python -m benchmarks.export_cost [--part PART] [--model NAME]
                            [--rounds N] [--profile] [--json]

Every command is measured as a whole process, including its children. The commands of hubopt and of
the other tools take turns for the given number of rounds, and the medians are compared. Memory is
PSS: pages that processes share count once. The peak is the largest sum over the process tree at any
one instant, sampled every 50 ms (`benchmarks.cost.measure`).

    onnx      `hubopt export --target onnx` against `python -m tf2onnx.convert`
    floor     a script that only imports TensorFlow and loads the model, against the same:
              any tool that runs the layer takes at least as much
    tflite    `hubopt export --target tflite` against a `TFLiteConverter.from_saved_model` script
    four      all targets in one command against the sum of one command each
    growth    one graph with 0.1, 0.5, 1 and 3 GB of weights (1e9 bytes): peak memory over weights
              at the largest size, and the time of another GB at the large end over that at the
              small end, so that the graph's own cost cancels out; with `--noise off`, so that the
              work is the same at each size
    cached    the same command a second time, if this hubopt has a cache of stages

Before each command, memory is touched and freed: the host of a virtual machine may have reclaimed
free memory, and returns it slowly (`benchmarks.cost.warming`; `--cold` leaves that out).

hubopt runs with `--rounds 0`, that is without latency timing, with verification and the measurement
of the layer's own noise, and without a cache. A command that takes longer than 900 s or more than
18 GB is killed and reported as failed. A model beyond 2 GB cannot become a TFLite file, and tf2onnx
needs `--large_model` for it. Linux only: it reads /proc.

Exit code 0: all bounds hold; 1: a bound is missed, or hubopt failed where there is a bound, and the
profile is shown; 3: another tool failed, so that a bound could not be judged.
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
    """Run the benchmark with these arguments; return the exit code."""
    options = _parse(arguments)
    parts = options.part or PARTS
    models = {name: MODELS[name] for name in options.model or MODELS}
    sizes: Mapping[str, float] = {}
    if "growth" in parts and "3gb" in models:
        sizes = {sized(size).name: size for size in sorted(options.size or SIZES_GB)}
        models |= {name: sized(size) for name, size in sizes.items()}
    limits = Limits(options.timeout, options.most_gb * GB)
    cache = has_cache()
    rows: list[Row] = []
    growth: list[tuple[float, Costs]] = []
    for name, model in models.items():
        wanted = [part for part in parts if name in (sizes if part == "growth" else MODELS)]
        if not wanted:
            continue
        costs = _measure(model, wanted, cache, options, limits)
        rows += judge(model, wanted, costs)
        if name in sizes:
            growth.append((weights_bytes(model.make()) / GB, costs))
    if growth:
        rows += growth_rows(sorted(growth, key=lambda point: point[0]))
    if options.json:
        facts = {"environment": describe(), "rounds": options.rounds}
        print(json.dumps({**facts, "rows": [plain(row) for row in rows]}, indent=2))
    else:
        print(", ".join(f"{name} {value}" for name, value in describe().items()))
        print(f"medians of {options.rounds}")
        show(rows, Console(width=max(Console().width, 120)), options.profile)
    return exit_code(rows)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.export_cost")
    parser.add_argument("--model", choices=MODELS, action="append", help="all by default")
    parser.add_argument("--part", choices=PARTS, action="append", help="all by default")
    parser.add_argument("--rounds", type=int, default=3, help="3 by default")
    parser.add_argument(
        "--size",
        type=float,
        action="append",
        help="GB of a model of growth; by default 0.1, 0.5, 1 and 3",
    )
    parser.add_argument(
        "--timeout", type=float, default=Limits().seconds, help="limit of a command in seconds"
    )
    parser.add_argument(
        "--most-gb",
        type=float,
        default=Limits().peak_bytes / GB,
        help="limit of a command's memory in GB",
    )
    parser.add_argument(
        "--cold", action="store_true", help="do not touch the memory before each command"
    )
    parser.add_argument(
        "--profile",
        action="store_true",
        help="show the profile of all rows, not only of missed bounds",
    )
    parser.add_argument(
        "--json", action="store_true", help="print everything as JSON on standard output"
    )
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds: at least 1")
    return options


def _measure(
    model: CostModel,
    parts: Collection[str],
    cache: bool,
    options: argparse.Namespace,
    limits: Limits,
) -> Costs:
    def report(name: str, cost: Cost) -> None:
        took = f"{cost.seconds:.1f} s, {cost.peak_bytes / 1e6:.0f} MB"
        print(f"{model.name}: {name}: {cost.problem or took}", file=sys.stderr, flush=True)

    prepare = (lambda: None) if options.cold else warm_memory
    return run_rounds(list(steps(model, parts, cache)), options.rounds, limits, report, prepare)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
