"""The public values in Python: short reprs, tables in notebooks, hints as a person passes them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hubopt
from hubopt.errors import UsageError
from hubopt.exporter import OpUse
from hubopt.programs.inspection import Inspection, OpenModel, Signature, Tensor
from hubopt.progress import to_stderr
from hubopt.spec import Dim

MANY = 200
MOST_CHARACTERS = 30 * 80
"""Long lines wrap on a terminal."""


def many_outputs(parity: hubopt.Parity) -> hubopt.Parity:
    (first, *_) = parity.outputs
    outputs = tuple(
        replace(first, name=f"output <{at}>", problems=("it\nis wrong",) if at == 150 else ())
        for at in range(MANY)
    )
    sentences = tuple(f"output {at} differs" for at in range(MANY))
    return replace(parity, passed=False, outputs=outputs, problems=sentences, vacuous=sentences)


@pytest.fixture
def values(tiny_bundle: hubopt.Bundle) -> dict[str, Any]:
    """Public values, each with far more in it than usual."""
    result = tiny_bundle.manifest.targets["onnx"]
    assert result.parity is not None
    parity = many_outputs(result.parity)
    long = replace(result, reason="because " * 500, parity=parity)
    targets = {f"target{at}": replace(long, target=f"target{at}") for at in range(MANY)}
    names = [f"x{at}" for at in range(MANY)]
    tensors = tuple(hubopt.TensorSpec(name, "float32", (Dim(1, "flag"),) * 4) for name in names)
    spec = hubopt.ModelSpec(tensors, tensors, list(names), list(names))
    ops = tuple(OpUse(f"Op{at}", 1, "node", False, False, True, False) for at in range(MANY))
    open_tensors = tuple(Tensor(name, "float32", (None, 3)) for name in names)
    signature = Signature("serve", open_tensors, open_tensors)
    model = OpenModel(None, (signature,) * 9, open_tensors, open_tensors, spec, (), 1, 4, ops)
    manifest = replace(tiny_bundle.manifest, targets=targets, spec=spec)
    return {
        "bundle": hubopt.Bundle(tiny_bundle.path, manifest),
        "manifest": manifest,
        "result": long,
        "parity": parity,
        "output": parity.outputs[0],
        "difference": parity.outputs[0].differences[0],
        "quality": tiny_bundle.manifest.reference,
        "spec": spec,
        "tensor": tensors[0],
        "program": hubopt.Program(Path("p"), spec, tuple(names), tuple(names), ops, True),
        "artifact": tiny_bundle.artifact("onnx"),
        "inspection": Inspection("handle", None, model, {"onnx": ()}),
        "diagnosis": hubopt.Diagnosis("onnx", segment=tuple(names), notes=tuple(names)),
        "hints": hubopt.Hints(dict.fromkeys(names, "1x2x3")),
        "overrides": hubopt.ToleranceOverrides.parse(rtol=[f"{name}=1" for name in names]),
        "policy": hubopt.LoadPolicy(allow_ops=tuple(names)),
        "limits": hubopt.Limits(),
        "options": hubopt.LayerOptions(),
        "target": hubopt.Target("onnx"),
        "trust": hubopt.Trust(),
        "bounds": hubopt.Bounds(1, 2, 3),
        "loaded": hubopt.load(tiny_bundle, "onnx"),
    }


def test_every_repr_takes_less_than_20_lines(values: dict[str, Any]) -> None:
    for name, value in values.items():
        text = repr(value)
        assert len(text.splitlines()) < 20, name
        assert len(text) < MOST_CHARACTERS, name


def test_a_repr_shows_what_matters(tiny_bundle: hubopt.Bundle, values: dict[str, Any]) -> None:
    text = repr(tiny_bundle)
    assert text.startswith(f"Bundle({tiny_bundle.path})\n  savedmodel verified ")
    assert "output <150>" in repr(values["parity"])  # the one with a problem
    assert "and 193 more outputs" in repr(values["parity"])
    assert "status='verified'" in repr(tiny_bundle.results[0])
    assert "stage=" not in repr(tiny_bundle.results[0])  # of its default


@pytest.mark.parametrize("name", ["bundle", "parity", "inspection"])
def test_a_notebook_shows_a_table(values: dict[str, Any], name: str) -> None:
    html = values[name]._repr_html_()
    assert html.startswith("<table><caption>")
    assert html.count("<tr>") >= MANY
    assert "<0>" not in html  # escaped


def test_hints_take_what_a_person_passes() -> None:
    expected = hubopt.Hints(
        input_shapes=(("image", ("B", 224, None, 3)),),
        dtypes=(("image", "float32"),),
        output_shapes=(("", (8, 1000)),),
        batch=8,
        bounds=(("B", hubopt.Bounds(1, 8, 32)),),
    )
    assert expected == hubopt.Hints(
        input_shapes={"image": "Bx224x?x3"},
        dtypes={"image": "float32"},
        output_shapes="8x1000",
        batch="8",
        bounds={"B": "1:8:32"},
    )
    assert expected == hubopt.Hints(
        input_shapes={"image": ["B", np.int64(224), None, 3]},
        dtypes={"image": np.dtype("float32")},
        output_shapes=[("", np.array([8, 1000]))],
        batch=np.int32(8),
        bounds={"B": (1, 8, 32)},
    )
    assert replace(expected, batch="16").batch == 16


@pytest.mark.parametrize(
    ("hints", "message"),
    [
        ({"batch": "many"}, "--batch: many"),
        ({"batch": 0}, "--batch: 0"),
        ({"batch": 2.5}, "--batch: 2.5"),
        ({"batch": True}, "--batch: True"),
        ({"input_shapes": {"x": "1xx3"}}, "shape of x: 1xx3"),
        ({"input_shapes": {"x": (1.5, 2)}}, r"shape of x: \(1.5, 2\)"),
        ({"input_shapes": {"x": (0, 2)}}, r"shape of x: \(0, 2\)"),
        ({"input_shapes": (1, 224)}, r"input_shapes: \(1, 224\)"),
        ({"dtypes": {"x": "float31"}}, "no dtype has this name"),
        ({"bounds": {"B": "8:1:32"}}, "--dim B: 8:1:32"),
        ({"bounds": {"B": "1:2"}}, "--dim B: 1:2"),
    ],
)
def test_hints_that_are_none_are_errors(hints: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        hubopt.Hints(**hints)


def test_an_artifact_is_called_by_its_own_names(tiny_bundle: hubopt.Bundle) -> None:
    artifact = hubopt.load(tiny_bundle, "onnx")
    left, right = np.ones((1, 8), np.float32), np.full((1, 8), 0.5, np.float32)
    expected = artifact({"left": left, "right": right})
    found = artifact(left=left, right=right)
    assert found.keys() == expected.keys()
    np.testing.assert_array_equal(found["sum"], expected["sum"])
    with pytest.raises(UsageError, match=r"inputs: left\n  expected: left, right"):
        artifact(left=left)
    with pytest.raises(UsageError, match="inputs, and right by name"):
        artifact(left, right=right)


def test_an_artifact_with_one_input_takes_a_mapping_too(tmp_path: Path) -> None:
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([2], tf.float32, name="x")])
    def double(x: Any) -> Any:
        return 2.0 * x

    bundle = hubopt.export(double, ["onnx"], tmp_path / "out", rounds=0, noise="off")
    artifact = hubopt.load(bundle, "onnx")
    x = np.array([1, 2], np.float32)
    for result in (artifact(x), artifact({"x": x}), artifact(x=x)):
        assert result.tolist() == [2.0, 4.0]


def test_an_artifact_stands_as_the_layer(
    tiny_bundle: hubopt.Bundle, tiny: Path, tmp_path: Path
) -> None:
    from hubopt.testing import write_tiny_model

    layer = hubopt.load(tiny_bundle, "tflite")
    file = tiny_bundle.path / "onnx" / "model.onnx"
    for artifact in (file, tiny_bundle.artifact("onnx"), hubopt.load(tiny_bundle, "onnx")):
        parity = hubopt.verify(artifact, layer)
        assert parity.status == "verified", parity
        assert parity.samples == 8
    swapped = {"sum": "difference", "difference": "sum"}
    assert hubopt.verify(file, layer, names=swapped).status == "failed"
    own = [{"left": np.ones((1, 8)), "right": np.zeros((1, 8))}] * 2
    assert hubopt.verify(file, layer, data=own).samples == 2
    other = hubopt.KerasLayer(str(write_tiny_model(tmp_path / "other", seed=1)))

    def wrong(inputs: Any) -> Any:
        return {name: tensor.numpy() for name, tensor in other(inputs).items()}

    assert hubopt.verify(wrong, layer).status == "failed"
    with pytest.raises(UsageError, match="hints, noise given, but it is a loaded artifact"):
        hubopt.verify(file, layer, hints=hubopt.Hints(batch=1), noise="full")


def test_the_ready_made_progress_names_a_step_when_it_ends(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with to_stderr("trace\x1b[2J"):
        assert capsys.readouterr().err == ""
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.endswith(" s  trace\\x1b[2J\n")
    with pytest.raises(ZeroDivisionError), to_stderr("run"):
        _ = 1 / 0
    assert capsys.readouterr().err.endswith("run (failed)\n")


@pytest.mark.parametrize(
    "use",
    [
        "print(hubopt.KerasLayer({model!r})(inputs)['sum'].shape)",
        "print(hubopt.load({bundle!r}, 'savedmodel')(inputs)['sum'].shape)",
        "print(hubopt.verify({file!r}, {model!r}, noise='off').status)",
    ],
    ids=["layer", "load", "verify"],
)
def test_python_gets_no_noise_of_tensorflow(
    use: str, tiny: Path, tiny_bundle: hubopt.Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    file = str(tiny_bundle.path / "onnx" / "model.onnx")
    code = (
        "import hubopt, numpy as np\n"
        "inputs = {name: np.ones((1, 8), 'float32') for name in ('left', 'right')}\n"
        + use.format(model=str(tiny), bundle=str(tiny_bundle.path), file=file)
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert done.stderr == ""


def test_an_import_that_fails_says_all(tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text(
        "import os\nos.write(2, b'a note of a library\\n')\nraise ImportError('broken')\n"
    )
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from hubopt._platform.quiet_import import import_tensorflow\n"
        "import_tensorflow()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "a note of a library\n" in done.stderr
    assert "ImportError: broken" in done.stderr
