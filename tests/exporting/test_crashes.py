"""A child process that dies in an optional step costs its measurements, not the export."""

import os
import signal
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
import tf_keras

import hubopt
from hubopt.models.handles import LayerOptions, LoadPolicy
from hubopt.reference import layer_session
from hubopt.reference.layer_session import LayerSession
from hubopt.reference.variants import VariantRunner
from hubopt.spec import ModelSpec

TARGETS = ("savedmodel", "tflite", "onnx", "trt")


def die(*arguments: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


class DyingVariants(VariantRunner):
    """Dies when noise is measured."""

    def take(self, *arguments: Any) -> str | None:
        return die()


class DyingAtProbes(LayerSession):
    """A layer that computes the samples, and dies at any further request."""

    def answer(
        self,
        spec: ModelSpec,
        inputs: Path,
        outputs: Path,
        edges: Collection[int] = (),
        numbers: Sequence[int] | None = None,
    ) -> dict[int, str]:
        if inputs.name not in ("inputs.npz", "timed.npz"):
            die()
        return super().answer(spec, inputs, outputs, edges, numbers)


class DyingWhenTimed(LayerSession):
    """A layer that computes the samples, and dies when it is timed."""

    def time_calls(self, count: int) -> tuple[float, ...]:
        return die()


def open_with(kind: type[LayerSession], handle: str, *arguments: Any) -> LayerSession:
    opened = layer_session.open_layer_session(handle, *arguments)
    opened.__class__ = kind
    return opened


def open_dying_at_probes(
    handle: str, options: LayerOptions, load_policy: LoadPolicy, most_bytes: int | None = None
) -> LayerSession:
    return open_with(DyingAtProbes, handle, options, load_policy, most_bytes)


def open_dying_when_timed(
    handle: str, options: LayerOptions, load_policy: LoadPolicy, most_bytes: int | None = None
) -> LayerSession:
    return open_with(DyingWhenTimed, handle, options, load_policy, most_bytes)


@pytest.fixture(scope="module")
def residual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A residual network of separable convolutions with stride-2 pooling.

    The gradients of such a network make TensorFlow's oneDNN kernels corrupt memory on processors
    with AVX-512 and AMX.
    """
    layers = tf_keras.layers
    tf_keras.utils.set_random_seed(0)
    inputs = layers.Input((64, 64, 1), name="image")
    x = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu")(inputs)
    for channels in (16, 32, 64, 128):
        beside = layers.Conv2D(channels, 1, strides=2, padding="same")(x)
        for _ in range(2):
            x = layers.SeparableConv2D(channels, 3, padding="same")(layers.ReLU()(x))
            x = layers.BatchNormalization()(x)
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        x = layers.add([x, beside])
    outputs = layers.Dense(7)(layers.GlobalAveragePooling2D()(x))
    folder = tmp_path_factory.mktemp("residual") / "model"
    tf.saved_model.save(tf_keras.Model(inputs, outputs), str(folder))
    return folder


def test_a_network_whose_gradients_crash_is_exported_to_every_target(
    residual: Path, tmp_path: Path
) -> None:
    """This must hold on any machine: whether the gradients crash depends on the processor."""
    bundle = hubopt.export(residual, TARGETS, tmp_path / "out", rounds=0)
    states = {result.target: result.status for result in bundle.results}
    assert states.pop("trt") in ("unverified", "verified")
    assert set(states.values()) == {"verified"}


@pytest.mark.parametrize(
    ("patched", "by", "skipped"),
    [
        ("hubopt.reference.sample_plan.cover_in_child", die, ["what samples reach"]),
        ("hubopt.reference.noise.VariantRunner", DyingVariants, ["float64", "onednn", "weights"]),
        (
            "hubopt.reference.layer_process.open_layer_session",
            open_dying_at_probes,
            ["a second call", "permuted inputs"],
        ),
    ],
    ids=["samples", "noise", "questions"],
)
def test_the_measurements_of_a_dead_child_are_named_as_skipped(
    residual: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    patched: str,
    by: Any,
    skipped: list[str],
) -> None:
    monkeypatch.setattr(patched, by)
    bundle = hubopt.export(residual, ["onnx", "tflite"], tmp_path / "out", rounds=1)
    assert {result.status for result in bundle.results} == {"verified"}
    assert all(result.latency and result.latency.layer for result in bundle.results)
    found = bundle.manifest.reference.skipped
    assert set(skipped) <= set(found)
    assert all("ended by SIGKILL" in found[name] for name in skipped)


def test_an_artifact_is_timed_alone_if_timing_crashes_the_layer(
    residual: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = "hubopt.reference.layer_process.open_layer_session"
    monkeypatch.setattr(opening, open_dying_when_timed)
    (result,) = hubopt.export(residual, ["onnx"], tmp_path / "out", rounds=1).results
    assert result.status == "verified"
    assert result.latency is not None
    assert result.latency.layer is None
    assert "ended by SIGKILL" in str(result.latency.no_layer)


def test_a_layer_that_dies_on_a_sample_ends_the_export(
    residual: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubopt.reference.layer_process.open_layer_session", open_dying_on_a_sample)
    with pytest.raises(hubopt.HuboptError, match="ended by SIGKILL"):
        hubopt.export(residual, ["onnx"], tmp_path / "out", rounds=0)
    assert not (tmp_path / "out").exists()


class DyingOnASample(LayerSession):
    """A layer that dies on its first sample."""

    def answer(self, *arguments: Any) -> dict[int, str]:
        return dict(die())


def open_dying_on_a_sample(
    handle: str, options: LayerOptions, load_policy: LoadPolicy, most_bytes: int | None = None
) -> LayerSession:
    return open_with(DyingOnASample, handle, options, load_policy, most_bytes)
