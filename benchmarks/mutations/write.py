"""Writes a mutant."""

from __future__ import annotations

from pathlib import Path

from benchmarks.mutations.mutant import Mutant


def write(mutant: Mutant, destination: Path) -> None:
    """Write the mutated artifact to ``destination``."""
    if mutant.target == "onnx":
        import onnx

        model = onnx.load(mutant.source)
        mutant.apply(model)
        onnx.save(model, destination)
    else:
        from benchmarks.mutations.flatbuffer import read_model, write_model

        opened = read_model(mutant.source)
        mutant.apply(opened)
        write_model(opened, destination)
