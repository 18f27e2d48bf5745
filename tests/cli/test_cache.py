"""``hubopt cache``, and what ``hubopt export`` reports about the cache."""

import os
import re
from collections.abc import Callable
from pathlib import Path

from hubopt.bundles.stage_store import Label, StageStore
from tests.conftest import Ran


def test_a_cached_export_says_so(
    hubopt: Callable[..., Ran], tiny: Path, tmp_path: Path, stages: Path
) -> None:
    def export(name: str, *more: str) -> Ran:
        options = ("--rounds", 1, "--noise", "off", *more)
        return hubopt("export", tiny, "-t", "onnx", "-o", tmp_path / name, *options)

    first = export("1", "--json")
    assert first.code == 0, first.err
    assert "from the cache" not in first.err
    assert first.json["targets"]["onnx"]["cached"] is None
    assert first.json["cached"] == {}

    again = export("2", "--json")
    assert again.code == 0, again.err
    assert re.search(
        r"onnx: run from the cache \(made \d{4}-\d\d-\d\d on this machine\)", again.err
    )
    assert set(again.json["cached"]) == {"trace", "reference"}
    assert again.json["targets"]["onnx"]["cached"]
    assert again.json["targets"]["onnx"]["p50_ms"] == first.json["targets"]["onnx"]["p50_ms"]
    assert "onnx: from the cache, made and measured " in export("3").out

    fresh = export("4", "--no-cache", "--json")
    assert fresh.json["targets"]["onnx"]["cached"] is None
    assert "from the cache" not in fresh.err

    listed = hubopt("cache", "--json")
    assert listed.code == 0, listed.err
    rows = listed.json["entries"]
    assert {(row["kind"], row["target"]) for row in rows} == {
        ("trace", None),
        ("reference", None),
        ("artifact", "onnx"),
        ("run", "onnx"),
        ("comparison", "onnx"),
    }
    assert {row["handle"] for row in rows} == {str(tiny)}
    assert listed.json["size_bytes"] == sum(row["size_bytes"] for row in rows) > 0
    assert listed.json["limit_bytes"] == 10**10
    assert listed.json["folder"] == str(stages)
    table = hubopt("cache").out
    headings = "kind target size made last used handle"
    assert table.splitlines()[0].split() == headings.split()
    assert re.search(r"artifact +onnx +[\d.]+ kB", table)
    assert f"5 entries, {listed.json['size_bytes'] / 1e3:.1f} kB of 10.0 GB" in table

    cleared = hubopt("cache", "clear", "--json")
    assert cleared.code == 0, cleared.err
    assert len(cleared.json["removed"]) == 5
    assert cleared.json["size_bytes"] == listed.json["size_bytes"]
    assert list(stages.iterdir()) == []


def test_an_empty_cache(hubopt: Callable[..., Ran], stages: Path) -> None:
    assert f"0 entries, 0 B of 10.0 GB (HUBOPT_CACHE_MAX_BYTES), in {stages}" in hubopt("cache").out
    cleared = hubopt("cache", "clear")
    assert cleared.code == 0
    assert f"0 entries, 0 B, from {stages}" in cleared.out
    assert not stages.exists()


def test_clearing_says_what_it_removed(hubopt: Callable[..., Ran], stages: Path) -> None:
    StageStore(stages, 10**6).put("key", Label("artifact", "a-model", "onnx"), "1234", {})
    cleared = hubopt("cache", "clear")
    assert cleared.out == f"removed artifact onnx of a-model\n1 entry, 4 B, from {stages}\n"


def test_an_invalid_size_limit(hubopt: Callable[..., Ran]) -> None:
    ran = hubopt("cache", env={**os.environ, "HUBOPT_CACHE_MAX_BYTES": "much"})
    assert ran.code == 2
    assert "HUBOPT_CACHE_MAX_BYTES much: no size" in ran.err
