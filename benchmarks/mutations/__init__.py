"""Injects faults into exported artifacts, to check whether parity catches them."""

from benchmarks.mutations.mutant import KINDS, Mutant
from benchmarks.mutations.onnx_mutants import onnx_mutants
from benchmarks.mutations.tflite_mutants import tflite_mutants
from benchmarks.mutations.write import write

__all__ = ["KINDS", "Mutant", "onnx_mutants", "tflite_mutants", "write"]
