"""The protocol of an exporter: the attributes and methods that its class must have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from hubopt.exporter.program import Artifact, OpUse, Tensors
from hubopt.exporter.target import ExportTask, Target


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One reason, known before any work, why a target cannot hold a program.

    Attributes:
        op: The TensorFlow operation that the target cannot hold.
        count: How many nodes use it.
        reason: Why it cannot.
    """

    op: str
    count: int
    reason: str

    def __str__(self) -> str:
        return f"{self.op} (x{self.count}): {self.reason}"


@dataclass(frozen=True, slots=True)
class Requirement:
    """A package that an exporter needs; any one of ``modules`` is enough.

    Attributes:
        modules: Import names, the preferred one first.
        install: The command that installs it.
    """

    modules: tuple[str, ...]
    install: str


class Runner(Protocol):
    """A loaded artifact.

    Attributes:
        device: The device that it computes on, such as ``CPU`` or ``CUDAExecutionProvider``.
    """

    @property
    def device(self) -> str: ...

    def run(self, inputs: Tensors) -> dict[str, Any]:
        """Return the outputs, keyed by the layer's own names, as arrays in host memory."""
        ...


class Probe(Protocol):
    """Reads the intermediate tensors of one artifact, for `hubopt diagnose`.

    An exporter returns it from an optional method ``probe(artifact)``. Without that method, the
    exporter's artifacts cannot be diagnosed.

    Attributes:
        inputs: The artifact's tensor for each input of the layer.
        outputs: The artifact's tensor for each output of the layer.
        script: The source of a Python function ``run(model, inputs)`` that does not use hubopt;
            empty if a part of the model cannot be run by itself.
        how: A text that says how the artifact is run: without the runtime's own optimizations.
    """

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    script: str
    how: str

    def tensors(self) -> Sequence[tuple[str, tuple[int | None, ...] | None, str, tuple[str, ...]]]:
        """Return name, shape, operation and inputs of each tensor, in topological order."""
        ...

    def run(self, inputs: Tensors, names: Sequence[str]) -> Mapping[str, Any]:
        """Return the tensors ``names`` for one sample of the layer's inputs."""
        ...

    def cut(self, inputs: Mapping[str, Any], output: str, path: Path) -> None:
        """Write the part of the model between ``inputs``, arrays by tensor, and ``output``."""
        ...


@runtime_checkable
class Exporter(Protocol):
    """Writes and runs one kind of artifact.

    An optional attribute ``open_outputs`` says whether it supports outputs whose sizes depend on
    the data, while the inputs' sizes are static; by default it does if it is ``dynamic``.

    Two methods are optional: ``probe(artifact)``, see `Probe`, and ``snippets()``, which returns a
    function for each language of `hubopt snippet` (``python``, ``cpp``, ``kotlin``, ``swift``,
    ``js``); the function returns the text of a program that runs its artifact.

    Attributes:
        name: The name that ``--target`` accepts.
        summary: One line for ``hubopt targets``.
        suffix: The artifact's file suffix, such as ``.onnx``; empty for a folder.
        source: `PROGRAM`, or the name of the exporter whose artifact it starts from.
        dynamic: Whether it supports dynamic dimensions; if not, a model that has some is refused
            for this target before any work.
        largest_bytes: The most bytes of weights that its format can hold; None for any number.
        reads_saved_model: Whether it needs `Program.saved_model`, which takes longer to write
            than the frozen graph.
        Options: A frozen dataclass of options, see `option`; `NoOptions` if there are none.
        precisions: The precisions that it can compute in, such as ``fp32``.
        builds_with: The packages that are needed to write an artifact.
        runs_with: The packages that are needed to run an artifact.
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
    def Options(self) -> type[Any]: ...  # noqa: N802  # it is a class
    @property
    def precisions(self) -> tuple[str, ...]: ...
    @property
    def builds_with(self) -> tuple[Requirement, ...]: ...
    @property
    def runs_with(self) -> tuple[Requirement, ...]: ...

    def obstacles(self, ops: Sequence[OpUse], target: Target) -> list[Obstacle]:
        """Return every known reason why ``ops`` cannot be exported; empty if none."""
        ...

    def export(self, task: ExportTask) -> Artifact:
        """Write ``task.source`` to ``task.path``.

        Raises:
            ExportError: The conversion failed.
        """
        ...

    def machine_problem(self) -> str | None:
        """Return why this machine cannot run the target although the packages are installed.

        It answers at once and imports nothing heavy.
        """
        ...

    def runner(self, artifact: Artifact) -> Runner:
        """Load ``artifact``.

        Raises:
            NotRunnableHereError: This machine cannot run it.
            ExportError: It does not load.
        """
        ...
