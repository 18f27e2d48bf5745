"""What an exporter reads and writes: a traced program, and artifacts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hubopt._util.short_repr import short_repr
from hubopt.spec import ModelSpec, ValueRange

Tensors = Mapping[str, Any]
"""Arrays by tensor name: ``numpy.ndarray`` values, strings as ``object`` arrays of ``bytes``."""

XlaMode = Literal["require", "auto", "off"]
"""Whether XLA compiles the SavedModel: always or not at all, only where a trial shows that it is
faster and gives the same values, or never."""
ToleranceClass = Literal["fp32", "xla", "tf32", "fp16", "bf16", "int8-dynamic", "int8-static"]

PROGRAM = "program"
"""The `Exporter.source` of an exporter that starts from the traced program."""


@dataclass(frozen=True, slots=True)
class OpUse:
    """One TensorFlow operation of a program.

    Attributes:
        op: TensorFlow's name of the operation, such as ``LookupTableFindV2``.
        count: How many nodes use it.
        example: The name of one of those nodes.
        string: Whether it computes on strings.
        resource: Whether it reads a handle from outside the graph, such as a lookup table.
        xla: Whether XLA has a kernel for it here.
        generic: Whether it accepts many dtypes, so that it merely passes strings or handles on.
        lookups: The dtypes of keys and values, such as ``string->int64``, if it looks up keys in
            a table.
    """

    op: str
    count: int
    example: str
    string: bool
    resource: bool
    xla: bool
    generic: bool
    lookups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Program:
    """A traced layer on disk, in inference mode.

    Attributes:
        folder: The folder that holds the files below.
        spec: The inputs and outputs.
        input_tensors: The frozen graph's tensor for each of ``spec.inputs``.
        output_tensors: The frozen graph's tensor for each of ``spec.outputs``.
        ops: Every operation of the graph, functions included.
        compiled: Whether the SavedModel's function carries ``jit_compile=True``. In an export it
            does not: the SavedModel exporter decides that for what it writes.
        domains: The values that an input takes, by name, for each input whose range the graph
            shows.
        constant: Outputs that depend on no input, among them those without elements.
        weightless: Outputs that depend on no weights, among them those without elements.
        frozen_bytes: The size of the frozen graph with its weights; 0 if there is none.
    """

    folder: Path
    spec: ModelSpec
    input_tensors: tuple[str, ...]
    output_tensors: tuple[str, ...]
    ops: tuple[OpUse, ...]
    compiled: bool
    domains: Mapping[str, ValueRange] = field(default_factory=dict)
    constant: tuple[str, ...] = ()
    weightless: tuple[str, ...] = ()
    frozen_bytes: int = 0

    __repr__ = short_repr

    @property
    def frozen_graph(self) -> Path:
        """A serialized ``GraphDef`` with a placeholder for each large weight.

        It exists unless an operation in ``ops`` reads a resource.
        `hubopt.programs.graphs.frozen_graph` reads it together with `weights`.
        """
        return self.folder / "frozen.pb"

    @property
    def weights(self) -> Path:
        """The folder of the large weights of the frozen graph."""
        return self.folder / "weights"

    @property
    def is_compilable(self) -> bool:
        """Whether XLA has a kernel for every operation; some shapes may still not compile."""
        return all(use.xla for use in self.ops)

    @property
    def has_frozen_graph(self) -> bool:
        """Whether there is a frozen graph."""
        return self.frozen_bytes > 0

    @property
    def saved_model(self) -> Path:
        """A SavedModel with the weights as variables, signature ``serving_default``.

        It exists for exporters with ``reads_saved_model``, and if there is no frozen graph.
        """
        return self.folder / "saved_model"


@dataclass(frozen=True, slots=True)
class Artifact:
    """What an exporter wrote.

    Attributes:
        exporter: The name of the exporter that wrote it.
        path: The file or folder.
        spec: The inputs and outputs that it promises.
        tolerance: The tolerance class that it is held to. It names the arithmetic: only an
            artifact of class ``xla`` is excused by how XLA rounds.
        details: Facts to keep with it: versions, opset, builder.
        companions: The names of further files next to ``path`` that are needed to load it.
    """

    exporter: str
    path: Path
    spec: ModelSpec
    tolerance: ToleranceClass = "fp32"
    details: dict[str, str | int | float | bool] = field(default_factory=dict)
    companions: tuple[str, ...] = ()

    __repr__ = short_repr


Source = Program | Artifact


def require_program(source: Source) -> Program:
    """Return ``source``, which must be a program."""
    if not isinstance(source, Program):
        raise TypeError(f"a program was expected, found the {source.exporter} artifact")
    return source


def require_artifact(source: Source) -> Artifact:
    """Return ``source``, which must be an artifact."""
    if not isinstance(source, Artifact):
        raise TypeError("an artifact was expected, found a program")
    return source
