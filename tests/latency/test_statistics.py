import pytest

from hubopt.latency.statistics import Latency, Timing


def timing(*rounds: tuple[float, ...]) -> Timing:
    return Timing(None, 1.0, 2.0, rounds)


def test_the_ratio_is_taken_in_each_round_before_the_median() -> None:
    # The machine is ten times slower in the second round, for both.
    latency = Latency(timing((2.0,), (20.0,), (2.0,)), timing((4.0,), (40.0,), (4.0,)))
    assert latency.ratio == pytest.approx(0.5)


def test_percentiles_are_over_all_calls() -> None:
    calls = timing((1.0, 2.0), (3.0, 4.0, 100.0))
    assert calls.p50_ms == 3.0
    assert calls.p95_ms > 4.0


def test_without_a_layer_there_is_no_ratio() -> None:
    assert Latency(timing((1.0,)), None, "no TensorFlow").ratio is None
