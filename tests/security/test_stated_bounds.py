"""A bound that the user states holds as stated: the layer's own noise does not widen it."""

from dataclasses import replace

import numpy as np
import pytest

import hubopt
from hubopt.bundles.bundle import Bundle
from hubopt.parity import Parity, ReferenceQuality, ToleranceOverrides, judge
from hubopt.parity.deviations import Deviation
from hubopt.spec import Dim, ModelSpec, TensorSpec
from tests.conftest import run_hubopt

NAMES = ("a", "b")
TINY = ("--rtol", "1e-12", "--atol", "1e-12", "--sqnr", "200")
SPEC = ModelSpec(
    (TensorSpec("x", "float32", (Dim(4, "flag"),)),),
    tuple(TensorSpec(name, "float32", (Dim(4, "flag"),)) for name in NAMES),
    "x",
    {name: name for name in NAMES},
)


def judge_noisy(overrides: ToleranceOverrides) -> Parity:
    """Judge an artifact that is off by 1.5e-4 where the layer's own noise is 2e-4."""
    layer = np.array([1, 2, -1, 0.5], np.float32)
    quality = ReferenceQuality({"onednn": {name: (Deviation(2e-4, 1e-4),) * 2 for name in NAMES}})
    artifact = layer + np.float32(1.5e-4)
    return judge(
        SPEC,
        [dict.fromkeys(NAMES, artifact)] * 2,
        [dict.fromkeys(NAMES, layer)] * 2,
        overrides.tolerances(NAMES, "fp32"),
        quality,
    )


def test_the_default_tolerances_allow_for_the_layers_noise() -> None:
    parity = judge_noisy(ToleranceOverrides())
    assert parity.status == "verified"
    assert "within the layer's own noise" in (parity.note or "")


@pytest.mark.parametrize("bound", ["rtol", "atol", "sqnr"])
def test_a_stated_bound_fails_a_deviation_that_only_noise_would_excuse(bound: str) -> None:
    value = {"rtol": "1e-6", "atol": "1e-6", "sqnr": "120"}[bound]
    parity = judge_noisy(ToleranceOverrides.parse(**{bound: [value]}))
    assert parity.status == "failed"
    assert "the layer's own noise there is 2.0e-04" in parity.problems[0]


def test_a_stated_bound_holds_for_the_output_that_it_names() -> None:
    parity = judge_noisy(ToleranceOverrides.parse(rtol=["b=1e-9"]))
    assert [bool(output.problems) for output in parity.outputs] == [False, True]


def test_a_stated_bound_that_holds_passes_and_leaves_the_allowance_of_the_other_bounds() -> None:
    parity = judge_noisy(ToleranceOverrides.parse(rtol=["1e-3"]))
    assert parity.status == "verified"


def test_strict_allows_nothing_for_noise() -> None:
    assert judge_noisy(ToleranceOverrides(strict=True)).status == "failed"


def test_float64_does_not_replace_the_layer_under_a_stated_bound() -> None:
    layer = np.array([1, 2, -1, 0.5], np.float32)
    better = layer.astype(np.float64) + 1.5e-4
    quality = ReferenceQuality({"float64": {name: (Deviation(1.5e-4, 1e-4),) for name in NAMES}})

    def status(overrides: ToleranceOverrides) -> str:
        artifact = dict.fromkeys(NAMES, better.astype(np.float32))
        return judge(
            SPEC,
            [artifact],
            [dict.fromkeys(NAMES, layer)],
            overrides.tolerances(NAMES, "fp32"),
            quality,
            [dict.fromkeys(NAMES, better)],
        ).status

    assert status(ToleranceOverrides()) == "verified"
    assert status(ToleranceOverrides.parse(atol=["1e-6"])) == "failed"
    assert status(ToleranceOverrides(strict=True)) == "failed"


def test_a_bound_on_integers_is_not_widened_by_the_layers_own_changes() -> None:
    spec = replace(SPEC, outputs=(replace(SPEC.outputs[0], dtype="int32"),), output_structure="a")
    quality = ReferenceQuality({"onednn": {"a": (Deviation(1.0, 0.0),)}})
    layer, artifact = np.array([1, 2, 3, 4], np.int32), np.array([1, 2, 3, 5], np.int32)
    # Noise that changes an integer is too large for a reference.
    for overrides, expected in (
        (ToleranceOverrides(), "unverified"),
        (ToleranceOverrides(strict=True), "failed"),
    ):
        tolerances = overrides.tolerances(["a"], "fp32")
        assert (
            judge(spec, [{"a": artifact}], [{"a": layer}], tolerances, quality).status == expected
        )


@pytest.mark.parametrize("how", [(), ("--rejudge",)])
def test_a_stated_bound_holds_on_the_command_line(
    how: tuple[str, ...], tiny_bundle: Bundle
) -> None:
    ran = run_hubopt("verify", tiny_bundle.path, "-t", "onnx", *how, *TINY, "--json")
    assert ran.code == 4, ran.err
    assert ran.json["targets"]["onnx"]["status"] == "failed"
    ran = run_hubopt("verify", tiny_bundle.path, "-t", "onnx", *how, "--strict")
    assert ran.code == 0, ran.err


def test_a_stated_bound_holds_in_python(tiny_bundle: Bundle) -> None:
    overrides = ToleranceOverrides.parse(rtol=["1e-12"], atol=["1e-12"])
    (result,) = hubopt.rejudge(tiny_bundle, ["onnx"], overrides)
    assert (result.status, result.stage) == ("failed", "parity")
