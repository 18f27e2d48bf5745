"""Lookup tables in ONNX and TFLite: strings to integers and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import hubopt
from hubopt import registry
from hubopt.exporter import Artifact, OpUse, Program, Target
from hubopt.programs.graphs.frozen_graph import LARGE_BYTES
from hubopt.programs.tracing import trace
from hubopt.testing import make_task

WORDS = [b"oslo", b"r\xc3\xb8ros", b"bonn", b"", b"unheard of", b"\xff\xfe"]
ROWS = LARGE_BYTES // 16 + 4


class Cities(tf.Module):
    """A city's number, its row of a table of weights, and the name that belongs to the number."""

    def __init__(self) -> None:
        super().__init__()
        keys = tf.constant(["oslo", "røros", "bonn"])
        numbers = tf.constant([7, 2, 5], tf.int64)
        self.numbers = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(keys, numbers), default_value=1
        )
        self.names = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(numbers, keys), default_value="nowhere"
        )
        self.rows = tf.Variable(tf.random.stateless_normal([ROWS, 4], seed=[1, 2]))

    @tf.function(input_signature=[tf.TensorSpec([6], tf.string, name="city")])
    def __call__(self, city: tf.Tensor) -> dict[str, tf.Tensor]:
        found = self.numbers.lookup(city)
        return {
            "number": found,
            "row": tf.gather(self.rows, found),
            "name": self.names.lookup(found),
        }


@pytest.fixture(scope="module")
def cities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Program]:
    folder = tmp_path_factory.mktemp("cities")
    model = Cities()
    tf.saved_model.save(model, str(folder / "model"))
    layer = hubopt.KerasLayer(str(folder / "model"))
    program = trace(layer, hubopt.resolve(layer), folder / "program", "auto", saved_model=False)
    return model, program


@pytest.fixture(params=["onnx", "tflite"])
def artifact(
    request: pytest.FixtureRequest, cities: tuple[Any, Program], tmp_path: Path
) -> Artifact:
    exporter = registry.get(request.param)
    task = make_task(exporter, cities[1], tmp_path / f"m{exporter.suffix}")
    assert exporter.obstacles(cities[1].ops, task.target) == []
    return exporter.export(task)


def test_an_artifact_looks_up_what_the_layer_does(
    artifact: Artifact, cities: tuple[Any, Program]
) -> None:
    runner = registry.get(artifact.exporter).runner(artifact)
    outputs = runner.run({"city": np.array(WORDS, object)})
    assert outputs["number"].tolist() == [7, 2, 5, 1, 1, 1]
    assert outputs["number"].dtype == np.int64
    known = "røros".encode()
    assert outputs["name"].tolist() == [b"oslo", known, b"bonn", *[b"nowhere"] * 3]
    np.testing.assert_array_equal(outputs["row"], cities[0].rows.numpy()[[7, 2, 5, 1, 1, 1]])


def lookup(*kinds: str, string: bool = True) -> OpUse:
    return OpUse("LookupTableFindV2", 2, "n", string, True, False, False, kinds)


PASSED_ON = OpUse("Placeholder", 2, "x", True, True, False, True)
STRIPPED = OpUse("StringStrip", 1, "n", True, False, False, False)


@pytest.mark.parametrize("name", ["onnx", "tflite"])
def test_other_tables_and_strings_are_obstacles(name: str) -> None:
    exporter = registry.get(name)
    target = Target(name)

    def found(*ops: OpUse) -> list[str]:
        return [str(obstacle) for obstacle in exporter.obstacles(ops, target)]

    held = {"onnx": "ONNX", "tflite": "TFLite"}[name]
    only = f"{held} holds lookups of string->int64, int64->string only, not"
    assert found(PASSED_ON, lookup("string->int64", "int64->string")) == []
    assert found(PASSED_ON, lookup("string->float32", "string->int64")) == [
        f"LookupTableFindV2 (x2): {only} string->float32"
    ]
    assert found(lookup("int64->int64", string=False)) == [
        f"LookupTableFindV2 (x2): {only} int64->int64"
    ]
    assert found(PASSED_ON, STRIPPED, lookup("string->int64")) == [
        f"StringStrip (x1): {held} holds no strings"
    ]
    assert found(PASSED_ON) == [f"Placeholder (x2): {held} holds no strings"]


def test_tensorrt_holds_no_tables() -> None:
    (obstacle,) = registry.get("trt").obstacles([PASSED_ON, lookup("string->int64")], Target("trt"))
    assert str(obstacle) == "LookupTableFindV2 (x2): TensorRT holds no strings"


def test_a_program_says_which_lookups_it_makes(cities: tuple[Any, Program]) -> None:
    (use,) = (use for use in cities[1].ops if use.op == "LookupTableFindV2")
    assert use.lookups == ("int64->string", "string->int64")


def test_an_export_is_verified_on_data_that_the_table_knows(tmp_path: Path) -> None:
    tf.saved_model.save(Cities(), str(tmp_path / "model"))
    data = [np.array(WORDS, object), np.array(WORDS[::-1], object)]
    bundle = hubopt.export(
        str(tmp_path / "model"),
        ["onnx", "tflite"],
        tmp_path / "bundle",
        data=data,
        rounds=0,
        cache=False,
    )
    assert [result.status for result in bundle.results] == ["verified", "verified"]
    answer = hubopt.load(bundle, "onnx")(np.array(WORDS, object))
    assert answer["number"].tolist() == [7, 2, 5, 1, 1, 1]
