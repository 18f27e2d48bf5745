"""Writes docs/session.md: a terminal session of 80 columns, as hubopt prints it today.

    python -m benchmarks.session [--output docs/session.md]

Runs every command in a temporary folder, with an empty cache, on the published model basic-pitch.
Standard error and standard output stand together, as on a terminal.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.models import basic_pitch

COLUMNS = 80
MODEL = "basic-pitch"
STEPS: Sequence[tuple[str, str]] = (
    ("What the model is", f"hubopt inspect {MODEL}"),
    (
        "Export it, prove it, time it",
        f"hubopt export {MODEL} --target tflite,onnx --output b1",
    ),
    ("The same again, from the cache", f"hubopt export {MODEL} --target onnx --output b2"),
    ("Judge the artifacts again on this machine", "hubopt verify b1"),
    ("Stricter bounds, from the stored differences", "hubopt verify b1 --rejudge --rtol 1e-6"),
    ("Call one from a program", "hubopt snippet b1 onnx --lang python"),
    ("A mistake", f"hubopt export {MODEL} --target onx --output b3"),
)


def main(arguments: Sequence[str]) -> int:
    """Run all commands and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.session")
    parser.add_argument("--output", type=Path, default=Path("docs/session.md"))
    asked = parser.parse_args(arguments)
    page = [
        "# A session\n",
        f"Made by `python -m benchmarks.session`, {COLUMNS} columns wide, with basic-pitch 0.4.0.",
        "Times are those of one run on one machine.",
    ]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "work"
        folder.mkdir()
        shutil.copytree(basic_pitch(), folder / MODEL)
        for title, command in STEPS:
            print(command, file=sys.stderr, flush=True)
            page.append(f"\n## {title}\n\n```\n$ {command}\n{run(command, folder)}```")
    asked.output.write_text("\n".join(page) + "\n")
    return 0


def run(command: str, folder: Path) -> str:
    """Run one hubopt command in ``folder``; return what it prints and its exit code if not 0."""
    environment = {
        **os.environ,
        "COLUMNS": str(COLUMNS),
        "NO_COLOR": "1",
        "HUBOPT_CACHE_DIR": str(folder.parent / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(command)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    lines = [line.rstrip() for line in done.stdout.replace(str(folder), "~").splitlines()]
    end = [] if done.returncode == 0 else [f"(exit {done.returncode})"]
    return "".join(f"{line}\n" for line in (*lines, *end))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
