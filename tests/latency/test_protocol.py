from hubopt.latency.protocol import interleave, time_calls


class Subject:
    def __init__(self, name: str, log: list[str], call_ms: float) -> None:
        self._name, self._log, self._call_ms = name, log, call_ms

    def time_calls(self, count: int) -> tuple[float, ...]:
        if count > 1:
            self._log.append(self._name)
        return (self._call_ms,) * count


def test_subjects_take_turns_and_the_order_alternates() -> None:
    log: list[str] = []
    fast, slow = Subject("fast", log, 1.0), Subject("slow", log, 1000.0)
    rounds = interleave((fast, slow), rounds=2)
    assert log[2:] == ["fast", "slow", "slow", "fast"]  # the first two set the call counts
    assert [len(calls) for calls in rounds[0]] == [50, 50]
    assert [len(calls) for calls in rounds[1]] == [3, 3]


def test_a_runner_is_timed_in_milliseconds() -> None:
    import time

    class Runner:
        device = "CPU"

        def run(self, inputs: object) -> dict[str, object]:
            time.sleep(0.02)
            return {}

    calls = time_calls(Runner(), {}, 3)
    assert len(calls) == 3
    assert all(20 <= milliseconds < 500 for milliseconds in calls)
