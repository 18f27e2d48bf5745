"""The contract between hubopt and an exporter, built in or from a stranger.

An exporter is registered by one line of packaging metadata::

    [project.entry-points."hubopt.exporters"]
    mine = "my_package:MyExporter"

and is checked by `hubopt.testing.assert_conforms`. It sees this module,
`hubopt.spec` and `hubopt.errors`, and nothing else of hubopt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from hubopt.errors import NotRunnableHereError
from hubopt.spec import Domain, ModelSpec

Tensors = Mapping[str, Any]
"""Arrays by tensor name: ``numpy.ndarray`` values, strings as ``object`` arrays of ``bytes``."""

XlaMode = Literal["require", "auto", "off"]
ToleranceClass = Literal["fp32", "xla", "tf32", "fp16", "bf16", "int8-dynamic", "int8-static"]

PROGRAM = "program"
"""The `Exporter.source` of an exporter that starts from the traced program."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the user may ask of the built-in exporters.

    Attributes:
        xla: ``require`` refuses a program that XLA cannot compile, ``auto`` leaves
            such a program uncompiled and says so, ``off`` never compiles.
        freeze: SavedModel: weights as constants of the graph, not variables.
        select_tf_ops: TFLite: allow TensorFlow's own kernels beside the builtin ones.
        opset: ONNX: the operator set version.
    """

    xla: XlaMode = "require"
    freeze: bool = False
    select_tf_ops: bool = False
    opset: int = 18


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
        generic: Whether it takes many dtypes, so that it merely passes strings or handles on.
    """

    op: str
    count: int
    example: str
    string: bool
    resource: bool
    xla: bool
    generic: bool


@dataclass(frozen=True, slots=True)
class Program:
    """A traced layer on disk, in inference mode.

    Attributes:
        folder: Where the files below stand.
        spec: The inputs and outputs.
        input_tensors: The frozen graph's tensor for each of ``spec.inputs``.
        output_tensors: The frozen graph's tensor for each of ``spec.outputs``.
        ops: Every operation of the graph, functions included.
        compiled: Whether the SavedModel's function carries ``jit_compile=True``.
        domains: What values an input takes, by name, for each input of which the graph tells.
        constant: Outputs that no input reaches.
        weightless: Outputs that no weights reach.
        frozen_bytes: The size of the frozen graph with its weights; 0 if there is none.
    """

    folder: Path
    spec: ModelSpec
    input_tensors: tuple[str, ...]
    output_tensors: tuple[str, ...]
    ops: tuple[OpUse, ...]
    compiled: bool
    domains: Mapping[str, Domain] = field(default_factory=dict)
    constant: tuple[str, ...] = ()
    weightless: tuple[str, ...] = ()
    frozen_bytes: int = 0

    @property
    def frozen_graph(self) -> Path:
        """A serialized ``GraphDef`` in which a placeholder stands for each large weight.

        It is there unless an operation in ``ops`` reads a resource.
        `hubopt.programs.graphs.frozen_graph` reads it together with `weights`.
        """
        return self.folder / "frozen.pb"

    @property
    def weights(self) -> Path:
        """The folder of the large weights of the frozen graph."""
        return self.folder / "weights"

    @property
    def has_frozen_graph(self) -> bool:
        """Whether there is a frozen graph."""
        return self.frozen_bytes > 0

    @property
    def saved_model(self) -> Path:
        """A SavedModel with the weights as variables, signature ``serving_default``.

        It is there for exporters with ``reads_saved_model``, and where there is no frozen graph.
        """
        return self.folder / "saved_model"


@dataclass(frozen=True, slots=True)
class Artifact:
    """What an exporter wrote.

    Attributes:
        target: The name of the exporter that wrote it.
        path: The file or folder.
        spec: The inputs and outputs that it promises.
        tolerance: The tolerance class that it is held to.
        details: Facts worth keeping with it: versions, opset, builder.
        companions: The names of further files, beside ``path``, that it does not load without.
    """

    target: str
    path: Path
    spec: ModelSpec
    tolerance: ToleranceClass = "fp32"
    details: dict[str, str | int | float | bool] = field(default_factory=dict)
    companions: tuple[str, ...] = ()


