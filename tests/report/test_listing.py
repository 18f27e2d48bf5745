"""On 80 columns nothing is cut off, and no two names look the same."""

from __future__ import annotations

from dataclasses import replace

from rich.console import RenderableType

from hubopt.bundles.results import TargetResult
from hubopt.parity.outcome import OutputParity, Parity
from hubopt.report.listing import Listing
from hubopt.report.terminal import results_table, spec_table
from hubopt.spec import Dim, ModelSpec, TensorSpec
from tests.report.printing import printed

LONG = "model/backbone/stage_4/block_17/expanded_convolution/depthwise/batch_normalization/relu6_"


def on_80_columns(report: RenderableType) -> list[str]:
    lines = printed(report, 80, terminal=True).splitlines()
    assert max(map(len, lines)) <= 80
    return lines


def spec_of(*names: str) -> ModelSpec:
    dims = tuple(Dim(size, "trace") for size in (1, 224, 224, 3))
    x = TensorSpec("x", "float32", (Dim(1, "default"), Dim(3, "signature")))
    outputs = tuple(TensorSpec(name, "float32", dims) for name in names)
    return ModelSpec((x,), outputs, "x", {name: name for name in names})


def test_short_rows_are_a_table() -> None:
    lines = on_80_columns(
        Listing(("name", "size"), [("a", "1"), ("b", "20")], right=frozenset({1}))
    )
    assert lines == ["name  size", "a        1", "b       20"]


def test_long_names_stand_on_lines_of_their_own_and_are_whole() -> None:
    names = [f"{LONG}{at}" for at in range(3)]
    lines = on_80_columns(spec_table(spec_of(*names)))
    text = "".join(line.strip() for line in lines)
    for name in names:
        assert text.count(name) == 1
    assert lines[2:4] == ["x", "    in   float32  1x3          default, signature"]
    assert lines.count("    out  float32  1x224x224x3  trace") == 3


def test_one_origin_is_said_once() -> None:
    assert printed(spec_table(spec_of("y"))).count("trace") == 1


def test_the_largest_error_of_many_outputs_is_folded_with_a_count() -> None:
    outputs = tuple(OutputParity(f"{LONG}{at}", ()) for at in range(30))
    base = TargetResult("onnx", "verified", "onnx", parity=Parity(True, (), outputs, 0))
    results = (base, replace(base, target="tflite", exporter="tflite"))
    lines = on_80_columns(results_table(results))
    assert "and 18 more outputs that use less of their tolerance; see --json" in lines
    text = "".join(line.strip() for line in lines)
    assert all(text.count(f"{LONG}{at}onnx") <= 1 for at in range(30))
    assert sum(line.split() == ["0.0e+00", "0.0e+00"] for line in lines) == 12


def test_long_ids_of_targets_are_not_cut() -> None:
    names = [f"a_third_party_exporter-int8-variant-{at}" for at in range(2)]
    results = tuple(TargetResult(name, "failed", "x", stage="export") for name in names)
    lines = on_80_columns(results_table(results))
    cells = "".join(line.split()[0] for line in lines[1:] if line.strip())
    assert all(name in cells for name in names)
