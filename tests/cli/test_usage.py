"""Help, suggestions, aliases and the flags that every verb has."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hubopt.bundles.bundle import read_bundle
from tests.conftest import Ran

VERBS = ("export", "inspect", "verify", "bench", "diagnose", "snippet", "targets", "cache")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_in_groups(hubopt: Callable[..., Ran], flag: str) -> None:
    ran = hubopt("export", flag)
    assert ran.code == 0
    for group in ("Output", "Shapes", "Model", "Tolerances", "Samples and noise", "Results"):
        assert f"─ {group} ─" in ran.out
    assert "[OUTPUT=]CLASS" in ran.out, "a bracket is no markup"
    assert max(map(len, ran.out.splitlines())) <= 80


def test_the_list_of_verbs_is_in_groups_and_offers_completion(hubopt: Callable[..., Ran]) -> None:
    ran = hubopt("-h")
    assert ran.code == 0
    for text in ("─ Models ─", "─ Bundles ─", "─ About hubopt ─", "--install-completion", *VERBS):
        assert text in ran.out


@pytest.mark.parametrize(
    ("words", "suggestion"),
    [
        (["exprt"], "No such command 'exprt'. Did you mean 'export'?"),
        (["export", "m", "--tolarance", "x"], "No such option: --tolarance. Did you mean --tolera"),
        (["export", "m", "-t", "tflit", "-o", "x"], "way out:  did you mean tflite? see "),
        (["targets", "onxx"], "way out:  did you mean onnx? see "),
    ],
)
def test_a_mistyped_word_is_answered_with_the_nearest(
    hubopt: Callable[..., Ran], words: list[str], suggestion: str
) -> None:
    ran = hubopt(*words)
    assert ran.code == 2
    assert suggestion in ran.err
    assert ran.out == ""


def test_completion_lists_the_verbs(hubopt: Callable[..., Ran]) -> None:
    environment = {
        **os.environ,
        "_HUBOPT_COMPLETE": "complete_bash",
        "COMP_WORDS": "hubopt ex",
        "COMP_CWORD": "1",
    }
    ran = hubopt(env=environment)
    assert ran.out.split() == ["export"]


def test_force_replaces_a_bundle_only(
    hubopt: Callable[..., Ran], tiny: Path, tmp_path: Path
) -> None:
    def export(target: str, output: Path, *more: str) -> Ran:
        common = ("--rounds", 0, "--noise", "off", "--no-cache")
        return hubopt("export", tiny, "-t", target, "-o", output, *common, *more)

    bundle, other = tmp_path / "bundle", tmp_path / "other"
    other.mkdir()
    (other / "mine").write_text("precious")
    first = export("lite", bundle)
    assert first.code == 0, first.err
    assert f"ship  {bundle}/tflite/model.tflite\n" in first.out
    assert f"use   hubopt snippet {bundle} tflite\n" in first.out
    refused = export("onnx", bundle)
    assert refused.code == 2
    assert "--force replaces a bundle or an empty folder" in refused.err
    assert list(read_bundle(bundle).manifest.targets) == ["tflite"]
    quiet = export("onnx", bundle, "--force", "-q")
    assert quiet.code == 0
    assert quiet.err == ""
    assert list(read_bundle(bundle).manifest.targets) == ["onnx"]
    assert export("onnx", other, "--force").code == 2
    assert (other / "mine").read_text() == "precious"
    assert {path.name for path in tmp_path.iterdir()} == {"bundle", "other"}


def test_force_spares_a_bundle_that_holds_the_model(
    hubopt: Callable[..., Ran], tmp_path: Path
) -> None:
    (tmp_path / "bundle" / "savedmodel").mkdir(parents=True)
    (tmp_path / "bundle" / "hubopt.json").write_text("{}")
    model = tmp_path / "bundle" / "savedmodel"
    ran = hubopt("export", model, "-t", "onnx", "-o", tmp_path / "bundle", "--force")
    assert ran.code == 2
    assert "it exists already" in ran.err


def test_a_quick_check_says_what_it_leaves_out(
    hubopt: Callable[..., Ran], tiny: Path, tmp_path: Path
) -> None:
    common = ("export", tiny, "-t", "onnx", "--rounds", 0, "-o")
    ran = hubopt(*common, tmp_path / "quick", "--quick")
    assert ran.code == 0, ran.err
    assert "quick check  samples as drawn, noise not measured; --thorough for all" in ran.err
    manifest = read_bundle(tmp_path / "quick").manifest
    assert (manifest.effort, len(manifest.samples)) == ("quick", 2)
    assert manifest.reference.level == "off"
    assert hubopt(*common, tmp_path / "x", "--quick", "--thorough").code == 2
    thorough = hubopt(*common, tmp_path / "thorough", "--thorough", "--json")
    assert thorough.json["reference"]["effort"] == "thorough"
    assert thorough.json["reference"]["noise"] == "full"


def test_errors_are_printed_in_spite_of_quiet(hubopt: Callable[..., Ran]) -> None:
    ran = hubopt("inspect", "nowhere", "-q")
    assert ran.code == 2
    assert ran.err.startswith("error: handle nowhere: does not exist")
