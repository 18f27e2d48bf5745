"""The verdict: form before values; compared to the layer, its float64 variant, then its noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hubopt.exporter import ToleranceClass
from hubopt.parity import TOLERANCES, Parity, ReferenceQuality, Tolerance, judge, judge_outputs
from hubopt.parity.deviations import Deviation
from hubopt.parity.reference import farthest, measure_deviations, redrawn
from hubopt.spec import Dim, ModelSpec, TensorSpec

TOLERANCE = Tolerance(rtol=1e-4, atol=1e-5)


def tensor(name: str, *shape: int, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name, dtype, tuple(Dim(size, "trace") for size in shape))


SPEC = ModelSpec(
    (tensor("x", 1),), (tensor("note", 1, 4), tensor("onset", 1, 4)), "x", ["note", "onset"]
)


def outputs(seed: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {name: generator.random((1, 4), np.float32) for name in ("note", "onset")}


REFERENCE = [outputs(1), outputs(2)]


def test_equal_outputs_pass() -> None:
    parity = judge(SPEC, REFERENCE, REFERENCE, TOLERANCE)
    assert parity.passed
    assert parity.status == "verified"
    assert parity.problems == ()
    assert [output.name for output in parity.outputs] == ["note", "onset"]
    assert [output.bases for output in parity.outputs] == [("layer", "layer")] * 2
    assert parity.samples == 2


def test_two_swapped_outputs_of_the_same_shape_fail() -> None:
    swapped = [{"note": sample["onset"], "onset": sample["note"]} for sample in REFERENCE]
    parity = judge(SPEC, swapped, REFERENCE, TOLERANCE)
    assert parity.status == "failed"
    assert len(parity.problems) == 4


def test_one_bad_element_of_one_sample_fails_and_is_named() -> None:
    actual = [REFERENCE[0], {name: array.copy() for name, array in REFERENCE[1].items()}]
    actual[1]["onset"][0, 3] += 0.5
    parity = judge(SPEC, actual, REFERENCE, TOLERANCES["fp32"])
    assert not parity.passed
    (problem,) = parity.problems
    assert problem.startswith("output onset, sample 1: 1 of 4 elements differ")
    assert "the worst at (0, 3)" in problem


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda given: {"note": given["note"]}, "outputs are ['note']"),
        (lambda given: given | {"more": given["note"]}, "outputs are ['more', 'note', 'onset']"),
        (lambda given: given | {"note": given["note"][0]}, "output note is float32 4"),
        (lambda given: given | {"note": given["note"].astype("float64")}, "is float64 1x4"),
    ],
)
def test_names_shapes_and_dtypes_are_checked_first(change: object, message: str) -> None:
    actual = [change(sample) for sample in REFERENCE]  # type: ignore[operator]
    parity = judge(SPEC, actual, REFERENCE, TOLERANCE)
    assert not parity.passed
    assert message in parity.problems[0]
    assert parity.outputs == ()


@pytest.mark.parametrize("actual", [[], REFERENCE[:1]])
def test_missing_samples_never_pass(actual: list[dict[str, np.ndarray]]) -> None:
    assert not judge(SPEC, actual, REFERENCE, TOLERANCE).passed


def test_comparing_no_samples_does_not_pass() -> None:
    assert not judge(SPEC, [], [], TOLERANCE).passed


BOXES = ModelSpec(
    (tensor("x", 1),), (tensor("boxes", 0, 4), tensor("note", 1, 4)), "x", ["boxes", "note"]
)


def with_boxes(*shape: int, dtype: str = "float32") -> list[dict[str, np.ndarray]]:
    return [{"boxes": np.zeros(shape, dtype), "note": sample["note"]} for sample in REFERENCE]


def test_an_output_without_elements_is_compared_by_its_form() -> None:
    known = ReferenceQuality(constant=("boxes",), weightless=("boxes",))
    parity = judge(BOXES, with_boxes(0, 4), with_boxes(0, 4), TOLERANCE, known)
    assert parity.status == "verified"
    other = judge(BOXES, with_boxes(4, 0), with_boxes(0, 4), TOLERANCE, known)
    assert other.problems[0] == "sample 0: output boxes is float32 4x0, the layer's is float32 0x4"
    other = judge(BOXES, with_boxes(0, 4, dtype="int64"), with_boxes(0, 4), TOLERANCE, known)
    assert other.problems[0] == "sample 0: output boxes is int64 0x4, the layer's is float32 0x4"


def test_an_output_that_no_sample_gave_elements_is_vacuous() -> None:
    """Nothing in the graph says that it never has any. The other output is informative."""
    parity = judge(BOXES, with_boxes(0, 4), with_boxes(0, 4), TOLERANCE)
    assert parity.status == "verified"
    assert parity.vacuous == (
        "output boxes: it has no elements on any sample, so only its shape was compared",
    )


def test_a_model_without_any_elements_is_vacuous() -> None:
    empty = ModelSpec((tensor("x", 1),), (tensor("boxes", 0, 4),), "x", "boxes")
    nothing = [{"boxes": np.empty((0, 4), "float32")}] * 2
    known = ReferenceQuality(constant=("boxes",), weightless=("boxes",))
    assert judge(empty, nothing, nothing, TOLERANCE, known).status == "vacuous"


def test_each_output_has_its_own_tolerance() -> None:
    off = [{"note": sample["note"], "onset": sample["onset"] * 1.01} for sample in REFERENCE]
    loose = {"note": TOLERANCE, "onset": TOLERANCES["bf16"]}
    assert judge(SPEC, off, REFERENCE, loose).passed
    assert not judge(SPEC, off, REFERENCE, {**loose, "onset": TOLERANCE}).passed


ONE = ModelSpec((tensor("x", 1),), (tensor("y", 100),), "x", "y")
STEADY = np.linspace(-1, 1, 100, dtype="float32")


def deviation(size: float) -> Deviation:
    return Deviation(abs(size), abs(size))


def verdict(error: float, float64_deviation: float | None = None, **noise: float) -> Parity:
    """Judge an artifact that is off by ``error``, with the given noise of the layer by variant."""
    quality = ReferenceQuality(
        deviations={variant: {"y": (deviation(size),)} for variant, size in noise.items()}
    )
    actual = [{"y": STEADY + np.float32(error)}]
    float64 = None
    if float64_deviation is not None:
        float64 = [{"y": STEADY.astype("float64") + float64_deviation}]
        quality = ReferenceQuality(
            deviations={**quality.deviations, "float64": {"y": (deviation(float64_deviation),)}}
        )
    return judge(ONE, actual, [{"y": STEADY}], TOLERANCES["fp32"], quality, float64)


def test_the_layers_noise_is_added_to_the_tolerance_and_reported() -> None:
    assert verdict(1e-3).status == "failed"
    passed = verdict(1e-3, onednn=1.1e-3)
    assert passed.status == "verified"
    assert passed.note == "within the layer's own noise: y deviates by 1.1e-03 with oneDNN switched"
    assert verdict(4.2e-3, onednn=1.1e-3, xla=1e-3).status == "verified"
    assert verdict(6e-3, onednn=1.1e-3, xla=1e-3).status == "failed"


def by_class(error: float, artifact_class: ToleranceClass, **noise: float) -> Parity:
    """Judge an artifact of a tolerance class, by that class and the noise that it may have."""
    quality = ReferenceQuality(
        deviations={variant: {"y": (deviation(size),)} for variant, size in noise.items()},
        culprits={"xla": "Cumsum (node a)"},
    ).seen_by(artifact_class)
    actual = [{"y": STEADY + np.float32(error)}]
    return judge(ONE, actual, [{"y": STEADY}], TOLERANCES[artifact_class], quality)


def test_how_xla_computes_excuses_only_what_xla_compiled() -> None:
    """It is noise only where the other variants deviate as well, if less."""
    unsure = {"onednn": 1e-4, "xla": 2e-3}
    assert by_class(4e-3, "xla", **unsure).status == "verified"
    assert by_class(4e-3, "fp32", **unsure).status == "failed"
    assert by_class(3e-4, "fp32", **unsure).status == "verified"
    assert by_class(1e-2, "xla", **unsure).status == "failed", "a planted fault beside the noise"


def test_where_all_others_agree_xla_is_wrong() -> None:
    sure = {"onednn": 1e-6, "float64": 2e-6, "xla": 4e-3}
    parity = by_class(4e-3, "xla", **sure)
    assert parity.status == "failed"
    assert parity.cause == (
        "XLA's own result is off there: y by 4.0e-03 from the eager layer, with which oneDNN's "
        "kernels and its graph in float64 agree to 2.0e-06; XLA goes wrong in Cumsum (node a); "
        "--xla off writes the SavedModel uncompiled"
    )
    assert by_class(4e-3, "fp32", **sure).cause is None
    assert by_class(4e-1, "xla", onednn=3e-1, xla=4e-1).status == "unverified"
    assert by_class(4e-1, "xla", onednn=1e-6, xla=4e-1).status == "failed"


def test_without_another_variant_xlas_deviation_is_no_noise() -> None:
    assert by_class(4e-3, "xla", xla=4e-3).status == "failed"


def test_noise_in_one_element_does_not_excuse_an_error_in_all() -> None:
    """Noise in one ill-conditioned element does not widen the tolerance for all elements."""
    actual = [{"y": STEADY + np.float32(1e-3)}]
    for rms, status in ((1e-3, "verified"), (1e-5, "failed")):
        quality = ReferenceQuality(deviations={"onednn": {"y": (Deviation(1e-3, rms),)}})
        parity = judge(ONE, actual, [{"y": STEADY}], TOLERANCES["fp32"], quality)
        assert parity.status == status


def test_each_sample_has_its_own_noise() -> None:
    noisy = ReferenceQuality(deviations={"onednn": {"y": (Deviation(0, 0), deviation(1e-3))}})
    good, off = {"y": STEADY}, {"y": STEADY + np.float32(1e-3)}
    reference = [good, good]
    tolerance = TOLERANCES["fp32"]
    assert judge(ONE, [good, off], reference, tolerance, noisy).status == "verified"
    assert judge(ONE, [off, good], reference, tolerance, noisy).status == "failed"


def test_an_artifact_nearer_to_float64_than_the_layer_passes() -> None:
    passed = verdict(1e-3, float64_deviation=1e-3, onednn=2e-3)
    assert passed.status == "verified"
    assert passed.outputs[0].bases == ("float64",)
    assert passed.note == "nearer to the layer in float64 than the eager layer is: y"
    assert passed.outputs[0].max_abs < 1e-6
    assert verdict(-6e-3, float64_deviation=1e-3).status == "failed"


def test_a_layer_with_too_much_noise_is_not_a_reference() -> None:
    parity = verdict(0.02, onednn=0.03)
    assert (parity.passed, parity.unsteady, parity.status) == (False, True, "unverified")
    assert verdict(0.2, onednn=0.03).status == "failed"
    assert verdict(0.02, float64_deviation=0.03).status == "unverified"


def test_a_verdict_is_clear_if_no_further_variant_could_change_it() -> None:
    """Float64 noise alone is enough if a hundred times as much would still be acceptable."""
    assert verdict(3e-6).is_clear
    assert not verdict(6e-5, onednn=5e-5).is_clear, "it may be excused only by other samples' noise"
    by_float64 = verdict(-1.5e-4, float64_deviation=4e-5)
    assert by_float64.outputs[0].bases == ("noise",)
    assert by_float64.is_clear
    by_another = verdict(-1.5e-4, float64_deviation=1e-6, onednn=5e-5)
    assert by_another.outputs[0].bases == ("noise",)
    assert not by_another.is_clear
    assert not verdict(-1.5e-4, float64_deviation=4e-5, onednn=1e-4).is_clear
    assert verdict(-1.5e-4, float64_deviation=4e-5, onednn=1e-4, rounded1=1e-4).is_clear


def test_integers_that_the_layer_itself_changes_cannot_be_judged() -> None:
    spec = ModelSpec((tensor("x", 1),), (tensor("y", 4, dtype="int64"),), "x", "y")
    old, new = [{"y": np.arange(4)}], [{"y": np.array([0, 1, 3, 2])}]
    quality = ReferenceQuality(deviations={"onednn": measure_deviations(spec, new, old)})
    assert quality.deviations["onednn"] == {"y": (Deviation(2.0, 0.0),)}
    assert judge(spec, new, old, TOLERANCE, quality).status == "unverified"
    assert judge(spec, new, old, TOLERANCE).status == "failed"


CONSTANT = [{"y": np.full(100, 0.01, np.float32)} for _ in range(3)]
INPUTS = [{"x": np.float32([at])} for at in range(3)]


def test_an_output_that_ignores_its_input_is_vacuous() -> None:
    """The outputs of any other sample would pass as well, so passing proves nothing."""
    quality = ReferenceQuality(probes={"redrawn": redrawn(ONE, INPUTS, CONSTANT)})
    parity = judge(ONE, CONSTANT, CONSTANT, TOLERANCES["fp32"], quality)
    assert (parity.passed, parity.status) == (True, "vacuous")
    assert parity.vacuous == (
        "output y: the layer gives the same for every input, within the tolerance",
    )


def varying(share: float) -> list[dict[str, Any]]:
    return [{"y": np.full(100, 0.01, np.float32) * (1 + share * at)} for at in range(3)]


@pytest.mark.parametrize(("share", "status"), [(1e-6, "vacuous"), (1e-2, "verified")])
def test_the_tolerance_decides_which_outputs_count_as_equal(share: float, status: str) -> None:
    reference = varying(share)
    quality = ReferenceQuality(probes={"redrawn": redrawn(ONE, INPUTS, reference)})
    assert judge(ONE, reference, reference, TOLERANCES["fp32"], quality).status == status
    assert judge(ONE, reference, reference, TOLERANCES["bf16"], quality).status == "vacuous"


def test_one_probe_that_changes_the_output_is_enough() -> None:
    probes = {
        "redrawn": redrawn(ONE, INPUTS, CONSTANT),
        "permuted": farthest(ONE, varying(1.0)[1:], CONSTANT[1:]),
    }
    quality = ReferenceQuality(probes=probes)
    assert judge(ONE, CONSTANT, CONSTANT, TOLERANCES["fp32"], quality).status == "verified"


def test_weights_without_effect_are_vacuous_and_constant_outputs_are_not() -> None:
    reference = varying(1.0)
    same = farthest(ONE, reference, reference)
    weights = ReferenceQuality(probes={"weights": same})
    parity = judge(ONE, reference, reference, TOLERANCES["fp32"], weights)
    assert "the same with other weights" in parity.vacuous[0]
    for quality in (
        ReferenceQuality(probes={"weights": same}, weightless=("y",)),
        ReferenceQuality(probes={"redrawn": redrawn(ONE, INPUTS, CONSTANT)}, constant=("y",)),
    ):
        assert judge(ONE, reference, reference, TOLERANCES["fp32"], quality).status == "verified"


def test_equal_inputs_do_not_count_as_redrawn() -> None:
    assert redrawn(ONE, [{"x": np.float32([1])}] * 3, CONSTANT) == {}


def test_measured_outputs_can_be_judged_again() -> None:
    actual = [{name: array * 1.005 for name, array in sample.items()} for sample in REFERENCE]
    parity = judge(SPEC, actual, REFERENCE, TOLERANCES["fp32"])
    assert parity.status == "failed"
    for name in ("fp32", "xla", "tf32", "fp16", "bf16"):
        bounds = dict.fromkeys(SPEC.output_names, TOLERANCES[name])
        again = judge_outputs(parity.outputs, bounds, ReferenceQuality(), parity.samples)
        assert again == judge(SPEC, actual, REFERENCE, TOLERANCES[name])


def test_the_repr_of_a_verdict_is_a_readable_table() -> None:
    actual = [dict(REFERENCE[0]), {**REFERENCE[1], "onset": REFERENCE[1]["onset"] + 1}]
    text = repr(judge(SPEC, actual, REFERENCE, TOLERANCES["fp32"]))
    assert text.splitlines()[0] == "Parity: failed on 2 samples"
    assert "SQNR" in text.splitlines()[1]
    assert text.splitlines()[2].startswith("note")
    assert "exact" in text.splitlines()[2]
    assert "- output onset, sample 1: 4 of 4 elements differ by more than allowed" in text
    assert max(map(len, text.splitlines()[:4])) <= 100


OPEN = ModelSpec(
    (tensor("x", 4),), (TensorSpec("kept", "float32", (Dim(2, "run", "kept_0"),)),), "x", "kept"
)


def kept(*counts: int, start: float = 1.0) -> list[dict[str, np.ndarray]]:
    """Answers with so many elements, the same for the same count."""
    return [{"kept": np.arange(count, dtype="float32") + start} for count in counts]


def test_an_output_of_open_size_must_have_the_layers_size_on_every_sample() -> None:
    assert judge(OPEN, kept(2, 0, 3), kept(2, 0, 3), TOLERANCE).passed
    parity = judge(OPEN, kept(2, 1, 3), kept(2, 0, 3), TOLERANCE)
    assert parity.problems == ("sample 1: output kept is float32 1, the layer's is float32 0",)


def test_the_layers_own_shape_counts_even_if_the_spec_says_another() -> None:
    static = ModelSpec((tensor("x", 4),), (tensor("kept", 2),), "x", "kept")
    parity = judge(static, kept(2), kept(3), TOLERANCE)
    assert parity.problems == ("sample 0: output kept is float32 2, the layer's is float32 3",)


def test_float64_that_finds_another_number_of_elements_excuses_nothing() -> None:
    reference, wide = kept(2, 3), kept(3, 3)
    quality = ReferenceQuality(
        deviations={"float64": measure_deviations(OPEN, wide, reference)}, level="float64"
    )
    assert judge(OPEN, kept(2, 3), reference, TOLERANCE, quality, wide).passed
    far = judge(OPEN, kept(2, 3, start=2.0), reference, TOLERANCE, quality, wide)
    assert not far.passed


def test_answers_of_different_sizes_differ() -> None:
    """Otherwise the only pair of equal sizes would make the output the same for every input."""
    inputs = [{"x": np.full(4, at, "float32")} for at in range(3)]
    found = redrawn(OPEN, inputs, kept(2, 3, 3))
    assert found["kept"].problem == "its shape is [3], not [2]"
    quality = ReferenceQuality(probes={"redrawn": found})
    assert judge(OPEN, kept(2, 3, 3), kept(2, 3, 3), TOLERANCE, quality).status == "verified"
    same = ReferenceQuality(probes={"redrawn": redrawn(OPEN, inputs, kept(3, 3, 3))})
    assert judge(OPEN, kept(3, 3, 3), kept(3, 3, 3), TOLERANCE, same).status == "vacuous"
