from pathlib import Path

import pytest

from hubopt import registry
from hubopt.exporter import Exporter
from hubopt.testing import assert_conforms


@pytest.mark.parametrize("name", ["savedmodel", "tflite", "onnx", "trt"])
def test_the_built_in_exporters_conform(name: str, tmp_path: Path) -> None:
    exporter = registry.get(name)
    parity = assert_conforms(exporter, tmp_path)
    if name == "trt" and parity is None:
        return  # built, but there is no GPU: what runs it says so, see test_tensorrt
    assert parity is not None
    assert parity.samples == 4


class Swapped:
    """The ONNX exporter with a fault: its runner exchanges the two outputs."""

    def __init__(self) -> None:
        self._inner = registry.get("onnx")

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def runner(self, artifact: object) -> object:
        inner = self._inner.runner(artifact)  # type: ignore[arg-type]

        class Runner:
            device = "CPU"

            def run(self, inputs: object) -> dict[str, object]:
                outputs = inner.run(inputs)  # type: ignore[arg-type]
                return {"sum": outputs["difference"], "difference": outputs["sum"]}

        return Runner()


class Elsewhere(Swapped):
    """Writes, but not where it was asked to."""

    def export(self, source: object, path: Path, options: object) -> object:
        return self._inner.export(source, path.with_suffix(".other"), options)  # type: ignore[arg-type]

    def runner(self, artifact: object) -> object:
        return self._inner.runner(artifact)  # type: ignore[arg-type]


class Overwriting(Swapped):
    """Returns the same memory from every call."""

    def runner(self, artifact: object) -> object:
        inner = self._inner.runner(artifact)  # type: ignore[arg-type]
        kept: dict[str, object] = {}

        class Runner:
            device = "CPU"

            def run(self, inputs: object) -> dict[str, object]:
                for name, array in inner.run(inputs).items():  # type: ignore[arg-type]
                    kept.setdefault(name, array)[...] = array  # type: ignore[index]
                return dict(kept)

        return Runner()


@pytest.mark.parametrize(
    ("exporter", "told"),
    [
        (Swapped(), "the artifact is not the layer"),
        (Elsewhere(), "nothing was written at the path asked for"),
        (Overwriting(), "the artifact is not the layer"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_faulty_exporter_does_not_conform(exporter: Exporter, told: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=told):
        assert_conforms(exporter, tmp_path)


def test_half_an_exporter_does_not_conform(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="lacks attributes or methods"):
        assert_conforms(object(), tmp_path)  # type: ignore[arg-type]
