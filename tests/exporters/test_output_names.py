"""The entry with the names of renamed outputs, which can come from an untrusted file."""

from __future__ import annotations

import json

import pytest

from hubopt.spec import ModelSpec, TensorSpec
from hubopt_exporters.output_names import KEY, choose_names, format_names, parse_names


def spec(inputs: list[str], outputs: list[str]) -> ModelSpec:
    return ModelSpec(
        tuple(TensorSpec(name, "float32", ()) for name in inputs),
        tuple(TensorSpec(name, "float32", ()) for name in outputs),
        inputs,
        outputs,
    )


def test_most_models_need_no_other_name() -> None:
    assert choose_names(spec(["x"], ["y", "x_output"])) == {}
    assert format_names({}) == {}


def test_a_name_is_chosen_that_nothing_else_has() -> None:
    chosen = choose_names(spec(["x", "x_output", "k"], ["x", "k", "k_output"]))
    assert chosen == {"x": "x_output_", "k": "k_output_"}
    held = ["x_output_", "k_output_", "k_output"]
    assert parse_names(format_names(chosen), held) == chosen


@pytest.mark.parametrize(
    "entry",
    [
        "no JSON",
        "[" * 100_000,
        json.dumps(["a"]),
        json.dumps({"x": 1}),
        json.dumps({"x": "missing"}),
        json.dumps({"x": "a", "y": "a"}),
        json.dumps({"b": "a"}),
        7,
    ],
    ids=["text", "deep", "list", "number", "missing", "twice", "taken", "no text"],
)
def test_an_entry_that_does_not_fit_is_ignored(entry: object) -> None:
    assert parse_names({KEY: entry}, ["a", "b"]) == {}


def test_two_outputs_can_have_changed_places() -> None:
    names = {"a": "b", "b": "a"}
    assert parse_names({KEY: json.dumps(names)}, ["a", "b"]) == names
