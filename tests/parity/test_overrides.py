import pytest

from hubopt.errors import UsageError
from hubopt.parity.overrides import ToleranceOverrides
from hubopt.parity.tolerance import TOLERANCES


def test_without_overrides_the_class_applies() -> None:
    assert ToleranceOverrides.parse().tolerances(["a"], "xla") == {"a": TOLERANCES["xla"]}


def test_an_output_overrides_all_outputs_and_a_bound_overrides_a_class() -> None:
    overrides = ToleranceOverrides.parse(
        tolerance=["a=fp16", "bf16"], rtol=["0.5", "b=0.25"], sqnr=["a=off"], top1=["0.5"]
    )
    found = overrides.tolerances(["a", "b"], "fp32")
    assert (found["a"].rtol, found["a"].atol, found["a"].sqnr_db) == (0.5, 5e-3, None)
    assert (found["b"].rtol, found["b"].atol, found["b"].sqnr_db) == (0.25, 2e-2, 30.0)
    assert found["b"].top1 == 0.5


def test_names_may_hold_an_equals_sign() -> None:
    assert (
        ToleranceOverrides.parse(rtol=["a=b=1e-2"]).tolerances(["a=b"], "fp32")["a=b"].rtol == 1e-2
    )


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        ToleranceOverrides.parse(
            tolerance=["fp8"], rtol=["a=x"], cosine=["2"], atol=["nan"], sqnr=["-1e5"]
        )
    text = str(caught.value)
    for part in (
        "--tolerance fp8: no class 'fp8'",
        "--rtol a=x: 'x' is not a number",
        "--cosine 2: it must be from -1 to 1",
        "--atol nan",
    ):
        assert part in text
    assert "--sqnr -1e5: it must be from -1000 to 1000" in text


def test_an_unknown_output_is_reported() -> None:
    with pytest.raises(UsageError, match="the model has no such output"):
        ToleranceOverrides.parse(rtol=["c=1"]).tolerances(["a", "b"], "fp32")
