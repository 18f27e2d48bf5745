"""A probe of an exporter reads the tensors of its artifacts, including the outputs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hubopt import registry
from hubopt.diagnosis.probing import Probed
from hubopt.errors import NotRunnableHereError
from hubopt.exporter import Artifact, Probe, Program
from hubopt.testing import make_task

INPUTS = {
    name: np.full((2, 8), value, "float32") for name, value in {"left": 1, "right": -2}.items()
}


@pytest.mark.parametrize(
    ("name", "options"),
    [("onnx", {}), ("tflite", {}), ("savedmodel", {}), ("savedmodel", {"freeze": True})],
)
def test_a_probe_reads_the_same_outputs_as_the_runner(
    tiny_program: tuple[Any, Program], tmp_path: Path, name: str, options: dict[str, object]
) -> None:
    exporter: Any = registry.get(name)
    path = tmp_path / f"model{exporter.suffix}"
    artifact = exporter.export(make_task(exporter, tiny_program[1], path, **options))
    probe: Probe = exporter.probe(artifact)
    tensors = {tensor: (op, reads) for tensor, _, op, reads in probe.tensors()}
    assert {*probe.inputs.values(), *probe.outputs.values()} <= tensors.keys()
    assert all(tensors[tensor] == ("", ()) for tensor in probe.inputs.values())
    assert len(tensors) > len(probe.inputs) + len(probe.outputs)
    assert probe.how
    read = probe.run(INPUTS, list(probe.outputs.values()))
    given = exporter.runner(artifact).run(INPUTS)
    for output, tensor in probe.outputs.items():
        np.testing.assert_allclose(read[tensor], given[output], rtol=1e-5, atol=1e-6)


def test_the_error_for_a_target_without_a_probe_names_those_with_one(
    tiny_program: tuple[Any, Program], tmp_path: Path
) -> None:
    artifact = Artifact("trt", tmp_path / "m.engine", tiny_program[1].spec)
    with pytest.raises(NotRunnableHereError, match="does not read intermediate tensors") as caught:
        Probed(artifact)
    assert "onnx, tflite or savedmodel" in caught.value.expected
