import pickle

import pytest

from hubopt import errors

CASES = [
    errors.UsageError("a", "b", "c", "d"),
    errors.SpecError("shapes", ("one", "two"), "c", "d"),
    errors.UnsafeModelError("model", ("ReadFile (x1)",), "c", "d"),
    errors.NoSuchHandleError("a", "b", "c", "d"),
    errors.UncompilableError("layer", ("StringStrip (x1)",), "c", "d"),
    errors.NotRunnableHereError("a", "b", "c", "d"),
    errors.NothingExportedError("a", "b", "c", "d", ("result",), 4),
]


@pytest.mark.parametrize("error", CASES, ids=lambda error: type(error).__name__)
def test_an_error_survives_pickling_between_processes(error: errors.HuboptError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_the_text_states_subject_finding_expectation_and_way_out() -> None:
    text = str(errors.UsageError("target foo", "unknown", "one of: onnx", "see `hubopt targets`"))
    assert text == (
        "target foo: unknown\n  expected: one of: onnx\n  way out:  see `hubopt targets`"
    )


def test_every_problem_is_listed() -> None:
    text = str(errors.SpecError("shapes", ("dim 1", "dim 2"), "static", "flags"))
    assert text.startswith("shapes: 2 problems\n  - dim 1\n  - dim 2\n  expected: static")


def test_exit_codes_are_those_of_the_readme() -> None:
    codes = {kind.__name__: kind.exit_code for kind in errors.HuboptError.__subclasses__()}
    assert codes.pop("NothingExportedError") == 2  # each error carries the worst target's exit code
    assert codes == {
        "UsageError": 2,
        "HandleError": 2,
        "LoadError": 2,
        "SpecError": 2,
        "TraceError": 5,
        "ExportError": 5,
        "RuntimeMissingError": 2,
        "NotRunnableHereError": 3,
        "ResourceError": 5,
        "WorkerCrashError": 5,
        "BundleError": 2,
    }


def test_the_error_for_a_missing_path_is_also_an_os_error() -> None:
    error = errors.NoSuchHandleError("handle x", "does not exist", "a path", "check it")
    assert isinstance(error, OSError)
    assert isinstance(error, ValueError)
