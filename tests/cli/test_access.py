"""`--pin`, `--offline` and `--allow-op`: rules for reaching and trusting a handle."""

from collections.abc import Callable
from pathlib import Path

import pytest

import hubopt
from hubopt._util.digest import sha256
from hubopt.bundles.bundle import read_bundle
from tests.conftest import Ran, run_hubopt

OTHER = f"sha256:{'0' * 64}"


@pytest.mark.parametrize("verb", ["inspect", "export"])
def test_another_digest_is_refused(tiny: Path, tmp_path: Path, verb: str) -> None:
    more = ["-t", "onnx", "-o", tmp_path / "out"] if verb == "export" else []
    ran = run_hubopt(verb, tiny, "--pin", OTHER, *more)
    assert ran.code == 2
    assert f"sha256:{sha256(tiny)}" in ran.err
    assert f"{OTHER}, as pinned" in ran.err
    assert list(tmp_path.iterdir()) == []


def test_a_pin_that_is_not_a_digest_is_refused(hubopt: Callable[..., Ran], tiny: Path) -> None:
    ran = hubopt("inspect", tiny, "--pin", "sha256:123")
    assert ran.code == 2
    assert "error: pin sha256:123: not a SHA-256 digest" in ran.err


def test_a_model_missing_from_the_cache_is_reported_when_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    ran = run_hubopt("inspect", "https://tfhub.dev/google/m/1", "--offline")
    assert ran.code == 2
    assert f"offline, and its copy in the cache, {tmp_path}" in ran.err
    assert list(tmp_path.iterdir()) == []


def test_the_bundle_records_the_allowed_operations(tiny: Path, tmp_path: Path) -> None:
    out, pin = tmp_path / "out", f"sha256:{sha256(tiny)}"
    ran = run_hubopt(
        *("export", tiny, "-t", "onnx", "-o", out, "--rounds", 0),
        *("--pin", pin, "--allow-op", "ReadFile", "--allow-op", "WriteFile"),
    )
    assert ran.code == 0, ran.err
    manifest = read_bundle(out).manifest
    assert manifest.allow_ops == ("ReadFile", "WriteFile")
    assert f"sha256:{manifest.digest}" == pin


def test_a_load_policy_is_refused_for_a_callable(tmp_path: Path) -> None:
    with pytest.raises(hubopt.HuboptError, match="load_policy: .* with a layer or a callable"):
        hubopt.inspect(len, load_policy=hubopt.LoadPolicy(offline=True))