Source = Program | Artifact


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One reason, known before any work, why a target cannot hold a program.

    Attributes:
        op: The TensorFlow operation in the way.
        count: How many nodes use it.
        reason: Why the target cannot hold it.
    """

    op: str
    count: int
    reason: str

    def __str__(self) -> str:
        return f"{self.op} (x{self.count}): {self.reason}"


@dataclass(frozen=True, slots=True)
class Requirement:
    """A package an exporter needs; any one of ``modules`` will do.

    Attributes:
        modules: Import names, the preferred one first.
        install: The command that installs it.
    """

    modules: tuple[str, ...]
    install: str


class Runner(Protocol):
    """A loaded artifact.

    Attributes:
        device: What it computes on, such as ``CPU`` or ``CUDAExecutionProvider``.
    """

    @property
    def device(self) -> str: ...

    def run(self, inputs: Tensors) -> dict[str, Any]:
        """Return the outputs by the layer's own names, as arrays in host memory."""
        ...


@runtime_checkable
class Exporter(Protocol):
    """Writes and runs one kind of artifact.

    Attributes:
        name: The target's name on the command line.
        summary: One line for ``hubopt targets``.
        suffix: The artifact's file suffix, such as ``.onnx``; empty for a folder.
        source: `PROGRAM`, or the name of the exporter whose artifact it starts from.
        dynamic: Whether it holds dynamic dimensions; if not, a model that has some is refused
            for this target before any work.
        largest_bytes: How many bytes of weights its format holds; None for any number.
        reads_saved_model: Whether it needs `Program.saved_model`, which takes longer to write
            than the frozen graph.
        builds_with: What writing needs.
        runs_with: What running needs.
    """

    @property
    def name(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def suffix(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def dynamic(self) -> bool: ...
    @property
    def largest_bytes(self) -> int | None: ...
    @property
    def reads_saved_model(self) -> bool: ...
    @property
    def builds_with(self) -> tuple[Requirement, ...]: ...
    @property
    def runs_with(self) -> tuple[Requirement, ...]: ...

    def obstacles(self, ops: Sequence[OpUse], options: Options) -> list[Obstacle]:
        """Return every known reason why ``ops`` cannot be exported; empty if none."""
        ...

    def export(self, source: Source, path: Path, options: Options) -> Artifact:
        """Write ``source`` to ``path``, which does not exist yet.

        Raises:
            ExportError: The conversion failed.
        """
        ...

    def machine_problem(self) -> str | None:
        """Return why this machine cannot run the target though the packages are there.

        Answers at once: no heavy import.
        """
        ...

    def runner(self, artifact: Artifact) -> Runner:
        """Load ``artifact``.

        Raises:
            NotRunnableHereError: This machine has no means to run it.
            ExportError: It does not load.
        """
        ...


def require_program(source: Source) -> Program:
    """Return ``source`` as the program it must be."""
    if not isinstance(source, Program):
        raise TypeError(f"a program was expected, found the {source.target} artifact")
    return source


def require_artifact(source: Source) -> Artifact:
    """Return ``source`` as the artifact it must be."""
    if not isinstance(source, Artifact):
        raise TypeError("an artifact was expected, found a program")
    return source


def not_runnable(artifact: Artifact, found: str, expected: str, way_out: str) -> Exception:
    """Return the error of a machine that cannot run ``artifact``."""
    return NotRunnableHereError(f"{artifact.target} artifact", found, expected, way_out)


def culprits(ops: Iterable[OpUse]) -> list[OpUse]:
    """Return the operations in ``ops`` to blame: without the generic ones, if that leaves any."""
    every = list(ops)
    return [use for use in every if not use.generic] or every


def host_obstacles(ops: Sequence[OpUse], target: str) -> list[Obstacle]:
    """Return the operations in ``ops`` on strings and resources, which ``target`` cannot hold."""
    return [
        Obstacle(
            use.op,
            use.count,
            f"{target} holds no strings" if use.string else f"{target} holds no lookup tables",
        )
        for use in culprits(use for use in ops if use.string or use.resource)
    ]
